"""How streams and connections of HTTP/2 end: resets in every state, drains, goodbyes, time-outs."""

import asyncio

import pytest

from edgeproxy.errors import ClientGone
from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.http2 import Http2Client, Served2, accept, post, serving2, websocket
from tests.support.http2_vectors import CANCEL, GOAWAY, HEADERS, NO_ERROR, RST_STREAM, frame
from tests.support.serving import RecordingHandler, on_uvloop, read_all, until

MIB = 2**20


async def _reset_while(client: Http2Client, served: Served2, gone: list[str], stream: int) -> None:
    client.h2.reset_stream(stream, CANCEL)
    client.flush()
    await until(lambda: gone != [])
    assert (await client.ask("/next")).status == 200
    await until(lambda: served.listener.counts() == {"idle": 1})


@pytest.mark.parametrize(
    "moment", ["before-the-body", "inside-the-body", "before-the-head", "inside-the-answer", "blocked", "tunnel"]
)
@on_uvloop
async def test_a_reset_in_every_state_ends_that_exchange_only(moment: str) -> None:
    gone: list[str] = []

    async def work(stream: Stream) -> None:
        stream.on_gone = lambda: gone.append("told")
        try:
            match moment:
                case "before-the-body" | "inside-the-body":
                    await read_all(stream)
                case "before-the-head":
                    await until(lambda: stream.gone)
                    await stream.send_head(200, Fields(), 0)
                case "inside-the-answer":
                    await stream.send_head(200, Fields(), None)
                    await stream.send(b"part")
                    await until(lambda: stream.gone)
                    await stream.send(b"more")
                case "blocked":
                    await stream.send_head(200, Fields(), None)
                    await stream.send(bytes(MIB))
                case "tunnel":
                    await stream.send_head(101, Fields((("sec-websocket-accept", accept(stream)),)), None)
                    source, _ = stream.tunnel()
                    await source.read()
        except ClientGone:
            gone.append("raised")
            raise

    async with serving2(RecordingHandler(ways={"/work": work})) as served, served.client(takes=False) as client:
        await client.settled(lambda: client.acknowledged)
        lines = websocket("/work") if moment == "tunnel" else post("/work")
        stream = client.request(lines, ended=moment not in ("before-the-body", "inside-the-body", "tunnel"))
        if moment == "inside-the-body":
            client.h2.send_data(stream, b"part")
        if moment in ("inside-the-answer", "blocked", "tunnel"):
            await client.settled(lambda: client.streams[stream].status == 200)
        await until(lambda: served.listener.counts() == {"exchange": 1})
        await _reset_while(client, served, gone, stream)
        await until(lambda: "raised" in gone)
        assert ("told" in gone) is (moment != "tunnel")


@on_uvloop
async def test_frames_for_a_stream_that_was_reset_by_us_are_no_fault() -> None:
    async with serving2(settings=ServingSettings(bounds=Bounds(body_bytes=10))) as served, served.client() as client:
        stream = client.request(post("/x", (b"content-length", b"1000")), ended=False)
        client.send(frame(0, 0, stream, bytes(500)) + frame(8, 0, stream, b"\0\0\0\1") + frame(0, 1, stream, bytes(500)))
        assert (await client.got(stream)).status == 413
        client.send(frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        assert (await client.ask("/next")).status == 200
        assert client.goaways == []


@on_uvloop
async def test_a_drain_finishes_what_runs_and_says_goodbye() -> None:
    release, started = asyncio.Event(), asyncio.Event()

    async def hold(stream: Stream) -> None:
        started.set()
        await release.wait()
        await stream.send_head(200, Fields(), 4)
        await stream.send(b"done")
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/hold": hold})) as served, served.client() as client, served.client() as idle:
        stream = client.get("/hold")
        await started.wait()
        await idle.settled(lambda: idle.acknowledged)
        draining = asyncio.create_task(served.listener.drain(10))
        await client.settled(lambda: bool(client.goaways))
        assert client.goaways == [(NO_ERROR, 2**31 - 1)]
        on_its_way = client.get("/on-its-way")
        assert (await client.got(on_its_way)).status == 200
        await idle.ended()
        assert idle.goaways == [(NO_ERROR, 2**31 - 1), (NO_ERROR, 0)]
        await client.settled(lambda: len(client.goaways) == 2, 15)
        assert client.goaways[1] == (NO_ERROR, on_its_way)
        release.set()
        assert bytes((await client.got(stream)).body) == b"done"
        await client.ended()
        assert await draining == 0


@on_uvloop
async def test_a_client_that_says_goodbye_still_gets_its_answer() -> None:
    release = asyncio.Event()

    async def hold(stream: Stream) -> None:
        await release.wait()
        await stream.send_head(200, Fields(), 4)
        await stream.send(b"done")
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/hold": hold})) as served, served.client() as client:
        stream = client.get("/hold")
        client.send(frame(GOAWAY, 0, 0, bytes(8)))
        await until(lambda: served.listener.counts() == {"exchange": 1})
        release.set()
        assert bytes((await client.got(stream)).body) == b"done"
        await client.ended()


@on_uvloop
async def test_time_outs() -> None:
    timeouts = Timeouts(head=0.5, idle=1.0, body=0.5, write=0.5)

    async def large(stream: Stream) -> None:
        await stream.send_head(200, Fields(), None)
        await stream.send(bytes(MIB))

    handler = RecordingHandler(ways={"/large": large})
    async with serving2(handler, ServingSettings(timeouts=timeouts)) as served:
        async with served.client(starts=False) as silent:
            await silent.ended()
            assert silent.goaways == [(NO_ERROR, 0)]
        async with served.client() as client:
            stalled = client.request(post("/stalled", (b"content-length", b"5")), ended=False)
            held = client.request(post("/held", (b"content-length", b"0")), ended=False)
            assert (await client.got(stalled)).status == 408
            assert (await client.got(held)).status == 408
            await client.ended()
            assert client.goaways == [(NO_ERROR, held)]
        async with served.client(takes=False) as client:
            blocked = client.get("/large")
            got = await client.got(blocked)
            assert (got.size, got.reset) == (65535, CANCEL)
        async with served.client() as client:
            await client.ask("/next")
            client.send(frame(HEADERS, 1, 3, b"\x82"))
            await client.settled(lambda: bool(client.goaways))
        assert [one.target for one in handler.heard] == ["/next"]


@on_uvloop
async def test_pings_do_not_keep_an_idle_connection() -> None:
    async with serving2(settings=ServingSettings(timeouts=Timeouts(idle=1.0))) as served, served.client() as client:
        await client.ask("/next")
        while not client.closed:
            client.send(frame(6, 0, 0, bytes(8)))
            await asyncio.sleep(0.05)
        assert client.goaways == [(NO_ERROR, 1)]


@on_uvloop
async def test_one_connection_too_many_is_told() -> None:
    async with serving2(settings=ServingSettings(bounds=Bounds(connections=1))) as served, served.client() as first:
        await first.ask("/next")
        async with served.client() as second:
            await second.settled(lambda: bool(second.goaways))
            assert second.goaways == [(11, 0)]
        assert (await first.ask("/next")).status == 200
