"""The switch that breaks the demo origin, and how each way of being broken looks on the wire.

Owns: the modes. `/break` and `/break/set` are exempt, so that what was broken through the edge can be mended through it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from aiohttp import web

SWITCH_PATHS: Final = frozenset({"/break", "/break/set"})

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Mode(StrEnum):
    """How the origin behaves."""

    OK = "ok"
    DOWN = "down"
    ERROR = "500"
    SLOW = "slow"
    TRUNCATED = "truncated"


class Switch:
    """The one switch of an origin. `slow_seconds`: how long the slow mode waits before it answers."""

    def __init__(self, slow_seconds: float = 10.0) -> None:
        self.mode = Mode.OK
        self.slow_seconds = slow_seconds
        self._changed = asyncio.Event()

    def set(self, mode: Mode) -> None:
        """Behave so from now on; whoever waits in `changed` goes on."""
        self.mode = mode
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self, seconds: float) -> None:
        """Wait until the mode is set, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


SWITCH: Final = web.AppKey("switch", Switch)


@web.middleware
async def break_answers(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Let the answer through, or spoil it as the switch says."""
    switch = request.app[SWITCH]
    if request.path in SWITCH_PATHS:
        return await handler(request)
    match switch.mode:
        case Mode.OK:
            return await handler(request)
        case Mode.DOWN:
            return cut_off(request)
        case Mode.ERROR:
            raise web.HTTPInternalServerError
        case Mode.SLOW:
            await switch.changed(switch.slow_seconds)
            return await handler(request)
        case Mode.TRUNCATED:
            return await _half(request, await handler(request))


def cut_off(request: web.Request) -> web.StreamResponse:
    """Reset the connection without a word, as a process that was killed does."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere


async def _half(request: web.Request, whole: web.StreamResponse) -> web.StreamResponse:
    """The head of `whole`, half of its body, and the end of the connection. What streams spoils itself."""
    body = whole.body if isinstance(whole, web.Response) else None
    if not isinstance(body, bytes) or not body or request.method == "HEAD":
        return whole
    half = web.StreamResponse(status=whole.status, headers=whole.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half
