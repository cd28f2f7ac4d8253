"""Requests that do not wait for each other, and clients that leave, over real sockets."""

import asyncio
import socket
import struct

import pytest

from edgeproxy.errors import ClientGone
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import RecordingHandler, bounded, get, on_both_loops, on_uvloop, read_all, serving, until

NOTHING = Fields()


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

    async with serving(RecordingHandler({"/": way}), bounded(pipelined_bytes=4096)) as served, served.client() as client:
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
    async with serving(settings=bounded(burst=4)) as served, served.client() as greedy, served.client() as other:
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
