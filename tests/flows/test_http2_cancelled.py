"""An HTTP/2 exchange cancelled at each of its waits: its stream ends, whole or reset, the connection goes on, nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http2 import websocket_accept
from tests.support.cancelling import cancelled_at
from tests.support.http2 import Line, head, serving2
from tests.support.serving import RecordingHandler, on_uvloop, until


async def upload_and_download(stream: Stream) -> None:
    await stream.send_head(200, Fields(), None)
    while piece := await stream.read():
        await stream.send(piece)
        await asyncio.sleep(0)
    for _ in range(8):
        await stream.send(bytes(100_000))
    await stream.finish()


async def tunnel(stream: Stream) -> None:
    key = stream.request.fields.get("sec-websocket-key") or ""
    await stream.send_head(101, Fields((("Sec-WebSocket-Accept", websocket_accept(key)),)), None)
    source, sink = stream.tunnel()
    while await source.read():
        for _ in range(4):
            sink.write(bytes(100_000))
            await sink.drain()
    sink.close()


UPLOAD = head("/it", method="POST")
WEBSOCKET = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *head("/it")[1:])


@pytest.mark.parametrize(("work", "lines"), [(upload_and_download, UPLOAD), (tunnel, WEBSOCKET)], ids=["exchange", "tunnel"])
@on_uvloop
async def test_each_wait(work: Callable[[Stream], Awaitable[None]], lines: tuple[Line, ...]) -> None:
    at, ended = 0, False

    async def way(stream: Stream) -> None:
        nonlocal ended
        ended = not await cancelled_at(work(stream), at)  # type: ignore[arg-type]

    settings = ServingSettings(bounds=Bounds(write_buffer_bytes=1000))
    async with serving2(RecordingHandler({"/it": way}), settings) as served, served.client() as client:
        await client.settled(lambda: client.acknowledged)
        while not ended:
            stream = client.request(lines, ended=False)
            for piece in (b"hello", b"world"):
                await client.upload(stream, piece, ended=False)
                await asyncio.sleep(0)
            if not client.streams[stream].over:
                await client.upload(stream, b"!")
            got = await client.got(stream)
            assert got.ended or got.reset is not None
            await until(lambda: served.listener.counts() == {"idle": 1})
            assert (await client.ask("/next")).status == 200
            at += 1
            client.seen.clear()
        assert at > 5
        assert client.goaways == []
