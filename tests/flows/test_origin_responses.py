"""How a raw origin's answers are read: as they come, bounded, each to its own end."""

import asyncio
import hashlib

import pytest

from edgeproxy.errors import OriginReset, OriginTimeout, OriginTruncated
from edgeproxy.origin.connection import HIGH_WATER
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import ResponseHead
from tests.support.origin_client import QUICK, ask, asking, whole
from tests.support.raw_origin import RawConnection, RawOrigin, always, answer

OK = answer(b"ok")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_fields_are_as_received_and_nothing_is_decoded_followed_or_remembered() -> None:
    """Content-Encoding stays, a redirect is an answer, Set-Cookie is a field."""
    raw = (
        b"HTTP/1.1 302 Found\r\nset-COOKIE: a=b\r\nSet-Cookie: c=d\r\nLocation: /elsewhere\r\nContent-Encoding: gzip\r\n"
        b"X-Latin: caf\xe9\r\nX-Empty:\r\nX-Space: \t a b \t \r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    )
    async with RawOrigin(always(raw)) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        assert response.head == ResponseHead(
            302,
            Fields(
                [
                    ("set-COOKIE", "a=b"),
                    ("Set-Cookie", "c=d"),
                    ("Location", "/elsewhere"),
                    ("Content-Encoding", "gzip"),
                    ("X-Latin", "caf\xe9"),
                    ("X-Empty", ""),
                    ("X-Space", "a b"),
                    ("Content-Length", "4"),
                ]
            ),
        )
        assert await whole(response) == b"\x1f\x8b\x08\x00"
        await whole(await client.fetch(ask("/")))
    assert all(b"cookie" not in head.lower() for head in origin.heads)
    assert [head.split(b" ")[1] for head in origin.heads] == [b"/", b"/"]


async def test_interim_responses_are_told_in_order_and_at_once() -> None:
    """RFC 9110 section 15.2; RFC 8297."""
    told = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await told.wait()  # the hint must have arrived before the answer exists
        await connection.send(b"HTTP/1.1 102 Processing\r\nContent-Length: 0\r\n\r\n" + OK)

    seen: list[ResponseHead] = []

    def interim(head: ResponseHead) -> None:
        seen.append(head)
        if head.status == 103:
            told.set()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        response = await client.fetch(ask("/"), on_interim=interim)
        assert (response.status, await whole(response)) == (200, b"ok")
    assert [head.status for head in seen] == [100, 103, 102]
    assert seen[1].fields == Fields([("Link", "</a>")])


async def test_what_the_interim_callback_raises_ends_the_fetch() -> None:
    error = BrokenPipeError("the client is gone")

    def interim(head: ResponseHead) -> None:
        raise error

    async with RawOrigin(always(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)) as origin, asking(origin.url) as client:
        with pytest.raises(BrokenPipeError) as caught:
            await client.fetch(ask("/"), on_interim=interim)
        assert caught.value is error
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_answers_without_a_body_end_with_their_head_and_free_the_connection(method: str, raw: bytes) -> None:
    """RFC 9112 section 6.3, items 1 and 2."""
    async with RawOrigin(always(raw)) as origin, asking(origin.url, settings=QUICK) as client:
        for _ in range(3):
            response = await client.fetch(ask("/", method))
            assert (response.body_length, response.delimited_by_close) == (0, False)
            assert await whole(response) == b""
        assert len(origin.connections) == 1


async def test_a_body_that_ends_with_the_connection_is_whole_but_flagged() -> None:
    """RFC 9112 section 6.3, item 8."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.0 200 OK\r\n\r\nhello ")
        await connection.send(b"world")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        assert (response.body_length, response.delimited_by_close) == (None, True)
        assert await whole(response) == b"hello world"
        assert await whole(await client.fetch(ask("/"))) == b"hello world"
        assert len(origin.connections) == 2


@pytest.mark.parametrize(
    ("head", "reused"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: foo, CLOSE\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\n", False),
    ],
)
async def test_persistence_is_what_version_and_connection_say(head: bytes, reused: bool) -> None:
    """RFC 9112 section 9.3."""
    async with RawOrigin(always(head + b"Content-Length: 2\r\n\r\nok")) as origin, asking(origin.url) as client:
        for _ in range(2):
            assert await whole(await client.fetch(ask("/"))) == b"ok"
        assert len(origin.connections) == (1 if reused else 2)


async def test_trailers_are_there_after_the_end() -> None:
    """RFC 9110 section 6.5."""
    raw = CHUNKED + b"2\r\nok\r\n0\r\nX-Checksum: 1\r\nx-checksum: 2\r\n\r\n"
    async with RawOrigin(always(raw)) as origin, asking(origin.url) as client:
        for _ in range(2):
            response = await client.fetch(ask("/"))
            assert await whole(response) == b"ok"
            assert response.trailers == Fields([("X-Checksum", "1"), ("x-checksum", "2")])
        assert len(origin.connections) == 1


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "close"])
async def test_a_stream_flows_at_once(chunked: bool) -> None:
    """The first event is read before the second is written."""
    got = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send((CHUNKED + b"3\r\none\r\n") if chunked else b"HTTP/1.1 200 OK\r\n\r\none")
        await got.wait()
        await connection.send(b"3\r\ntwo\r\n0\r\n\r\n" if chunked else b"two")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        assert await response.read() == b"one"
        got.set()
        assert await whole(response) == b"two"


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_a_large_body_arrives_whole_whatever_its_pieces(chunked: bool) -> None:
    piece = bytes(range(256)) * 1021
    count = 80
    sent = hashlib.sha256(piece * count).digest()

    async def serve(connection: RawConnection) -> None:
        while await connection.read_head():
            await connection.send(CHUNKED if chunked else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
            for _ in range(count):
                await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                await connection.send(b"0\r\n\r\n")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        for _ in range(2):
            got = hashlib.sha256(await whole(await client.fetch(ask("/"))))
            assert got.digest() == sent
        assert len(origin.connections) == 1


async def test_read_ahead_is_bounded() -> None:
    """A reader that stops reading stops the origin: HIGH_WATER, one more read, and what the kernels hold."""
    sent = 0

    async def serve(connection: RawConnection) -> None:
        nonlocal sent
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 64_000_000:
            await connection.send(b"x" * 65_536)
            sent += 65_536

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        before = -1
        while before != sent:
            before = sent
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.1)
        first = await response.read()
        assert HIGH_WATER < len(first) <= 2 * HIGH_WATER
        assert sent < 32_000_000
        assert await response.read()  # and it goes on
        await response.close()


async def test_close_inside_the_body_closes_the_connection() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        assert await response.read() == b"hello"
        await response.close()
        await response.close()
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
        with pytest.raises(OriginReset):
            await response.read()


async def test_close_after_the_end_keeps_the_connection_even_when_nobody_read_the_body() -> None:
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        for _ in range(3):
            await (await client.fetch(ask("/"))).close()
        assert len(origin.connections) == 1


async def test_pieces_before_the_break_are_delivered_first() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/"))
        assert await response.read() == b"hello"
        for _ in range(2):
            with pytest.raises(OriginTruncated):
                await response.read()
        await response.close()


async def test_no_head_in_time() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        with pytest.raises(OriginTimeout) as caught:
            await client.fetch(ask("/"))
        assert caught.value.fields == {"waited": 0.3, "origin": origin.url}
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)


async def test_a_head_that_trickles_does_not_escape_the_time_out() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1000:
            await connection.send(bytes((byte,)))
            await asyncio.sleep(0.01)

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        with pytest.raises(OriginTimeout):
            await client.fetch(ask("/"))


async def test_each_interim_response_starts_the_wait_for_the_head_anew() -> None:
    """RFC 9110 section 15.2: 102 says that the origin is alive."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        for _ in range(4):
            await asyncio.sleep(0.15)
            await connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await connection.send(OK)

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        assert await whole(await client.fetch(ask("/"))) == b"ok"


@pytest.mark.parametrize("when", ["head", "body"])
async def test_cancelling_leaves_no_connection_behind(when: str) -> None:
    reached = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        if when == "body":
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        reached.set()
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url) as client:

        async def exchange() -> None:
            response = await client.fetch(ask("/"))
            await response.read()

        task = asyncio.ensure_future(exchange())
        await reached.wait()
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
