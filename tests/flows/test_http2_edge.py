"""HTTP/2 through the whole edge: the answers of HTTP/1, from the same store and the same origin; and the usual clients."""

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.http2 import Got, Http2Client, Served2, head, serving2
from tests.support.http2_vectors import ENHANCE_YOUR_CALM
from tests.support.scripted import Fronted, Way, fronted, page
from tests.support.serving import on_uvloop, until

MIB = 2**20
COMMON = {"Cache_Control": "max-age=600", "ETag": '"1"', "Content_Type": "text/css"}


@dataclass(frozen=True, slots=True)
class Scene:
    """An origin, an edge, and its handler over HTTP/2 beside it."""

    it: Fronted
    served: Served2
    client: Http2Client

    async def recorded(self, path: str) -> Got:
        """Ask until the answer comes out of a committed block."""
        async with asyncio.timeout(20):
            while "edge-block" not in dict_of(got := await self.client.ask(path)):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        return got


def dict_of(got: Got) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in got.lines}


@asynccontextmanager
async def scene(folder: Path, ways: dict[str, Way], **options: str) -> AsyncIterator[Scene]:
    async with (
        fronted(folder, ways, **options) as it,
        serving2(it.edge.handler) as served,
        served.client() as client,
    ):
        yield Scene(it, served, client)


@on_uvloop
async def test_a_hit_has_the_fields_that_it_has_over_http_1(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello", **COMMON)}) as stage:
        await stage.recorded("/a")
        await stage.recorded("/a")
        ready = await stage.client.ask("/a")
        long_way = await stage.client.ask("/a", (b"cache-control", b"max-age=300"))
        assert dict_of(ready) | {"age": "", "cache-status": ""} == dict_of(long_way) | {
            "age": "",
            "cache-status": "",
            "server-timing": "edge;dur=0",
        }
        fields = dict_of(ready)
        assert fields["cache-status"].startswith("edgeproxy;hit;ttl=")
        assert (fields[":status"], fields["content-length"], ready.body) == ("200", "5", b"hello")
        assert 0 <= int(fields["age"]) <= 20
        assert stage.it.origin.count("/a") == 1


@on_uvloop
async def test_a_ready_hit_makes_no_task(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello", **COMMON)}) as stage:
        await stage.recorded("/a")
        await stage.client.ask("/a")
        before = {task.get_name() for task in asyncio.all_tasks()}
        streams = [stage.client.get("/a") for _ in range(20)]
        names: set[str] = set()
        while not all(stage.client.streams[stream].over for stream in streams):
            names |= {task.get_name() for task in asyncio.all_tasks()} - before
            await asyncio.sleep(0)
        assert "exchange" not in names


@on_uvloop
async def test_age_goes_on_by_the_second(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello", **COMMON)}) as stage:
        first = int(dict_of(await stage.recorded("/a"))["age"])
        async with asyncio.timeout(10):
            while int((fields := dict_of(await stage.client.ask("/a")))["age"]) == first:  # noqa: ASYNC110 - time tells
                await asyncio.sleep(0.05)
        ttl = int(fields["cache-status"].partition("ttl=")[2].partition(";")[0])
        assert ttl + int(fields["age"]) in (599, 600)


@on_uvloop
async def test_conditions_ranges_and_head(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello", **COMMON)}) as stage:
        await stage.recorded("/a")
        for _ in range(2):
            got = await stage.client.ask("/a", (b"if-none-match", b'"1"'))
            assert (got.status, got.size) == (304, 0)
            got = await stage.client.ask("/a", method="HEAD")
            assert (got.status, got.size, dict_of(got)["content-length"]) == (200, 0, "5")
        got = await stage.client.ask("/a", (b"range", b"bytes=1-2"))
        assert (got.status, got.body) == (206, b"el")
        assert stage.it.origin.count("/a") == 1


@on_uvloop
async def test_both_protocols_share_a_flight(tmp_path: Path) -> None:
    hold = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await hold.wait()
        return web.Response(text="once", headers={"Cache-Control": "max-age=600"})

    async with scene(tmp_path, {"/a": slow}) as stage:
        streams = [stage.client.get("/a") for _ in range(20)]
        await stage.it.origin.was_asked("/a", 1)
        hold.set()
        for stream in streams:
            assert bytes((await stage.client.got(stream)).body) == b"once"
        assert stage.it.origin.count("/a") == 1


@on_uvloop
async def test_what_the_origin_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello")}) as stage:
        await stage.client.ask("/a", (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"te", b"trailers"), (b"priority", b"u=1"))
        asked = stage.it.origin.last("/a").fields
        assert (asked["Cookie"], asked["Via"], asked["X-Forwarded-Proto"]) == ("a=b; c=d", "2.0 edgeproxy", "https")
        assert asked["X-Forwarded-Host"] == "a.test"
        assert not {"TE", "Connection", "Transfer-Encoding"} & set(asked)


@on_uvloop
async def test_an_upload_and_a_download_of_100_mib(tmp_path: Path) -> None:
    """Both streamed: nobody holds a whole one."""
    digest, size = hashlib.sha256(), 0

    async def take(request: web.Request) -> web.Response:
        nonlocal size
        async for piece in request.content.iter_any():
            digest.update(piece)
            size += len(piece)
        return web.Response(status=201)

    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "Content-Length": str(100 * MIB)})
        await response.prepare(request)
        for _ in range(400):
            await response.write(bytes(MIB // 4))
        return response

    async with scene(tmp_path, {"/take": take, "/give": give}) as stage:
        client, expected = stage.client, hashlib.sha256()
        stream = client.request(head("/take", method="POST"), ended=False)
        for number in range(100):
            piece = bytes((number,)) * MIB
            expected.update(piece)
            await client.upload(stream, piece, ended=False)
        client.h2.end_stream(stream)
        client.flush()
        assert (await client.got(stream)).status == 201
        assert (size, digest.digest()) == (100 * MIB, expected.digest())
        client.keeps = False
        stream = client.get("/give")
        async with asyncio.timeout(60):
            while not client.streams[stream].over:
                client.seen.clear()
                await asyncio.sleep(0.01)
        assert (client.streams[stream].size, client.streams[stream].ended) == (100 * MIB, True)


@on_uvloop
async def test_an_origin_that_breaks_off_is_seen_as_a_reset(tmp_path: Path) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b"part")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with scene(tmp_path, {"/broken": broken, "/next": page("next")}) as stage:
        got = await stage.client.ask("/broken")
        assert (got.ended, got.reset is not None) == (False, True)
        assert (await stage.client.ask("/next")).status == 200


@on_uvloop
async def test_events_come_one_by_one(tmp_path: Path) -> None:
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        while event := await said.get():
            await response.write(event)
        return response

    async with scene(tmp_path, {"/events": events}) as stage:
        client = stage.client
        stream = client.get("/events")
        expected = b""
        for number in range(5):
            event = b"data: %d\n\n" % number
            expected += event
            said.put_nowait(event)
            await client.settled(lambda so_far=expected: bytes(client.streams[stream].body) == so_far)
        said.put_nowait(b"")
        assert (await client.got(stream)).ended


async def _echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def _masked(payload: bytes) -> bytes:
    """One binary message as a client sends it (RFC 6455 section 5.2), with a mask of zeros."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x82" + size + bytes(4) + payload


@on_uvloop
async def test_a_websocket_over_http_2_reaches_an_origin_that_speaks_http_1(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/ws": _echo}) as stage:
        client = stage.client
        await client.settled(lambda: client.acknowledged)
        lines = (
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            *head("/ws")[1:],
            (b"sec-websocket-version", b"13"),
            (b"origin", b"https://a.test"),
        )
        stream = client.request(lines, ended=False)
        await client.settled(lambda: client.streams[stream].status == 200)
        assert "sec-websocket-accept" not in dict_of(client.streams[stream])
        for payload in (b"hello", b"x" * 60_000):
            client.streams[stream].body.clear()
            await client.upload(stream, _masked(payload), ended=False)
            await client.settled(lambda said=payload: bytes(client.streams[stream].body).endswith(said))
        await client.upload(stream, b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))
        assert (await client.got(stream)).ended
        await until(lambda: stage.served.listener.counts() == {"idle": 1})
        got = await client.got(client.request((*lines[:4], (b":path", b"/none"), *lines[5:]), ended=False))
        assert got.status == 404


@on_uvloop
async def test_a_refusal_is_a_page_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path, {"/a": page("hello")}) as stage:
        got = await stage.client.got(stage.client.request((*head("/" + "a" * 17000),)))
        assert got.status == 414
        assert b"<html" in got.body
        got = await stage.client.ask("/" + "a" * 17000, method="HEAD")
        assert (got.status, got.size, got.ended) == (414, 0, True)
        assert (await stage.client.ask("/a")).status == 200
        assert (ENHANCE_YOUR_CALM, 0) not in stage.client.goaways


def have(program: str) -> str:
    """The program's path; without it the test is skipped by name, and fails where everything must be there."""
    path = shutil.which(program)
    if path is None:
        assert os.environ.get("CI") != "true", f"missing: {program}"
        pytest.skip(f"missing: {program}")
    return path


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@on_uvloop
async def test_curl(tmp_path: Path) -> None:
    curl = have("curl")
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 4096)

    async def take(request: web.Request) -> web.Response:
        return web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    async with scene(tmp_path, {"/a": page("hello", **COMMON), "/take": take}) as stage:
        base = f"https://127.0.0.1:{stage.served.port}"
        out = await run(curl, "-sk", "--http2", "-w", " %{http_version} %{response_code}", f"{base}/a")
        assert out == "hello 2 200"
        out = await run(curl, "-sk", "--http2", "--data-binary", f"@{large}", f"{base}/take")
        assert out == hashlib.sha256(large.read_bytes()).hexdigest()
        out = await run(curl, "-sk", "--http2", "-H", "Expect: 100-continue", "--data-binary", f"@{large}", f"{base}/take")
        assert out == hashlib.sha256(large.read_bytes()).hexdigest()


@on_uvloop
async def test_nghttp(tmp_path: Path) -> None:
    nghttp = have("nghttp")
    async with scene(tmp_path, {"/a": page("hello", **COMMON)}) as stage:
        out = await run(nghttp, "-nv", f"https://127.0.0.1:{stage.served.port}/a")
        assert ":status: 200" in out
        assert "etag: " in out


SAYS_PROTOCOL = """<!doctype html><p id=p></p><script>
document.getElementById("p").textContent = "spoke " + performance.getEntriesByType("navigation")[0].nextHopProtocol
</script>"""


@on_uvloop
async def test_chromium(tmp_path: Path) -> None:
    chromium = have("chromium")
    async with scene(tmp_path, {"/a": page(SAYS_PROTOCOL, Content_Type="text/html", Cache_Control="max-age=600")}) as stage:
        out = await run(
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--ignore-certificate-errors",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            f"https://127.0.0.1:{stage.served.port}/a",
        )
        assert "spoke h2" in out


@pytest.mark.parametrize("at_once", [1, 10, 100])
@on_uvloop
async def test_h2load(tmp_path: Path, at_once: int) -> None:
    h2load = have("h2load")
    async with scene(tmp_path, {"/a": page(b"x" * 10_240, **COMMON)}) as stage:
        await stage.recorded("/a")
        address = f"https://127.0.0.1:{stage.served.port}/a"
        out = await run(h2load, "-n2000", "-c4", f"-m{at_once}", address)
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in out
        assert "status codes: 2000 2xx" in out
