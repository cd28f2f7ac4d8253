"""An exchange cancelled at each of its waits: the client sees a cut answer or the whole one, and nothing is left behind."""

import asyncio
import contextlib

import pytest

from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.cancelling import cancelled_at
from tests.support.serving import RecordingHandler, get, on_both_loops, serving, until


async def upload_and_download(stream: Stream) -> None:
    await stream.send_head(200, Fields(), None)
    while piece := await stream.read():
        await stream.send(piece)
        await asyncio.sleep(0)
    for _ in range(20):
        await stream.send(bytes(100_000))
    await stream.finish()


async def tunnel(stream: Stream) -> None:
    await stream.send_head(101, Fields(), None)
    source, sink = stream.tunnel()
    while data := await source.read():
        for _ in range(100):
            sink.write(bytes(100_000))
            await sink.drain()
        sink.write(data)


UPLOAD = b"POST /it HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = (b"5\r\nhello\r\n", b"5\r\nworld\r\n", b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("work", "head", "pieces"),
    [
        (upload_and_download, UPLOAD, PIECES),
        (tunnel, get("/it", b"Connection: Upgrade", b"Upgrade: x"), (b"a", b"b")),
    ],
    ids=["exchange", "tunnel"],
)
@on_both_loops
async def test_each_wait(work: object, head: bytes, pieces: tuple[bytes, ...]) -> None:
    at, ended = 0, False

    async def way(stream: Stream) -> None:
        nonlocal ended
        ended = not await cancelled_at(work(stream), at)  # type: ignore[operator]

    settings = ServingSettings(bounds=Bounds(write_buffer_bytes=1000))
    async with serving(RecordingHandler({"/it": way}), settings) as served:
        while not ended:
            answer = b""
            async with served.client() as client:
                with contextlib.suppress(ConnectionError):  # the cut may be a reset
                    client.send(head)
                    for piece in pieces:
                        await asyncio.sleep(0)
                        client.send(piece)
                    client.writer.write_eof()
                    answer = await client.rest()
            if ended and work is upload_and_download:
                assert answer.endswith(b"\r\n0\r\n\r\n")
            await until(lambda: len(served.listener.connections) == 0)
            at += 1
            assert at < 500
        assert at > 3
        async with served.client() as client:
            client.send(get("/ready"))
            assert (await client.response()).status == 200
