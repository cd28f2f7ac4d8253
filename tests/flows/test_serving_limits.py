"""What slow, greedy and numerous clients may do. Time is a manual clock and a sweep called by the test."""

import asyncio
import contextlib
import tracemalloc

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import RecordingHandler, Served, get, on_both_loops, on_uvloop, read_all, serving, until

NOTHING = Fields()
TIMES = ServingSettings(timeouts=Timeouts(head=10, idle=60, body=20, write=30, tunnel=100, linger=2))


def pass_time(served: Served, clock: ManualClock, seconds: float) -> None:
    """Let `seconds` pass with a sweep in each, as the listener does."""
    for _ in range(int(seconds)):
        clock.advance(1)
        served.listener.connections.sweep()


@contextlib.asynccontextmanager
async def timed(handler: RecordingHandler | None = None, settings: ServingSettings = TIMES):
    clock = ManualClock()
    async with serving(handler, settings, clock) as served, served.client() as client:
        await until(lambda: len(served.listener.connections) == 1)
        yield served, client, clock


@on_both_loops
async def test_a_head_that_trickles_is_408_however_many_bytes_it_sends() -> None:
    async with timed() as (served, client, clock):
        for number, byte in enumerate(b"GET / HTTP/1.1"[:12]):
            client.send(bytes((byte,)))
            await until(lambda: served.listener.counts() != {"idle": 1})
            if number < 10:
                assert served.listener.counts() == {"head": 1}
            pass_time(served, clock, 1)
        got = await client.response()
        assert (got.status, got.all("connection")) == (408, ["close"])
        assert await client.rest() == b""


@on_uvloop
async def test_a_new_connection_without_a_byte_has_the_time_of_a_head_and_a_used_one_that_of_idleness() -> None:
    async with timed() as (served, client, clock):
        client.send(get("/ready"))
        await client.response()
        pass_time(served, clock, 60)
        assert len(served.listener.connections) == 1
        async with served.client() as fresh:
            await until(lambda: len(served.listener.connections) == 2)
            client.send(get("/ready"))
            await client.response()
            pass_time(served, clock, 11)
            assert await fresh.rest() == b""
            assert served.listener.counts().get("idle") == 1
        pass_time(served, clock, 51)
        assert await client.rest() == b""


@on_both_loops
async def test_a_body_that_stalls_is_408() -> None:
    async with timed() as (served, client, clock):
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc")
        await until(lambda: served.listener.counts() == {"exchange": 1})
        pass_time(served, clock, 22)
        assert (await client.response()).status == 408
        assert await client.rest() == b""


@on_uvloop
async def test_a_body_that_comes_slowly_but_surely_is_taken() -> None:
    async with timed() as (served, client, clock):
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n")
        await until(lambda: served.listener.counts() == {"exchange": 1})
        [connection] = served.listener.connections._open
        for number in range(8):
            pass_time(served, clock, 15)
            client.send(b"%d" % number)
            await until(lambda number=number: connection._touched or number == 7)
        assert (await client.response()).body == b"POST / 01234567"


@on_uvloop
async def test_a_body_that_nobody_reads_yet_is_not_stalled() -> None:
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await release.wait()
        body = await read_all(stream)
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()
        assert len(body) == 1_000_000

    settings = ServingSettings(timeouts=TIMES.timeouts, bounds=Bounds(body_buffer_bytes=1000))
    async with timed(RecordingHandler({"/": way}), settings) as (served, client, clock):
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        [connection] = served.listener.connections._open
        await until(lambda: not connection._reading)
        pass_time(served, clock, 100)
        release.set()
        assert (await client.response()).status == 200


@on_uvloop
async def test_the_rest_of_a_body_that_nobody_wants_has_a_time_too() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(403, NOTHING, 0)
        await stream.finish()

    async with timed(RecordingHandler({"/": way})) as (served, client, clock):
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc")
        assert (await client.response()).status == 403
        pass_time(served, clock, 22)
        assert await client.rest() == b""


@on_both_loops
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    told: list[str] = []

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        try:
            while True:
                await stream.send(bytes(65536))
        except ClientGone:
            told.append("gone")
            raise

    async with timed(RecordingHandler({"/": way})) as (served, client, clock):
        client.reader._transport.pause_reading()
        client.send(get("/"))
        [connection] = served.listener.connections._open
        await until(lambda: not connection.gate.is_open)
        pass_time(served, clock, 33)
        await until(lambda: told == ["gone"] and len(served.listener.connections) == 0)


@on_uvloop
async def test_a_client_that_leaves_a_ready_answer_unread_is_cut_off() -> None:
    class Handler(RecordingHandler):
        def instant(self, request: object, peer: object) -> bytes:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + bytes(10_000_000)

    async with timed(Handler()) as (served, client, clock):
        client.reader._transport.pause_reading()
        client.send(get("/"))
        [connection] = served.listener.connections._open
        await until(lambda: not connection.gate.is_open)
        pass_time(served, clock, 33)
        await until(lambda: len(served.listener.connections) == 0)


@on_uvloop
async def test_a_refused_client_that_does_not_close_is_closed() -> None:
    async with timed() as (served, client, clock):
        client.send(b"GET\r\n\r\n")
        assert (await client.response()).status == 400
        client.send(b"more")
        assert served.listener.counts() == {"lingering": 1}
        pass_time(served, clock, 4)
        await until(lambda: len(served.listener.connections) == 0)


# --- numbers ---


@on_both_loops
async def test_one_connection_too_many_is_told_503_and_others_go_on() -> None:
    settings = ServingSettings(bounds=Bounds(connections=2))
    async with serving(settings=settings) as served, served.client() as one, served.client() as two:
        await until(lambda: len(served.listener.connections) == 2)
        async with served.client() as three:
            three.send(get("/"))
            got = await three.response()
            assert (got.status, got.all("connection")) == (503, ["close"])
            assert await three.rest() == b""
        for client in (one, two):
            client.send(get("/ready"))
            assert (await client.response()).status == 200
        await until(lambda: len(served.listener.connections) == 2)
        assert (served.listener.connections.accepted, served.listener.connections.rejected) == (2, 1)
    assert served.handler.instants == 2


@on_uvloop
async def test_far_too_many_connections_are_dropped() -> None:
    settings = ServingSettings(bounds=Bounds(connections=1))
    async with serving(settings=settings) as served, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.client()) for _ in range(30)]
        await until(lambda: served.listener.connections.rejected == 29)
        dropped = 0
        for client in clients[1:]:
            with contextlib.suppress(ConnectionResetError):
                if b"503" in await client.rest():
                    continue
            dropped += 1
        assert dropped == 30 - (1 + 16)


@on_uvloop
async def test_the_limit_of_one_address() -> None:
    settings = ServingSettings(bounds=Bounds(connections_per_address=1))
    async with serving(settings=settings) as served:
        for _ in range(3):  # what is closed is not counted any more
            async with served.client() as one, served.client() as two:
                assert (await two.response()).status == 503
                one.send(get("/ready"))
                assert (await one.response()).status == 200
            await until(lambda: len(served.listener.connections) == 0)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 200),  # RFC 9112 section 3
        (b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
        (b"GET /" + b"a" * 17000, 414),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 40000, 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
    ids=["line-of-8000", "target", "target-unfinished", "head", "head-unfinished", "fields"],
)
@on_uvloop
async def test_sizes_of_a_head(raw: bytes, status: int) -> None:
    async with serving() as served, served.client() as client:
        client.send(raw)
        assert (await client.response()).status == status


@on_uvloop
async def test_huge_bodies_both_ways_in_bounded_memory() -> None:
    size, piece = 200 * 2**20, bytes(2**16)
    received = 0

    async def upload(stream: Stream) -> None:
        nonlocal received
        while data := await stream.read():
            received += len(data)
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()

    async def download(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        for _ in range(size // len(piece)):
            await stream.send(piece)
        await stream.finish()

    async with serving(RecordingHandler({"/up": upload, "/down": download})) as served, served.client() as client:
        tracemalloc.start()
        try:
            client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(size // len(piece)):
                client.send(b"10000\r\n")
                client.send(piece)
                client.send(b"\r\n")
                await client.writer.drain()
            client.send(b"0\r\n\r\n")
            assert (await client.response()).status == 200
            assert received == size
            client.send(get("/down"))
            await client.reader.readuntil(b"\r\n\r\n")
            taken = 0
            while taken < size:
                taken += len(await client.reader.read(2**20))
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()


@on_uvloop
async def test_a_slow_reader_of_a_body_stops_the_client() -> None:
    """The whole body does not fit between the client and a handler that does not read."""
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await release.wait()
        body = await read_all(stream)
        await stream.send_head(200, NOTHING, 0)
        await stream.finish()
        assert len(body) == 50_000_000

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000))
        [connection] = served.listener.connections._open
        await until(lambda: not connection._reading)
        assert connection._body.waiting < 2**20
        assert client.writer.transport.get_write_buffer_size() > 0
        release.set()
        assert (await client.response()).status == 200


@on_uvloop
async def test_a_refusal_inside_an_exchange_is_recorded_as_such() -> None:
    async def way(stream: Stream) -> None:
        raise RequestRefused("teapots only", status=418)

    async with serving(RecordingHandler({"/": way})) as served, served.client() as client:
        client.send(get("/") + get("/smuggled"))
        assert (await client.response()).status == 418
        assert await client.rest() == b""
        assert [error.text for error in served.handler.refused] == ["teapots only"]
