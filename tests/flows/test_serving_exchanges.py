"""Exchanges over real sockets: framing of answers, bodies both ways, pipelining, clients that leave."""

import asyncio
import socket
import struct

import pytest

from edgeproxy.errors import ClientGone, EdgeError, RequestRefused
from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import Heard, RecordingHandler, get, on_both_loops, on_uvloop, read_all, serving, until

NOTHING = Fields()


def small(**bounds: int) -> ServingSettings:
    return ServingSettings(bounds=Bounds(**bounds))


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


# --- request bodies ---


@on_both_loops
async def test_trailers_of_a_request_are_told_after_its_body() -> None:
    async with serving() as served, served.client() as client:
        client.send(
            b"POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
            + get("/next")
        )
        assert (await client.response()).body == b"POST /t hello"
        assert (await client.response()).body == b"GET /next "
        assert served.handler.heard[0] == Heard("POST", "/t", b"hello", (("X-Sum", "1"),))


@on_both_loops
async def test_100_continue_is_sent_on_the_first_read_only() -> None:
    """RFC 9110 section 10.1.1."""
    may_read = asyncio.Event()

    async def way(stream: Stream) -> None:
        await may_read.wait()
        body = await read_all(stream)
        await stream.send_head(200, NOTHING, len(body))
        await stream.send(body)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
        await until(lambda: served.listener.counts() == {"exchange": 1})
        may_read.set()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        client.send(b"def")
        assert (await client.response(interim=True)).body == b"abcdef"


@on_uvloop
async def test_100_continue_is_not_sent_to_1_0() -> None:
    async with serving() as served, served.client() as client:
        client.send(b"POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab")
        assert (await client.response(interim=True)).status == 200


@on_uvloop
async def test_an_answer_without_the_awaited_100_closes() -> None:
    """Whether the client then sends its body nobody knows, so what follows cannot be read as a request."""

    async def way(stream: Stream) -> None:
        await stream.send_head(403, NOTHING, 0)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 43\r\nExpect: 100-continue\r\n\r\n")
        got = await client.response(interim=True)
        assert (got.status, got.all("connection")) == (403, ["close"])
        client.send(get("/smuggled"))
        assert await client.rest() == b""
        assert served.handler.heard == []


@on_uvloop
async def test_a_short_unread_body_is_dropped_and_the_connection_kept() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(403, NOTHING, 0)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc")
        assert (await client.response()).all("connection") == []
        await until(lambda: served.listener.counts() == {"skipping": 1})
        client.send(b"def" + get("/next"))
        assert (await client.response()).body == b"GET /next "


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
@on_uvloop
async def test_a_long_unread_body_closes_and_the_answer_still_arrives(framing: bytes) -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(403, NOTHING, 2)
        await stream.send(b"no")
        await stream.finish()

    async with serving(RecordingHandler({"/": way}), small(unread_body_bytes=1000)) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n")
        assert (await client.response()).body == b"no"
        client.send(b"10000\r\n" + bytes(65536))
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "message",
    [b"Content-Length: 11\r\n\r\nhello world", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"],
)
@on_uvloop
async def test_a_body_over_the_limit_is_413(message: bytes) -> None:
    async with serving(settings=small(body_bytes=10)) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + message + get("/smuggled"))
        assert (await client.response()).status == 413
        assert await client.rest() == b""
        assert served.handler.heard == []


@on_uvloop
async def test_a_handler_may_answer_a_broken_body_itself() -> None:
    async def way(stream: Stream) -> None:
        with pytest.raises(RequestRefused):
            await read_all(stream)
        await stream.send_head(418, NOTHING, 0)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n" + get("/smuggled"))
        got = await client.response()
        assert (got.status, got.all("connection")) == (418, ["close"])
        assert await client.rest() == b""


# --- pipelining ---


@on_both_loops
async def test_a_hundred_pipelined_requests_are_answered_in_order() -> None:
    targets = [f"/ready/{number}" if number % 3 else f"/task/{number}" for number in range(100)]
    async with serving() as served, served.client() as client:
        client.send(b"".join(map(get, targets)))
        for target in targets:
            assert (await client.response()).body == f"GET {target} ".encode()
        assert [one.target for one in served.handler.heard] == targets


@on_both_loops
async def test_a_ready_answer_never_overtakes_a_running_exchange() -> None:
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await release.wait()
        await stream.send_head(200, NOTHING, 4)
        await stream.send(b"slow")
        await stream.finish()

    async with serving(RecordingHandler({"/slow": way})) as served, served.client() as client:
        client.send(get("/slow"))
        await until(lambda: served.listener.counts() == {"exchange": 1})
        client.send(get("/ready"))
        client.send(get("/ready/pieces"))
        release.set()
        assert [(await client.response()).body for _ in range(3)] == [b"slow", b"GET /ready ", b"GET /ready/pieces "]


@on_uvloop
async def test_work_after_the_end_of_an_answer_does_not_hold_the_next_one() -> None:
    release = asyncio.Event()
    late: list[bytes] = []

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()
        await release.wait()
        with pytest.raises(ClientGone):
            await stream.send(b"late")
        late.append(b"done")

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/") + get("/b"))
        assert (await client.response()).body == b""
        assert (await client.response()).body == b"GET /b "
        release.set()
        await until(lambda: late == [b"done"])
        client.send(get("/c"))
        assert (await client.response()).body == b"GET /c "


@on_uvloop
async def test_pipelined_requests_behind_a_running_one_are_bounded() -> None:
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await release.wait()
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()

    async with serving(RecordingHandler({"/": way}), small(pipelined_bytes=4096)) as served, served.client() as client:
        client.send(get("/"))
        more = get("/ready") * 200_000
        client.send(more)
        await until(lambda: not reading_of(served.listener))
        unsent = client.writer.transport.get_write_buffer_size()
        assert unsent > 0  # the rest waits at the client
        release.set()
        assert (await client.response()).body == b""
        for _ in range(200_000):
            await client.reader.readuntil(b"GET /ready ")


def reading_of(listener: object) -> bool:
    """Whether the only connection reads from its socket."""
    [connection] = listener.connections._open  # type: ignore[attr-defined]
    return bool(connection._reading)


@on_uvloop
async def test_a_client_with_endless_ready_requests_leaves_room_for_others() -> None:
    async with serving(settings=small(burst=4)) as served, served.client() as greedy, served.client() as other:
        greedy.send(get("/ready") * 5000)
        other.send(get("/ready/other"))
        assert (await other.response()).body == b"GET /ready/other "
        for _ in range(5000):
            await greedy.response()


@on_both_loops
async def test_a_client_that_asks_and_does_not_read_is_not_answered_any_more() -> None:
    page = bytes(100_000)

    class Handler(RecordingHandler):
        def instant(self, request: object, peer: object) -> bytes:
            self.instants += 1
            return b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + page

    async with serving(Handler()) as served, served.client() as client:
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get("/ready") * 1000)
        await until(lambda: served.listener.counts() == {"queued": 1})
        before = served.handler.instants
        assert before < 200
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(1000):
            assert len((await client.response()).body) == 100_000


# --- clients that leave ---


@on_both_loops
async def test_a_half_closed_client_gets_all_its_answers() -> None:
    """RFC 9112 section 9.6."""
    async with serving() as served, served.client() as client:
        client.send(get("/a") + get("/ready") + get("/c"))
        client.writer.write_eof()
        assert [(await client.response()).body for _ in range(3)] == [b"GET /a ", b"GET /ready ", b"GET /c "]
        assert await client.rest() == b""


@on_both_loops
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_gone() -> None:
    told: list[str] = []

    async def way(stream: Stream) -> None:
        try:
            await read_all(stream)
        except ClientGone as error:
            told.append(error.text)
            raise

    async with serving(RecordingHandler({"/": way})) as served:
        async with served.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc")
            await until(lambda: served.listener.counts() == {"exchange": 1})
        await until(lambda: bool(told) and len(served.listener.connections) == 0)


@on_both_loops
async def test_a_reset_reaches_the_writer_and_who_asked_to_be_told() -> None:
    told: list[str] = []

    async def way(stream: Stream) -> None:
        stream.on_gone = lambda: told.append("on_gone")
        await stream.send_head(200, NOTHING, None)
        try:
            while True:
                await stream.send(bytes(65536))
        except ClientGone:
            told.append("send")
            assert stream.gone
            raise

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/"))
        await client.reader.readuntil(b"\r\n\r\n")
        plain = client.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await until(lambda: len(told) == 2)
        assert told == ["on_gone", "send"]


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


@on_uvloop
async def test_no_100_after_the_final_head() -> None:
    """The client would take it for the answer to its next request."""

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 2)
        body = await read_all(stream)
        await stream.send(body)
        await stream.finish()

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        client.send(b"ab")
        assert await client.rest() == b"ab"


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
