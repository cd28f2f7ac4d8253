"""Bodies over HTTP/2, up, down and both ways at once: windows, memory that stays bounded, event streams, WebSockets."""

import asyncio
import resource

import pytest

from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.http2 import accept, post, serving2, websocket
from tests.support.serving import RecordingHandler, on_uvloop, read_all, until

MIB = 2**20


def memory() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@on_uvloop
async def test_an_upload_of_100_mib_is_bounded_by_its_reader() -> None:
    most, size = 0, 0

    async def count(stream: Stream) -> None:
        nonlocal most, size
        while piece := await stream.read():
            size += len(piece)
            most = max(most, stream.body.waiting)  # type: ignore[attr-defined]
        await stream.send_head(200, Fields(), None)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/count": count})) as served, served.client() as client:
        before = memory()
        stream = client.request(post("/count", (b"content-length", b"%d" % (100 * MIB))), ended=False)
        for _ in range(100):
            await client.upload(stream, bytes(MIB), ended=False)
        client.h2.end_stream(stream)
        client.flush()
        assert (await client.got(stream)).status == 200
        assert size == 100 * MIB
        assert most <= 256 * 1024
        assert memory() - before < 48 * MIB


@on_uvloop
async def test_an_upload_waits_for_a_reader_who_does_not_read() -> None:
    release = asyncio.Event()

    async def late(stream: Stream) -> None:
        await release.wait()
        body = await read_all(stream)
        await stream.send_head(200, Fields((("x-size", str(len(body))),)), 0)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/late": late})) as served, served.client() as client:
        stream = client.request(post("/late"), ended=False)
        sending = asyncio.create_task(client.upload(stream, bytes(MIB)))
        await until(lambda: client.acknowledged and client.h2.local_flow_control_window(stream) == 0)
        assert (await client.ask("/beside")).status == 200, "other streams go on"
        release.set()
        await sending
        assert (await client.got(stream)).all("x-size") == [str(MIB)]


@on_uvloop
async def test_a_download_of_100_mib_is_bounded_by_the_client() -> None:
    async def large(stream: Stream) -> None:
        await stream.send_head(200, Fields(), 100 * MIB)
        for _ in range(400):
            await stream.send(bytes(MIB // 4))
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/large": large})) as served, served.client() as client:
        client.keeps = False
        before = memory()
        stream = client.get("/large")
        async with asyncio.timeout(60):
            while not client.streams[stream].over:
                client.seen.clear()
                await asyncio.sleep(0.01)
        assert client.streams[stream].size == 100 * MIB
        assert client.streams[stream].ended
        assert memory() - before < 48 * MIB


@on_uvloop
async def test_a_download_waits_for_windows() -> None:
    sent = 0

    async def large(stream: Stream) -> None:
        nonlocal sent
        await stream.send_head(200, Fields(), None)
        for _ in range(16):
            await stream.send(bytes(65536))
            sent += 65536
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/large": large})) as served, served.client(takes=False) as client:
        stream = client.get("/large")
        await client.settled(lambda: client.streams[stream].size == 65535)
        assert sent == 0
        client.h2.increment_flow_control_window(2 * MIB)
        client.h2.increment_flow_control_window(100_000, stream)
        client.flush()
        await client.settled(lambda: client.streams[stream].size == 165_535)
        client.h2.increment_flow_control_window(2 * MIB, stream)
        client.flush()
        assert (await client.got(stream)).size == MIB


@on_uvloop
async def test_a_small_window_that_grows_by_settings_lets_a_ready_answer_out() -> None:
    async with serving2() as served, served.client(settings={4: 3}, takes=False) as client:
        stream = client.get("/ready/x")
        await client.settled(lambda: client.streams[stream].size == 3)
        client.h2.update_settings({4: 100})
        client.flush()
        assert bytes((await client.got(stream)).body) == b"GET /ready/x "


@on_uvloop
async def test_event_streams_flow_at_once() -> None:
    go_on = asyncio.Queue[bytes]()

    async def events(stream: Stream) -> None:
        await stream.send_head(200, Fields((("Content-Type", "text/event-stream"),)), None)
        while event := await go_on.get():
            await stream.send(event)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/events": events})) as served, served.client() as client:
        stream = client.get("/events")
        await client.settled(lambda: client.streams[stream].status == 200)
        events_sent = b""
        for number in range(5):
            event = b"data: %d\n\n" % number
            events_sent += event
            go_on.put_nowait(event)
            await client.settled(lambda expected=events_sent: client.streams[stream].body == expected)  # type: ignore[misc]
        go_on.put_nowait(b"")
        assert (await client.got(stream)).ended


@on_uvloop
async def test_a_websocket_is_a_stream_with_data_both_ways() -> None:
    async def echo(stream: Stream) -> None:
        assert stream.request.upgrade == "websocket"
        assert stream.request.method == "GET"
        fields = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept(stream)), ("X-Kept", "1"))
        await stream.send_head(101, Fields(fields), None)
        source, sink = stream.tunnel()
        while data := await source.read():
            sink.write(data)
            await sink.drain()
        sink.write_eof()
        sink.close()

    async with serving2(RecordingHandler(ways={"/echo": echo})) as served, served.client() as client:
        await client.settled(lambda: client.acknowledged)
        assert client.h2.remote_settings.enable_connect_protocol == 1
        stream = client.request(websocket("/echo"), ended=False)
        await client.settled(lambda: bool(client.streams[stream].lines))
        assert client.streams[stream].lines == [(b":status", b"200"), (b"x-kept", b"1")]
        await client.upload(stream, b"hello", ended=False)
        await client.settled(lambda: bytes(client.streams[stream].body) == b"hello")
        await client.upload(stream, bytes(MIB))
        got = await client.got(stream)
        assert (got.size, got.ended) == (MIB + 5, True)
        await until(lambda: served.listener.counts() == {"idle": 1})


@pytest.mark.parametrize("status", [101, 200, 403])
@on_uvloop
async def test_a_websocket_that_was_not_opened_is_not_told_so(status: int) -> None:
    """200 would say that it is open; so would a 101 without proof that the origin meant this request."""

    async def answer(stream: Stream) -> None:
        await stream.send_head(status, Fields(), None if status == 101 else 0)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/no": answer})) as served, served.client() as client:
        await client.settled(lambda: client.acknowledged)
        got = await client.got(client.request(websocket("/no"), ended=False))
        assert got.status == (403 if status == 403 else 502)
