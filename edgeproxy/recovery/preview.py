"""A read-only server on this machine that shows a site as it was (`recovery.snapshot`).

Owns: how a stored response looks on a local address, and what is said where there is none. Never asks an origin, keeps nothing,
and says in every answer that it is a preview, and of which height.
"""

import asyncio
import html
import ipaddress
import logging
from collections.abc import Iterator

from aiohttp import web
from multidict import CIMultiDict

from edgeproxy.errors import Corrupt, EdgeError
from edgeproxy.recovery.snapshot import Seen, Snapshot, split
from edgeproxy.serving.addresses import map_bind_error
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.preview")

HEADER = "Edge-Preview"
_STOP_SECONDS = 1.0

# Of the connection, of the time when it was said, or about a host that this address is not.
_LEFT_OUT = frozenset(
    (
        *("connection", "keep-alive", "transfer-encoding", "trailer", "upgrade", "content-length", "via", "age"),
        *("cache-control", "cdn-cache-control", "surrogate-control", "expires", "pragma", "set-cookie", "clear-site-data"),
        *("strict-transport-security", "alt-svc", "service-worker-allowed", "refresh"),
    )
)


class Preview:
    """Serves one snapshot on one address."""

    def __init__(self, snapshot: Snapshot, address: tuple[str, int]) -> None:
        self._snapshot = snapshot
        self._address = address
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; the base URL. Raises `StartError` when the address cannot be had."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise map_bind_error(f"{host}:{port}", error) from error
        self._runner = runner
        bound = int(runner.addresses[0][1])
        return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"

    async def stop(self) -> None:
        """Stop listening. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not _is_loopback(request.host):
            # A page elsewhere that had its name point here (DNS rebinding) reads nothing.
            return self._page(421, "This preview answers to the names of this machine only.")
        if request.method not in ("GET", "HEAD"):
            return self._page(405, "A preview is read-only.", Allow="GET, HEAD")
        asked = _request(request)
        version = self._snapshot.find(asked)
        if version is None:
            return self._page(404, f"Nothing was stored of this address at block {self._snapshot.height}.")
        try:
            seen = await asyncio.to_thread(self._snapshot.read, version)
            first = await asyncio.to_thread(_next, seen.pieces)
        except Corrupt as error:
            log.info("block %d cannot be shown: %s", version.height, error)
            return self._page(404, f"Block {version.height} is of this address, but its content is gone or damaged.")
        except EdgeError as error:
            log.error("block %d cannot be read: %s", version.height, error)
            return self._page(500, "The data folder cannot be read.")
        return await self._send(request, seen, first)

    async def _send(self, request: web.Request, seen: Seen, piece: bytes | None) -> web.StreamResponse:
        """`piece` is the first of the body."""
        stored = seen.stored
        lines = [line for line in stored.fields.lines if line[0].lower() not in _LEFT_OUT]
        fields = CIMultiDict((name, self._here(value) if name.lower() == "location" else value) for name, value in lines)
        fields.update(self._told())
        fields["Edge-Block"] = str(stored.height)
        fields["Memento-Datetime"] = format_http_date(stored.response_time // 1000)
        response = web.StreamResponse(status=stored.status, headers=fields)
        if stored.status not in (204, 304):
            response.content_length = stored.length
        await response.prepare(request)
        try:
            while piece is not None and request.method == "GET" and stored.status not in (204, 304):
                await response.write(piece)
                piece = await asyncio.to_thread(_next, seen.pieces)
        except EdgeError as error:
            log.error("block %s is damaged or cannot be read: %s", stored.height, error)
            if request.transport is not None:
                request.transport.abort()  # part of it is out, and must not be taken for the whole
            return response
        await response.write_eof()
        return response

    def _here(self, location: str) -> str:
        """A redirect within the site leads on within the preview."""
        if location.startswith(("http://", "https://")):
            authority, target = split(location)
            if authority.lower() in self._snapshot.authorities:
                return target
        return location

    def _told(self) -> dict[str, str]:
        return {HEADER: str(self._snapshot.height), "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}

    def _page(self, status: int, text: str, **fields: str) -> web.Response:
        body = f"<!doctype html><meta charset=utf-8><title>Preview</title><h1>Preview</h1><p>{html.escape(text)}</p>\n"
        return web.Response(status=status, text=body, content_type="text/html", headers={**self._told(), **fields})


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _request(request: web.Request) -> Request:
    fields = Fields((name, value) for name, value in request.headers.items())
    return Request(request.method, request.raw_path, request.host, request.host, (1, 1), fields)


def _is_loopback(host: str) -> bool:
    name = host.lower()
    if not name.endswith("]"):
        head, colon, port = name.rpartition(":")
        name = head if colon and port.isdecimal() else name
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
