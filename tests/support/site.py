"""An ordinary origin site whose answers follow from the query: `?max-age=60&etag=a&size=1000&status=503`."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.web_app import listening


@dataclass
class Site:
    """`seen` are the targets asked for, in order. Set `failing` to make every answer that; `gate` holds answers back."""

    url: str = ""
    seen: list[str] = field(default_factory=list)
    failing: int | None = None
    version: str = "1"
    gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path_qs)
        await request.read()
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is not None:
            return web.Response(status=self.failing, text="origin is in trouble")
        query = request.query
        headers = {}
        if "max-age" in query or "cc" in query:
            headers["Cache-Control"] = query.get("cc") or f"max-age={query['max-age']}"
        for name in ("vary", "link", "surrogate-key", "set-cookie", "content-type"):
            if name in query:
                headers[name] = query[name]
        if "etag" in query:
            headers["ETag"] = f'"{query["etag"]}-{self.version}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
        body = content(request.path_qs, self.version, int(query.get("size", "100")))
        return web.Response(status=int(query.get("status", "200")), body=body, headers=headers)


def content(target: str, version: str = "1", size: int = 100) -> bytes:
    """The body of `target`: different for each target and version, `size` bytes long."""
    seed = f"{target} {version} ".encode()
    filler = hashlib.sha256(seed).hexdigest().encode()
    return (seed + filler * (size // len(filler) + 1))[:size]


@asynccontextmanager
async def running_site() -> AsyncIterator[Site]:
    """The site on a free port of 127.0.0.1."""
    site = Site()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", site.answer)
    async with listening(app) as site.url:
        yield site
