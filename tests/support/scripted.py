"""An origin whose paths are functions of the test, and which remembers what it was asked.

async with scripted({"/page": page("hello", ETag='"a"')}) as origin:
    ... origin.url ... origin.count("/page")
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from edgeproxy.app import Edge
from tests.support.edge import Client, running_edge
from tests.support.web_app import listening

PATIENCE = 30.0
"""Seconds after which a wait of a test has failed."""

Way = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the origin read it. `body` stays empty for a way that reads it itself."""

    method: str
    target: str
    fields: CIMultiDictProxy[str]


@dataclass
class Scripted:
    """`ways` by path, and may be changed while it runs; any other path is a 404."""

    ways: dict[str, Way]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def count(self, path: str, method: str | None = None) -> int:
        """How many requests came for `path`, whatever their query."""
        return sum(each.target.partition("?")[0] == path and method in (None, each.method) for each in self.asked)

    def last(self, path: str) -> Asked:
        """The newest request for `path`."""
        return [each for each in self.asked if each.target.partition("?")[0] == path][-1]

    async def was_asked(self, path: str, count: int) -> None:
        """Wait until `count` requests for `path` have arrived."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.count(path) >= count)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.raw_path, request.headers))
        async with self._changed:
            self._changed.notify_all()
        way = self.ways.get(request.path)
        return await way(request) if way else web.Response(status=404, text="no such page")


def page(body: str | bytes = b"a page", status: int = 200, **fields: str) -> Way:
    """The same answer each time; underscores in the names of `fields` stand for hyphens. A GET or HEAD that names its ETag or
    Last-Modified gets a 304."""
    lines = CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})
    content = body.encode() if isinstance(body, str) else body

    async def way(request: web.Request) -> web.StreamResponse:
        await request.read()
        named = request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")
        if (named[0] and named[0] == lines.get("ETag")) or (not named[0] and named[1] and named[1] == lines.get("Last-Modified")):
            return web.Response(status=304, headers={k: v for k, v in lines.items() if k.lower() != "content-type"})
        return web.Response(status=status, body=content, headers=lines)

    return way


def in_turn(*ways: Way) -> Way:
    """The first request gets the first way, and so on; the last one goes on for ever."""
    left = list(ways)

    async def way(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return way


@dataclass
class Gate:
    """Holds requests back until it is opened; `arrived` counts those that came to it."""

    way: Way
    arrived: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        self._open.set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        await self._open.wait()
        return await self.way(request)


def by(choose: Callable[[web.Request], Way]) -> Way:
    """A way that depends on the request."""

    async def way(request: web.Request) -> web.StreamResponse:
        return await choose(request)(request)

    return way


@asynccontextmanager
async def scripted(ways: dict[str, Way]) -> AsyncIterator[Scripted]:
    """The origin on a free port of 127.0.0.1."""
    origin = Scripted(ways)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", origin.answer)
    async with listening(app) as origin.url:
        yield origin


@dataclass(frozen=True, slots=True)
class Fronted:
    """An origin, the edge in front of it, and a client of the edge."""

    origin: Scripted
    edge: Edge
    client: Client


@asynccontextmanager
async def fronted(folder: Path, ways: dict[str, Way], **options: str) -> AsyncIterator[Fronted]:
    """`scripted` and `running_edge` together; `options` are those of the edge's configuration."""
    async with scripted(ways) as origin, running_edge(folder, origin.url, **options) as (edge, client):
        yield Fronted(origin, edge, client)
