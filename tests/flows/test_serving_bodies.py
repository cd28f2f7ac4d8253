"""Bodies of requests over real sockets: trailers, 100 (Continue), those that nobody reads, those that are too long."""

import asyncio

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import Heard, RecordingHandler, bounded, get, on_both_loops, on_uvloop, read_all, serving, until

NOTHING = Fields()


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

    async with serving(RecordingHandler({"/": way}), bounded(unread_body_bytes=1000)) as served, served.client() as client:
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
    async with serving(settings=bounded(body_bytes=10)) as served, served.client() as client:
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
