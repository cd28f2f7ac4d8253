"""The admin routes of disaster: erasing, and giving another node everything that it needs to become this one.

Owns: these routes and their limits. Must not know how the edge works; it asks its backend.
"""

import json
from typing import Any

from aiohttp import web

from edgeproxy.admin.backend import AdminBackend
from edgeproxy.errors import RequestRefused

MOST_ROWS = 512
_ABSOLUTE = ("http://", "https://")


def add_routes(app: web.Application, backend: AdminBackend) -> None:
    """Register them; the server's own checks apply."""

    async def erase(request: web.Request) -> web.Response:
        return web.json_response(await backend.ledger_erase(*erase_order(await _object(request))))

    async def rows(request: web.Request) -> web.Response:
        start = request.query.get("from", "0")
        if not start.isascii() or not start.isdecimal() or len(start) > 15:
            raise RequestRefused("from must be a height", value=start)
        return web.json_response(await backend.ledger_rows(int(start), MOST_ROWS))

    async def body(request: web.Request) -> web.StreamResponse:
        found = await backend.ledger_body(bytes.fromhex(request.match_info["digest"]))
        if found is None:
            return web.json_response({"error": "no such body"}, status=404)
        length, pieces = found
        answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Content-Length": str(length)})
        await answer.prepare(request)
        async for piece in pieces:
            await answer.write(piece)
        await answer.write_eof()
        return answer

    app.router.add_post("/api/v1/ledger/erase", erase)
    app.router.add_get("/api/v1/ledger/rows", rows)
    app.router.add_get(r"/api/v1/ledger/bodies/{digest:[0-9a-f]{64}}", body)


def erase_order(order: dict[str, Any]) -> tuple[str, bool, bool]:
    """URL, everywhere, dry run. Raises RequestRefused naming the key that is wrong."""
    if unknown := sorted(order.keys() - {"url", "everywhere", "dry_run"}):
        raise RequestRefused("unknown key", key=unknown[0])
    url = order.get("url")
    if not isinstance(url, str) or not url.startswith(_ABSOLUTE):
        raise RequestRefused("url must be absolute, with http:// or https://", url=url)
    flags = [order.get(key, False) for key in ("everywhere", "dry_run")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise RequestRefused("everywhere and dry_run must be true or false")
    return url, flags[0], flags[1]


async def _object(request: web.Request) -> dict[str, Any]:
    # A form of a foreign page cannot name this type without asking first (Fetch standard, CORS-safelisted request-header).
    if request.content_type != "application/json":
        raise RequestRefused("request body must be application/json", status=415)
    try:
        found = json.loads(await request.read())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RequestRefused("request body must be a JSON object")
    return found
