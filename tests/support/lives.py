"""An origin that answers slowly or for ever, and an edge before it as a process that is told to end or to reload."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.edge import Client, EdgeProcess, until
from tests.support.serving import Client as RawClient
from tests.support.web_app import listening

PATIENCE = 10.0
PIECE = b"0123456789abcdef" * 4096
PIECES = 20


@dataclass
class LiveOrigin:
    """Answers that last: each waits for `go` half-way."""

    name: str
    url: str = ""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def page(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=f"{request.path} of {self.name}", headers={"Cache-Control": "no-store"})

    async def kept(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=f"{request.path} of {self.name}", headers={"Cache-Control": "max-age=600"})

    async def slow(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.go.wait()
        return await self.kept(request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(PIECE) * PIECES), "Cache-Control": "no-store"})
        await response.prepare(request)
        for number in range(PIECES):
            if number == PIECES // 2:
                await self.go.wait()
            await response.write(PIECE)
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.go.wait()
        await response.write(b"data: second\n\n")
        return response

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        peer = web.WebSocketResponse()
        await peer.prepare(request)
        async for message in peer:
            await peer.send_str(f"{self.name}: {message.data}")
        return peer


@asynccontextmanager
async def live_origin(name: str) -> AsyncIterator[LiveOrigin]:
    origin = LiveOrigin(name)
    application = web.Application()
    for path, way in (
        ("/slow", origin.slow),
        ("/download", origin.download),
        ("/events", origin.events),
        ("/echo", origin.echo),
        ("/kept{any:.*}", origin.kept),
        ("/{any:.*}", origin.page),
    ):
        application.router.add_get(path, way)
    async with listening(application) as origin.url:
        try:
            yield origin
        finally:
            origin.go.set()


@dataclass
class Started:
    """An edge as a process, and ways to ask it."""

    edge: EdgeProcess
    base: str
    session: aiohttp.ClientSession

    @property
    def client(self) -> Client:
        return Client(self.base, self.session)

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def signal(self, number: int) -> None:
        assert self.edge.process is not None
        self.edge.process.send_signal(number)

    async def ended(self) -> int:
        assert self.edge.process is not None
        return await asyncio.to_thread(self.edge.process.wait, PATIENCE)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[RawClient]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = RawClient(reader, writer)
        try:
            yield client
        finally:
            await client.close()

    async def refuses_connections(self) -> bool | None:
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            return None
        return True

    async def said(self, text: str) -> str:
        """Wait until the log has a line with `text`; that line."""

        async def line() -> str | None:
            return next((line for line in self.edge.log.read_text().splitlines() if text in line), None)

        return await until(line, PATIENCE)


@asynccontextmanager
async def started(config: Path) -> AsyncIterator[Started]:
    """The edge of `config`; at the end it must stop with status 0, unless the test has ended it."""
    edge = EdgeProcess(config)
    base = await asyncio.to_thread(edge.start)
    try:
        async with aiohttp.ClientSession(auto_decompress=False, headers={"Host": "site.test"}) as session:
            yield Started(edge, base, session)
    except BaseException:
        edge.kill()
        raise
    assert edge.process is not None
    if edge.process.poll() is None:
        assert await asyncio.to_thread(edge.stop) == 0
    assert "Traceback" not in edge.log.read_text()


async def soon(condition: bool) -> bool | None:
    """What `until` takes for a condition: None while it does not hold."""
    return condition or None
