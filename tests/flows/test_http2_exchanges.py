"""HTTP/2 exchanges over TLS with a client that is not ours: bodies, trailers, interim answers, windows, resets, the end."""

import asyncio
import base64
import hashlib
import resource
import ssl

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.http2 import Http2Client, Served2, client_context, head, serving2
from tests.support.http2_vectors import CANCEL, GOAWAY, HEADERS, NO_ERROR, RST_STREAM, frame
from tests.support.serving import RecordingHandler, on_both_loops, on_uvloop, read_all, until

MIB = 2**20


def post(path: str, *more: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return (*head(path, method="POST"), *more)


@on_both_loops
async def test_a_request_is_answered_with_and_without_a_task() -> None:
    async with serving2() as served, served.client() as client:
        for path in ("/plain", "/ready/one", "/ready/one"):
            got = await client.ask(path)
            assert (got.status, bytes(got.body), got.ended) == (200, f"GET {path} ".encode(), True)
            assert got.all("content-length") == [str(got.size)]


@on_uvloop
async def test_ten_thousand_requests_on_one_connection() -> None:
    handler = RecordingHandler()
    async with serving2(handler) as served, served.client() as client:
        for number in range(200):
            path = f"/ready/{number}" if number % 4 else f"/task/{number}"
            streams = [client.get(path) for _ in range(50)]
            for stream in streams:
                got = await client.got(stream)
                assert (got.status, bytes(got.body)) == (200, f"GET {path} ".encode())
                del client.streams[stream]
            client.seen.clear()
        assert len(handler.heard) == 10_000
        assert client.goaways == []


@on_uvloop
async def test_a_hundred_streams_at_once() -> None:
    together = asyncio.Barrier(100)

    async def wait_for_all(stream: Stream) -> None:
        await together.wait()
        text = stream.request.fields.get("x-number") or ""
        await stream.send_head(200, Fields(), len(text))
        await stream.send(text.encode())
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/all": wait_for_all})) as served, served.client() as client:
        streams = [client.get("/all", (b"x-number", b"%d" % number)) for number in range(100)]
        for number, stream in enumerate(streams):
            assert bytes((await client.got(stream)).body) == b"%d" % number


@on_uvloop
async def test_a_stream_beyond_the_limit_is_refused_and_may_come_again() -> None:
    release = asyncio.Event()

    async def hold(stream: Stream) -> None:
        await release.wait()
        await stream.send_head(204, Fields(), None)
        await stream.finish()

    settings = ServingSettings(bounds=Bounds(streams=3))
    async with serving2(RecordingHandler(ways={"/hold": hold}), settings) as served, served.client() as client:
        await client.settled(lambda: client.acknowledged)
        held = [client.get("/hold") for _ in range(3)]
        client.h2.remote_settings[3] = 100  # the library would keep to our limit
        client.h2.remote_settings.acknowledge()
        refused = await client.ask("/plain")
        assert refused.reset == 7
        release.set()
        for stream in held:
            assert (await client.got(stream)).status == 204
        assert (await client.ask("/plain")).status == 200


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
async def test_trailers_both_ways() -> None:
    async def echo(stream: Stream) -> None:
        await read_all(stream)
        await stream.send_head(200, Fields((("Trailer", "x-sum"),)), None)
        await stream.send(b"body")
        await stream.finish(stream.trailers.plus(("X-Sum", "2"), ("Content-Length", "9")))

    async with serving2(RecordingHandler(ways={"/trailers": echo})) as served, served.client() as client:
        stream = client.request(post("/trailers", (b"te", b"trailers")), ended=False)
        client.h2.send_data(stream, b"hello")
        client.h2.send_headers(stream, [(b"x-first", b"1")], end_stream=True)
        client.flush()
        got = await client.got(stream)
        assert got.trailers == [(b"x-first", b"1"), (b"x-sum", b"2")]
        silent = client.request(post("/trailers"))
        assert (await client.got(silent)).trailers == []


@on_uvloop
async def test_interim_answers_go_out_at_once() -> None:
    go_on = asyncio.Event()

    async def hints(stream: Stream) -> None:
        stream.send_interim(103, Fields((("Link", "</a.css>; rel=preload"),)))
        await go_on.wait()
        await stream.send_head(200, Fields(), 0)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/hints": hints})) as served, served.client() as client:
        stream = client.get("/hints")
        await client.settled(lambda: bool(client.streams[stream].interim))
        assert client.streams[stream].interim == [[(b":status", b"103"), (b"link", b"</a.css>; rel=preload")]]
        go_on.set()
        assert (await client.got(stream)).status == 200


@on_uvloop
async def test_100_continue_when_the_body_is_wanted_and_only_then() -> None:
    async def never(stream: Stream) -> None:
        await stream.send_head(200, Fields(), 0)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/never": never})) as served, served.client() as client:
        stream = client.request(post("/wanted", (b"expect", b"100-continue"), (b"content-length", b"5")), ended=False)
        await client.settled(lambda: bool(client.streams[stream].interim))
        assert client.streams[stream].interim == [[(b":status", b"100")]]
        await client.upload(stream, b"hello")
        assert bytes((await client.got(stream)).body) == b"POST /wanted hello"
        stream = client.request(post("/never", (b"expect", b"100-continue"), (b"content-length", b"5")), ended=False)
        got = await client.got(stream)
        assert (got.status, got.interim, got.ended) == (200, [], True)


@pytest.mark.parametrize("path", ["/ready/x", "/task"])
@on_uvloop
async def test_head_has_no_body(path: str) -> None:
    async with serving2() as served, served.client() as client:
        got = await client.ask(path, method="HEAD")
        assert (got.status, got.size, got.ended) == (200, 0, True)
        assert got.all("content-length") == [str(len(f"HEAD {path} "))]


@pytest.mark.parametrize("status", [204, 304])
@on_uvloop
async def test_an_answer_that_has_no_body_ends_with_its_head(status: int) -> None:
    async def empty(stream: Stream) -> None:
        await stream.send_head(status, Fields(), None)
        await stream.send(b"never seen")
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/empty": empty})) as served, served.client() as client:
        got = await client.ask("/empty")
        assert (got.status, got.size, got.ended) == (status, 0, True)
        assert (0, 1) not in [(kind, flags) for kind, flags, stream, _ in client.seen if stream == 1]


@on_uvloop
async def test_fields_of_http_1_do_not_go_out() -> None:
    async def old(stream: Stream) -> None:
        fields = (
            ("Connection", "close"),
            ("Keep-Alive", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "x"),
            ("X-Kept", "1"),
        )
        await stream.send_head(200, Fields(fields), None)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/old": old})) as served, served.client() as client:
        assert (await client.ask("/old")).lines == [(b":status", b"200"), (b"x-kept", b"1")]


@pytest.mark.parametrize("announced", [3, 100])
@on_uvloop
async def test_an_answer_of_another_length_than_announced_is_reset(announced: int) -> None:
    async def wrong(stream: Stream) -> None:
        await stream.send_head(200, Fields(), announced)
        await stream.send(b"12345")
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/wrong": wrong})) as served, served.client() as client:
        got = await client.ask("/wrong")
        assert (got.reset, got.ended) == (2, False)
        assert (await client.ask("/next")).status == 200


@on_uvloop
async def test_a_bug_gives_a_500_or_a_reset_and_the_connection_goes_on() -> None:
    async def before(stream: Stream) -> None:
        raise RuntimeError("a bug")

    async def after(stream: Stream) -> None:
        await stream.send_head(200, Fields(), None)
        await stream.send(b"part")
        raise RuntimeError("a bug")

    async with serving2(RecordingHandler(ways={"/before": before, "/after": after})) as served, served.client() as client:
        assert (await client.ask("/before")).status == 500
        got = await client.ask("/after")
        assert (got.status, got.reset) == (200, 2)
        assert (await client.ask("/next")).status == 200


@on_uvloop
async def test_a_refusal_before_the_body_has_come_ends_the_stream_only() -> None:
    async def refuse(stream: Stream) -> None:
        raise RequestRefused("not this", status=405)

    settings = ServingSettings(bounds=Bounds(body_bytes=10))
    async with serving2(RecordingHandler(ways={"/refuse": refuse}), settings) as served, served.client() as client:
        for path, lines, status in (
            ("/refuse", (), 405),
            ("/large", ((b"content-length", b"11"),), 413),
        ):
            got = await client.got(client.request(post(path, *lines), ended=False))
            assert (got.status, got.ended) == (status, True)
        stream = client.request(post("/large"), ended=False)
        await client.upload(stream, b"x" * 11, ended=False)
        assert (await client.got(stream)).status == 413
        assert (await client.ask("/next")).status == 200
        resets = [payload for kind, _, _, payload in client.seen if kind == RST_STREAM]
        assert resets == [bytes(4)] * 3, "NO_ERROR: stop sending, the answer stands (RFC 9113 section 8.1)"


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


def websocket(path: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", path.encode()),
        (b"sec-websocket-version", b"13"),
    )


def accept(stream: Stream) -> str:
    key = stream.request.fields.get("sec-websocket-key") or ""
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


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


@on_uvloop
async def test_a_request_is_heard_as_over_http_1() -> None:
    heard = []

    async def note(stream: Stream) -> None:
        heard.append(stream.request)
        await stream.send_head(204, Fields(), None)
        await stream.finish()

    async with serving2(RecordingHandler(ways={"/note?x": note})) as served, served.client() as client:
        await client.ask("/note?x", (b"cookie", b"a=b"), (b"accept", b"*/*"), (b"cookie", b"c=d"))
    [request] = heard
    assert (request.method, request.target, request.authority, request.version) == ("GET", "/note?x", "a.test", (2, 0))
    assert request.url == "https://a.test/note?x"
    assert request.fields.lines == (("host", "a.test"), ("cookie", "a=b; c=d"), ("accept", "*/*"))


@on_uvloop
async def test_a_block_in_many_frames_is_one_request() -> None:
    async with serving2() as served, served.client() as client:
        long = (b"x-long", b"v" * 20000)
        assert (await client.ask("/long", long)).status == 200
        assert sum(kind == HEADERS for kind, *_ in client.seen) == 1


async def _ask_in_http_1(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    try:
        await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def test_a_client_that_did_not_choose_h2_is_not_served_by_it() -> None:
    async with serving2(clock=SystemClock()) as served:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await _ask_in_http_1(served.port, client_context("http/1.1"))
