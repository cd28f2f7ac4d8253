"""Upgraded connections: raw bytes both ways."""

import asyncio

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import ClientGone
from edgeproxy.serving.settings import ServingSettings, Timeouts
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import Heard, RecordingHandler, get, on_both_loops, on_uvloop, serving, until

UPGRADE = get("/ws", b"Connection: keep-alive, Upgrade", b"Upgrade: websocket")
ACCEPT = Fields((("Sec-WebSocket-Accept", "x"), ("Connection", "close"), ("Upgrade", "websocket")))


async def echo(stream: Stream) -> None:
    await stream.send_head(101, ACCEPT, None)
    source, sink = stream.tunnel()
    while data := await source.read(1000):
        sink.write(data)
        await sink.drain()
    sink.write(b"bye")
    sink.close()


def echoing() -> RecordingHandler:
    return RecordingHandler({"/ws": echo})


@on_both_loops
async def test_echo_with_bytes_that_came_with_the_head() -> None:
    async with serving(echoing()) as served, served.client() as client:
        client.send(UPGRADE + b"early ")
        got = await client.response()
        assert got.status == 101
        assert got.fields == (("Sec-WebSocket-Accept", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket"))
        client.send(get("/not-a-request"))
        expected = b"early " + get("/not-a-request")
        assert await client.reader.readexactly(len(expected)) == expected
        client.writer.write_eof()
        assert await client.rest() == b"bye"
        assert served.handler.heard == []


@on_both_loops
async def test_much_data_both_ways_with_a_client_that_reads_late() -> None:
    data = bytes(range(256)) * 40_000
    async with serving(echoing()) as served, served.client() as client:
        client.send(UPGRADE)
        await client.response()
        client.reader._transport.pause_reading()
        client.send(data)
        [connection] = served.listener.connections._open
        await until(lambda: not connection.gate.is_open)
        await until(lambda: not connection._reading)
        assert connection._source.waiting < 2**20
        client.reader._transport.resume_reading()
        assert await client.reader.readexactly(len(data)) == data


@on_uvloop
async def test_the_server_may_end_its_half_first() -> None:
    async def way(stream: Stream) -> None:
        await stream.send_head(101, ACCEPT, None)
        source, sink = stream.tunnel()
        sink.write(b"hello")
        sink.write_eof()
        with pytest.raises(ValueError):
            sink.write(b"more")
        assert sink.is_closing()
        stream_heard.append(await source.read())

    stream_heard: list[bytes] = []
    async with serving(RecordingHandler({"/ws": way})) as served, served.client() as client:
        client.send(UPGRADE)
        await client.response()
        assert await client.rest() == b"hello"
        client.send(b"late")
        await until(lambda: stream_heard == [b"late"])


@on_uvloop
async def test_a_tunnel_without_a_byte_is_cut_off() -> None:
    told: list[str] = []

    async def way(stream: Stream) -> None:
        await stream.send_head(101, ACCEPT, None)
        source, _ = stream.tunnel()
        try:
            while await source.read():
                pass
        except ClientGone as error:
            told.append(error.text)
            raise

    clock = ManualClock()
    settings = ServingSettings(timeouts=Timeouts(tunnel=5))
    async with serving(RecordingHandler({"/ws": way}), settings, clock) as served, served.client() as client:
        client.send(UPGRADE)
        await client.response()
        [connection] = served.listener.connections._open
        for _ in range(10):  # each byte gives new time
            client.send(b"x")
            await until(lambda: connection._touched)
            clock.advance(4)
            served.listener.connections.sweep()
        assert served.listener.counts() == {"tunnel": 1}
        clock.advance(6)
        served.listener.connections.sweep()
        await until(lambda: told == ["connection broken off"])


@on_uvloop
async def test_a_refused_upgrade_is_an_ordinary_exchange() -> None:
    async def way(stream: Stream) -> None:
        assert stream.request.upgrade == "websocket"
        await stream.send_head(403, Fields(), 2)
        await stream.send(b"no")
        await stream.finish()

    async with serving(RecordingHandler({"/ws": way})) as served, served.client() as client:
        client.send(UPGRADE + get("/next"))
        assert (await client.response()).body == b"no"
        assert (await client.response()).body == b"GET /next "
        assert served.handler.heard == [Heard("GET", "/next")]


@on_uvloop
async def test_a_101_that_nobody_asked_for_is_a_bug_of_ours() -> None:
    async with serving(RecordingHandler({"/": echo})) as served, served.client() as client:
        client.send(get("/"))
        assert (await client.response()).status == 500


@on_uvloop
async def test_a_cancelled_tunnel_closes() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def way(stream: Stream) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await echo(stream)

    async with serving(RecordingHandler({"/ws": way})) as served, served.client() as client:
        client.send(UPGRADE)
        await client.response()
        tasks[0].cancel()
        assert await client.rest() == b""
