"""Bodies through the whole edge: at once, in both directions, no faster than the slower side, and never held whole."""

import asyncio
import gzip
import zlib
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.edge import connected, running_edge, until
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.raw_origin import answer as raw_answer
from tests.support.scripted import PATIENCE, Way, page, scripted

PIECE = bytes(range(256)) * 256
"""64 KiB."""

MUCH = 256
"""Pieces that no buffer on the way may swallow: 16 MiB."""


def events(gate: asyncio.Event, **fields: str) -> Way:
    """One event, and the second only once `gate` is open."""

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **fields})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await gate.wait()
        await response.write(b"data: second\n\n")
        await response.write_eof()
        return response

    return way


CACHE_CONTROLS = [{}, {"Cache-Control": "no-cache"}, {"Cache-Control": "no-store"}, {"Cache-Control": "max-age=60"}]


@pytest.mark.parametrize("fields", CACHE_CONTROLS, ids=lambda fields: fields.get("Cache-Control", "none"))
async def test_an_event_reaches_the_client_before_the_next_is_written(tmp_path: Path, fields: dict[str, str]) -> None:
    gate = asyncio.Event()
    async with (
        scripted({"/events": events(gate, **fields)}) as origin,
        running_edge(tmp_path, origin.url) as (_, client),
        asyncio.timeout(PATIENCE),
        client.session.get(client.base + "/events") as response,
    ):
        assert await response.content.readuntil(b"\n\n") == b"data: first\n\n"
        gate.set()
        assert await response.content.read() == b"data: second\n\n"


@pytest.mark.parametrize("fields", CACHE_CONTROLS, ids=lambda fields: fields.get("Cache-Control", "none"))
async def test_each_subscriber_has_an_event_stream_of_its_own(tmp_path: Path, fields: dict[str, str]) -> None:
    """Who subscribes later must not be told the past of another's stream, nor a stored one that has ended."""
    gate = asyncio.Event()
    async with scripted({"/events": events(gate, **fields)}) as origin, running_edge(tmp_path, origin.url) as (_, client):
        url = client.base + "/events"
        async with asyncio.timeout(PATIENCE), client.session.get(url) as one, client.session.get(url) as other:
            for response in (one, other):
                assert await response.content.readuntil(b"\n\n") == b"data: first\n\n"
            assert origin.count("/events") == 2
            gate.set()
            await one.read()
        assert (await client.ask("/events")).body.startswith(b"data: first")
        assert origin.count("/events") == 3


async def test_a_compressed_event_stream_flows_too(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def way(request: web.Request) -> web.StreamResponse:
        coder = zlib.compressobj(wbits=31)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})
        await response.prepare(request)
        await response.write(coder.compress(b"data: first\n\n") + coder.flush(zlib.Z_SYNC_FLUSH))
        await gate.wait()
        await response.write(coder.compress(b"data: second\n\n") + coder.flush())
        return response

    async with scripted({"/events": way}) as origin, running_edge(tmp_path, origin.url) as (_, client):
        decoder = zlib.decompressobj(wbits=31)
        async with asyncio.timeout(PATIENCE), client.session.get(client.base + "/events") as response:
            text = b""
            while b"first" not in text:
                text += decoder.decompress(await response.content.readany())
            gate.set()
            text += decoder.decompress(await response.content.read())
    assert text == b"data: first\n\ndata: second\n\n"


async def blocks(writer: asyncio.StreamWriter, most: int) -> int:
    """Write up to `most` pieces until the other side takes no more for a second; how many were written by then."""
    for count in range(most):
        writer.write(PIECE)
        try:
            async with asyncio.timeout(1.0):
                await writer.drain()
        except TimeoutError:
            return count + 1
    return most


@pytest.mark.parametrize(
    ("target", "cache_control"), [("/passed", b"no-store"), ("/kept", b"max-age=60")], ids=["passed on", "too large to keep"]
)
async def test_a_slow_client_holds_the_origin_back(tmp_path: Path, target: str, cache_control: bytes) -> None:
    taken: list[int] = []
    slow = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        length = len(PIECE) * 4 * MUCH
        await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % cache_control)
        await connection.send(b"%x\r\n" % length)
        taken.append(await blocks(connection.writer, 4 * MUCH))
        slow.set()
        for _ in range(4 * MUCH - taken[0]):
            await connection.send(PIECE)
        await connection.send(b"\r\n0\r\n\r\n")

    small = '[site.cache]\nmax_object = "1MiB"\n'
    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url, site=small) as (edge, _), connected(edge) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        await slow.wait()
        body = (await client.response()).body
    assert taken[0] < 2 * MUCH, "the edge took more than its buffers may hold"
    assert body == PIECE * 4 * MUCH


async def test_a_slow_origin_holds_an_upload_back(tmp_path: Path) -> None:
    reading = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        head = await connection.read_head()
        assert b"Content-Length: %d\r\n" % (len(PIECE) * 4 * MUCH) in head
        await reading.wait()
        got = zlib.crc32(b"")
        for _ in range(4 * MUCH):
            got = zlib.crc32(await connection.reader.readexactly(len(PIECE)), got)
        await connection.send(raw_answer(b"%d" % got))

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        length = len(PIECE) * 4 * MUCH
        client.send(b"PUT /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % length)
        taken = await blocks(client.writer, 4 * MUCH)
        assert taken < 2 * MUCH, "the edge took more than its buffers may hold"
        reading.set()
        for _ in range(4 * MUCH - taken):
            client.writer.write(PIECE)
            await client.writer.drain()
        expected = 0
        for _ in range(4 * MUCH):
            expected = zlib.crc32(PIECE, expected)
        assert (await client.response("PUT")).body == b"%d" % expected


async def test_chunks_flow_both_ways_at_once(tmp_path: Path) -> None:
    """The origin answers the first chunk of a request before the second was sent."""

    async def serve(connection: RawConnection) -> None:
        head = await connection.read_head()
        assert b"transfer-encoding: chunked" in head.lower()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await connection.reader.readline(), 16):
            piece = await connection.reader.readexactly(size + 2)
            await connection.send(b"%x\r\n%b" % (size, piece))
        await connection.send(b"0\r\n\r\n")

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
        client.send(b"3\r\ntwo\r\n")
        assert await client.reader.readuntil(b"two\r\n") == b"3\r\ntwo\r\n"
        client.send(b"0\r\n\r\n")
        assert await client.reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_a_passed_gzip_body_is_left_as_it_is(tmp_path: Path) -> None:
    coded = gzip.compress(b"text " * 1000)
    way = page(coded, Content_Encoding="gzip", Cache_Control="no-store", Content_Type="text/plain")
    async with scripted({"/a": way}) as origin, running_edge(tmp_path, origin.url) as (_, client):
        answer = await client.ask("/a", headers={"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert answer.body == coded


async def test_what_is_too_large_to_hold_back_replaces_a_good_copy_without_being_held(tmp_path: Path) -> None:
    """A small replacement is received whole before it is sent; a large one is not, and the client gets all of it."""
    gate, large = asyncio.Event(), PIECE * 64

    async def way(request: web.Request) -> web.StreamResponse:
        if "If-None-Match" not in request.headers:
            return web.Response(text="old", headers={"Cache-Control": "max-age=60", "Age": "100", "ETag": '"1"'})
        response = web.StreamResponse(headers={"Cache-Control": "max-age=60", "ETag": '"2"'})
        await response.prepare(request)
        await response.write(large)
        await gate.wait()
        await response.write(b"end")
        return response

    for limit in ("2MiB", "16MiB"):
        folder, site = tmp_path / limit, f'[site.cache]\nmax_object = "{limit}"\n'
        folder.mkdir()
        gate.clear()
        async with scripted({"/page": way}) as origin, running_edge(folder, origin.url, site=site) as (_, client):
            assert (await client.ask("/page")).body == b"old"
            async with asyncio.timeout(PATIENCE), client.session.get(client.base + "/page") as response:
                assert await response.content.readexactly(len(large)) == large
                gate.set()
                assert await response.read() == b"end"


# --- a client that leaves


def endless(stopped: asyncio.Event, cache_control: str) -> Way:
    """Writes for as long as somebody takes it."""

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": cache_control})
        await response.prepare(request)
        try:
            while True:
                await response.write(PIECE)
        finally:
            stopped.set()

    return way


@pytest.mark.parametrize("cache_control", ["no-store", "max-age=60"], ids=["passed on", "too large to keep"])
async def test_the_origin_is_let_go_when_nobody_reads_any_more(tmp_path: Path, cache_control: str) -> None:
    stopped = asyncio.Event()
    small = '[site.cache]\nmax_object = "1MiB"\n'
    ways = {"/endless": endless(stopped, cache_control)}
    async with scripted(ways) as origin, running_edge(tmp_path, origin.url, site=small) as (edge, client):
        async with asyncio.timeout(PATIENCE):
            async with connected(edge) as leaving:
                leaving.send(b"GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n")
                await leaving.reader.readexactly(2 << 20)
                leaving.writer.transport.abort()
            await stopped.wait()
        assert (await client.ask("/elsewhere")).status == 404
        assert len(edge.flights) == 0


async def test_a_storable_answer_is_fetched_to_its_end_although_its_client_left(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "max-age=60"})
        await response.prepare(request)
        await response.write(b"first half, ")
        await gate.wait()
        await response.write(b"second half")
        return response

    async with scripted({"/page": way}) as origin, running_edge(tmp_path, origin.url) as (edge, client):
        async with connected(edge) as leaving:
            leaving.send(b"GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await leaving.reader.readuntil(b"first half, ")
            leaving.writer.transport.abort()
        gate.set()

        async def whole() -> bytes | None:
            answer = await client.ask("/page", headers={"Host": "127.0.0.1", "Cache-Control": "only-if-cached"})
            return answer.body if answer.status == 200 else None

        assert await until(whole) == b"first half, second half"
    assert origin.count("/page") == 1
