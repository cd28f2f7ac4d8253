"""WebSocket and other upgrades through the whole edge: a tunnel once the origin agrees, its plain answer when it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.edge import connected, running_edge
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.raw_origin import answer as raw_answer
from tests.support.scripted import PATIENCE, Fronted, fronted, page

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
ASKS = b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"


async def talk(request: web.Request) -> web.StreamResponse:
    """Says back what it hears; at "bye" it closes with 4001."""
    socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4001, message=b"as you wish")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


@asynccontextmanager
async def talking(folder: Path, closes: list[int | None] | None = None) -> AsyncIterator[tuple[Fronted, str]]:
    """The edge in front of `talk`, and the address of its WebSocket. `closes` gets the code that the origin saw."""

    async def way(request: web.Request) -> web.StreamResponse:
        socket = await talk(request)
        if closes is not None and isinstance(socket, web.WebSocketResponse):
            closes.append(socket.close_code)
        return socket

    async with fronted(folder, {"/ws": way}) as it, asyncio.timeout(3 * PATIENCE):
        yield it, it.client.base + "/ws"


async def test_a_websocket_echoes_through_the_edge(tmp_path: Path) -> None:
    async with talking(tmp_path) as (it, url), it.client.session.ws_connect(url, protocols=("chat",), max_msg_size=0) as socket:
        assert socket.protocol == "chat"
        for text in ("", "hello", "é" * 10_000):
            await socket.send_str(text)
            assert await socket.receive_str() == text
        large = bytes(range(256)) * 16_384
        await socket.send_bytes(large)
        assert await socket.receive_bytes() == large
        await socket.ping()
        await socket.send_str("still there")
        assert await socket.receive_str() == "still there"
    asked = it.origin.last("/ws").fields
    assert (asked["Connection"], asked["Upgrade"], asked["Via"]) == ("Upgrade", "websocket", "1.1 edgeproxy")


async def test_many_websockets_at_once_each_with_its_own_messages(tmp_path: Path) -> None:
    async with talking(tmp_path) as (it, url):

        async def one(number: int) -> None:
            async with it.client.session.ws_connect(url) as socket:
                for turn in range(20):
                    await socket.send_str(f"{number} {turn}")
                    assert await socket.receive_str() == f"{number} {turn}"

        await asyncio.gather(*(one(number) for number in range(50)))


async def test_a_close_of_the_origin_reaches_the_client_with_its_code(tmp_path: Path) -> None:
    async with talking(tmp_path) as (it, url), it.client.session.ws_connect(url) as socket:
        await socket.send_str("bye")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "as you wish")


async def test_a_close_of_the_client_reaches_the_origin_with_its_code(tmp_path: Path) -> None:
    closes: list[int | None] = []
    async with talking(tmp_path, closes) as (it, url):
        socket = await it.client.session.ws_connect(url)
        await socket.close(code=4002)
        while not closes:  # noqa: ASYNC110 - the origin's handler ends in its own time
            await asyncio.sleep(0.005)
    assert closes == [4002]


@pytest.mark.parametrize("status", [403, 200, 503])
async def test_a_refused_upgrade_is_answered_with_what_the_origin_says(tmp_path: Path, status: int) -> None:
    refusal = page("not here", status, Cache_Control="max-age=60", X_Why="no")
    async with fronted(tmp_path, {"/ws": refusal}) as it:
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await it.client.session.ws_connect(it.client.base + "/ws")
            assert refused.value.status == status
            assert refused.value.headers is not None
            assert refused.value.headers["X-Why"] == "no"
        assert (await it.client.ask("/ws")).body == b"not here"
    assert it.origin.count("/ws") == 3, "no answer to an upgrade is stored"


async def test_an_upgrade_to_a_dead_origin_is_an_error_page(tmp_path: Path) -> None:
    async with RawOrigin(lambda connection: asyncio.sleep(0)) as origin:
        url = origin.url
    async with running_edge(tmp_path, url) as (_, client):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.session.ws_connect(client.base + "/ws")
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Proxy-Status"] == "edgeproxy;error=connection_refused"


# --- bytes of any protocol


async def shout(connection: RawConnection) -> None:
    """Switches, and says everything back in capitals until the client's end, then its own last word."""
    await connection.read_head()
    await connection.send(SWITCHED + b"welcome ")
    while data := await connection.reader.read(65536):
        await connection.send(data.upper())
    await connection.send(b" farewell")


async def test_bytes_right_behind_the_heads_are_not_lost(tmp_path: Path) -> None:
    async with RawOrigin(shout) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(ASKS + b"hello")
        assert (await client.response()).status == 101
        assert await client.reader.readexactly(13) == b"welcome HELLO"


async def test_each_side_may_end_before_the_other(tmp_path: Path) -> None:
    async with RawOrigin(shout) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(ASKS + b"x" * 300_000)
        client.writer.write_eof()
        assert (await client.response()).status == 101
        assert await client.rest() == b"welcome " + b"X" * 300_000 + b" farewell"


async def test_a_client_that_vanishes_ends_the_tunnel_at_the_origin(tmp_path: Path) -> None:
    async with RawOrigin(shout) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(ASKS)
        assert (await client.response()).status == 101
        client.writer.transport.abort()
        await origin.connections[0].ended.wait()


async def test_an_origin_that_vanishes_ends_the_tunnel_at_the_client(tmp_path: Path) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCHED)
        await connection.reader.readexactly(2)
        connection.reset()

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(ASKS)
        assert (await client.response()).status == 101
        client.send(b"hi")
        with suppress(ConnectionResetError):
            assert await client.rest() == b""


async def test_a_slow_reader_of_a_tunnel_holds_the_other_side_back(tmp_path: Path) -> None:
    most, piece = 1024, bytes(65536)
    stuck = asyncio.Event()
    written = 0

    async def serve(connection: RawConnection) -> None:
        nonlocal written
        await connection.read_head()
        await connection.send(SWITCHED)
        for _ in range(most):
            connection.writer.write(piece)
            written += len(piece)
            try:
                async with asyncio.timeout(1.0):
                    await connection.writer.drain()
            except TimeoutError:
                break
        stuck.set()
        await connection.send(b"end")

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(ASKS)
        await stuck.wait()
        assert written < most * len(piece) // 2, "the edge took more than its buffers may hold"
        assert (await client.response()).status == 101
        assert len(await client.reader.readexactly(written)) == written
        assert await client.reader.readexactly(3) == b"end"


async def test_upgrade_to_h2c_is_answered_as_plain_http(tmp_path: Path) -> None:
    """RFC 9113 section 3.1: the offer is ignored, and it does not keep an answer out of the store."""
    serve_page = raw_answer(b"page", b"Cache-Control: max-age=60")

    async def serve(connection: RawConnection) -> None:
        while await connection.read_head():
            await connection.send(serve_page)

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (_, client):
        offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
        assert (await client.ask("/page", headers=offer)).body == b"page"
        assert (await client.recorded("/page", headers=offer)).body == b"page"
    assert len(origin.heads) == 1
    assert b"upgrade" not in origin.heads[0].lower()
