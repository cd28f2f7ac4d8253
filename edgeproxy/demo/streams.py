"""What the demo origin sends besides pages: an event stream, a WebSocket echo, JSON, a large file.

Owns: these four. Streams watch the switch and break off when it says so.
"""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from typing import Final

from aiohttp import WSMsgType, web

from edgeproxy.clock import Clock, Instant
from edgeproxy.demo.breakage import SWITCH, Mode, cut_off

CLOCK: Final = web.AppKey("clock", Clock)

LARGE_BYTES: Final = 8 << 20
LARGE_ETAG: Final = '"large-1"'
_PIECE: Final = 65_536
_LARGEST_MESSAGE: Final = 1 << 20
_BEAM_SECONDS: Final = 1.0
_API_CACHE: Final = "max-age=10, stale-if-error=86400"

SAYINGS: Final = (
    "Trim early, sleep late.",
    "A lamp is only as good as its second lamp.",
    "The sea forgives a slow keeper once.",
    "Write it down before you believe it.",
    "Fog has no memory, so keep a book.",
    "Whoever winds the weight owns the minute.",
    "Nobody thanks a light that never went out.",
)


async def events(request: web.Request) -> web.StreamResponse:
    """One event at once and one each second, until the client or the origin goes."""
    switch = request.app[SWITCH]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(b"retry: 2000\n\n")
    number = 0
    while switch.mode in (Mode.OK, Mode.SLOW):
        number += 1
        beam = json.dumps({"at": _iso(request.app[CLOCK].now()), "bearing": number * 36 % 360})
        await response.write(f"id: {number}\nevent: beam\ndata: {beam}\n\n".encode())
        await switch.changed(_BEAM_SECONDS)
    return cut_off(request)


async def echo(request: web.Request) -> web.StreamResponse:
    """Every message comes back as it was, up to 1 MiB."""
    socket = web.WebSocketResponse(max_msg_size=_LARGEST_MESSAGE)
    await socket.prepare(request)
    async for message in socket:
        if request.app[SWITCH].mode is Mode.DOWN:
            return cut_off(request)
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def api_time(request: web.Request) -> web.Response:
    """The time when it was asked."""
    return _json({"time": _iso(request.app[CLOCK].now())})


async def api_quotes(request: web.Request) -> web.Response:
    """Three sayings, others each ten seconds."""
    now = request.app[CLOCK].now()
    first = now // 10_000
    return _json({"rendered": _iso(now), "quotes": [SAYINGS[(first + step) % len(SAYINGS)] for step in range(3)]})


async def large(request: web.Request) -> web.StreamResponse:
    """8 MiB: 64 KiB pieces, each the SHA-256 of its number over and over. Knows no ranges, so that the edge has to."""
    headers = {"Content-Type": "application/octet-stream", "Cache-Control": "max-age=600", "ETag": LARGE_ETAG}
    if request.headers.get("If-None-Match") == LARGE_ETAG:
        return web.Response(status=304, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = LARGE_BYTES
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    for number in range(LARGE_BYTES // _PIECE):
        mode = request.app[SWITCH].mode
        if mode is Mode.DOWN or (mode is Mode.TRUNCATED and number >= LARGE_BYTES // _PIECE // 2):
            return cut_off(request)
        await response.write(large_piece(number))
    return response


@cache
def large_piece(number: int) -> bytes:
    """The 64 KiB of `large.bin` at `number` times 64 KiB."""
    return hashlib.sha256(number.to_bytes(4)).digest() * (_PIECE // 32)


def _json(value: object) -> web.Response:
    return web.json_response(value, headers={"Cache-Control": _API_CACHE, "Surrogate-Key": "api"})


def _iso(now: Instant) -> str:
    return f"{datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
