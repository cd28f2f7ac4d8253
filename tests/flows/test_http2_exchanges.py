"""HTTP/2 exchanges over TLS with a client that is not ours: requests, answers without and with a body, interim ones, trailers."""

import asyncio
import ssl

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.errors import RequestRefused
from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.http2 import client_context, post, serving2
from tests.support.http2_vectors import HEADERS, RST_STREAM
from tests.support.serving import RecordingHandler, on_both_loops, on_uvloop, read_all


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
