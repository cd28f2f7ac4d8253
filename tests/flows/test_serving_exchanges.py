"""Answers over real sockets: their framing, their trailers, interim ones, and handlers that fail."""

import asyncio

import pytest

from edgeproxy.errors import EdgeError
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import RecordingHandler, get, on_both_loops, on_uvloop, serving, until

NOTHING = Fields()


# --- framing of answers (RFC 9112 section 6) ---


@on_both_loops
async def test_known_length_is_announced_and_the_connection_kept() -> None:
    async with serving() as served, served.client() as client:
        for _ in range(2):
            client.send(get("/a"))
            got = await client.response()
            assert (got.all("content-length"), got.all("connection"), got.body) == (["7"], [], b"GET /a ")


@on_both_loops
async def test_unknown_length_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        for piece in (b"one", b"", b"two"):
            await stream.send(piece)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served:
        async with served.client() as client:
            client.send(get("/") + get("/b"))
            got = await client.response()
            assert (got.all("transfer-encoding"), got.body) == (["chunked"], b"onetwo")
            assert (await client.response()).body == b"GET /b "
        async with served.client() as client:
            client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
            got = await client.response()
            assert (got.all("connection"), got.all("transfer-encoding"), got.body) == (["close"], [], b"onetwo")


@on_both_loops
async def test_http_1_0_is_kept_only_when_asked() -> None:
    async with serving() as served, served.client() as client:
        client.send(b"GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        assert (await client.response()).all("connection") == ["keep-alive"]
        client.send(b"GET /b HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert (await client.response()).all("connection") == ["close"]
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("method", "status", "length", "given", "shown"),
    [
        ("HEAD", 200, 5, (), ["5"]),
        ("HEAD", 200, None, (), []),
        ("HEAD", 200, None, (("Content-Length", "9"),), ["9"]),
        ("HEAD", 204, 5, (), []),
        ("GET", 204, 5, (("Content-Length", "9"),), []),
        ("GET", 304, None, (("Content-Length", "9"),), ["9"]),
        ("GET", 304, 0, (), []),
    ],
)
@on_uvloop
async def test_no_body_where_none_is_allowed(
    method: str, status: int, length: int | None, given: tuple[tuple[str, str], ...], shown: list[str]
) -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(status, Fields(given), length)
        await stream.send(b"hello")
        await stream.finish()
        assert stream.bytes_sent == 0

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/").replace(b"GET", method.encode()) + get("/next"))
        got = await client.response(method)
        assert (got.status, got.all("content-length"), got.all("transfer-encoding")) == (status, shown, [])
        assert (await client.response()).body == b"GET /next "


@on_uvloop
async def test_framing_fields_of_a_handler_are_not_believed() -> None:
    lies = Fields(
        (("Content-Length", "99"), ("Transfer-Encoding", "gzip"), ("Connection", "x"), ("Keep-Alive", "y"), ("ETag", '"1"'))
    )

    async def way(stream: Stream) -> None:
        await stream.send_head(200, lies, 2)
        await stream.send(b"ok")
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        assert (await client.response()).fields == (("ETag", '"1"'), ("Content-Length", "2"))


@on_uvloop
async def test_fewer_bytes_than_announced_break_the_connection() -> None:
    failures: list[EdgeError] = []

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 10)
        await stream.send(b"short")
        try:
            await stream.finish()
        except EdgeError as error:
            failures.append(error)

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/") + get("/next"))
        with pytest.raises(asyncio.IncompleteReadError):
            await client.response()
        assert "shorter" in failures[0].text


@on_uvloop
async def test_more_bytes_than_announced_never_go_out() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 3)
        await stream.send(b"one")
        with pytest.raises(EdgeError, match="longer"):
            await stream.send(b"HTTP/1.1 200 EVIL")

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        assert b"EVIL" not in await client.rest()


@on_both_loops
async def test_an_aborted_answer_until_close_ends_in_a_reset() -> None:
    """RFC 9112 section 8: an ordinary close would make the part look whole."""
    seen = asyncio.Event()

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        await stream.send(b"part")
        await seen.wait()
        stream.abort()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert (await client.reader.readuntil(b"part")).endswith(b"part")
        seen.set()
        with pytest.raises(ConnectionResetError):
            await client.rest()


@on_uvloop
async def test_an_aborted_chunked_answer_is_visibly_cut() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        await stream.send(b"part")
        await asyncio.sleep(0)
        stream.abort()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        assert b"\r\n0\r\n" not in await client.rest()


@pytest.mark.parametrize("name_and_value", [("X", "a\r\nSet-Cookie: b"), ("X\n", "a"), ("X", "a\0")])
@on_uvloop
async def test_a_field_that_splits_the_answer_becomes_a_500_and_a_close(name_and_value: tuple[str, str]) -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(200, Fields((name_and_value,)), 0)

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        got = await client.response()
        assert (got.status, got.all("connection"), got.all("set-cookie")) == (500, ["close"], [])
        assert await client.rest() == b""


@pytest.mark.parametrize(("accepts", "shown"), [(b"TE: trailers", (("X-Sum", "1"),)), (b"X: y", ())])
@on_uvloop
async def test_trailers_go_to_who_asks_for_them(accepts: bytes, shown: tuple[tuple[str, str], ...]) -> None:
    """RFC 9110 section 6.5.1."""

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        await stream.finish(Fields((("X-Sum", "1"), ("Content-Length", "5"))))

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/", accepts))
        assert (await client.response()).trailers == shown


@on_both_loops
async def test_interim_answers_go_to_1_1_only() -> None:
    """RFC 9110 section 15.2."""

    async def way(stream: Stream) -> None:
        stream.send_interim(103, Fields((("Link", "</a>"),)))
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        got = await client.response(interim=True)
        assert (got.status, got.fields) == (103, (("Link", "</a>"),))
        assert (await client.response()).status == 200
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert (await client.response(interim=True)).status == 200


@on_uvloop
async def test_a_handler_that_fails_costs_one_connection() -> None:
    async def before(stream: Stream) -> None:
        raise KeyError("bug")

    async def after(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 100)
        await stream.send(b"part")
        raise KeyError("bug")

    async def nothing(stream: Stream) -> None:
        return

    async with serving(RecordingHandler({"/before": before, "/after": after, "/nothing": nothing})) as served:
        for target in ("/before", "/nothing"):
            async with served.client() as client:
                client.send(get(target) + get("/smuggled"))
                assert (await client.response()).status == 500
                assert await client.rest() == b""
        async with served.client() as client:
            client.send(get("/after"))
            with pytest.raises(asyncio.IncompleteReadError):
                await client.response()
        assert served.handler.heard == []


@on_uvloop
async def test_a_failing_ready_answer_is_a_500() -> None:
    class Handler(RecordingHandler):
        def instant(self, request: object, peer: object) -> bytes:
            if self.instants == 3:
                raise KeyError("bug")
            self.instants += 1
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async with serving(Handler()) as served, served.client() as client:
        for _ in range(3):
            client.send(get("/"))
            assert (await client.response()).status == 200
        client.send(get("/"))
        assert (await client.response()).status == 500
        assert await client.rest() == b""
    async with serving(Handler()) as served, served.client() as client:
        client.send(get("/") * 5)
        assert [(await client.response()).status for _ in range(4)] == [200, 200, 200, 500]


@pytest.mark.parametrize(
    ("raw", "body", "connection"),
    [
        (get("/ready", b"Connection: close"), b"GET /ready ", ["close"]),
        (b"GET /ready HTTP/1.0\r\nHost: a.test\r\n\r\n", b"GET /ready ", ["close"]),
        (b"POST /ready HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab", b"POST /ready ab", []),
    ],
    ids=["close", "1.0", "body"],
)
@on_uvloop
async def test_what_is_not_simple_is_never_answered_at_once_however_often_it_comes(
    raw: bytes, body: bytes, connection: list[str]
) -> None:
    async with serving() as served:
        for _ in range(5):
            async with served.client() as client:
                client.send(raw[:-2] if raw.endswith(b"ab") else raw)
                if raw.endswith(b"ab"):
                    await until(lambda: served.listener.counts().get("exchange") == 1)
                    client.send(b"ab")
                got = await client.response()
                assert (got.body, got.all("connection")) == (body, connection)
        assert served.handler.instants == 0


@on_both_loops
async def test_send_waits_for_a_client_that_does_not_read() -> None:
    sent: list[int] = []

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 100_000_000)
        for _ in range(1000):
            await stream.send(bytes(100_000))
            sent.append(stream.bytes_sent)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get("/"))
        [connection] = served.listener.connections._open
        await until(lambda: not connection.gate.is_open)  # type: ignore[attr-defined]
        for _ in range(100):
            await asyncio.sleep(0)
        assert connection._transport.get_write_buffer_size() < 10**6  # type: ignore[attr-defined]
        assert sent[-1] < 50_000_000
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        await client.reader.readuntil(b"\r\n\r\n")
        taken = 0
        while data := await client.reader.read(2**20):
            taken += len(data)
            if taken == 100_000_000:
                break
        assert taken == 100_000_000
