"""Short ways to ask a raw origin through the real client."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from edgeproxy.clock import SystemClock
from edgeproxy.origin.client import OriginClient
from edgeproxy.origin.messages import Origin, OriginRequest, OriginResponse, OriginSettings
from edgeproxy.wire.fields import Fields

QUICK = OriginSettings(connect_timeout=5, head_timeout=0.3, body_timeout=0.3)


@asynccontextmanager
async def asking(*origins: Origin | str, settings: OriginSettings | None = None, **options: Any) -> AsyncIterator[OriginClient]:
    """A client of `origins`, closed at the end."""
    places = [origin if isinstance(origin, Origin) else Origin(origin) for origin in origins]
    client = OriginClient(places, SystemClock(), settings, **options)
    try:
        yield client
    finally:
        await client.close()


def ask(
    target: str = "/",
    method: str = "GET",
    fields: Sequence[tuple[str, str]] = (),
    *,
    repeatable: bool | None = None,
    authority: str = "www.example.org",
    **options: Any,
) -> OriginRequest:
    """A request; repeatable when its method is GET or HEAD."""
    may = method in ("GET", "HEAD") if repeatable is None else repeatable
    return OriginRequest(method, target, authority, Fields(fields), repeatable=may, **options)


async def whole(response: OriginResponse) -> bytes:
    """The body, and the response closed whatever happens."""
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
    finally:
        await response.close()
    return b"".join(pieces)


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A request body."""
    for piece in pieces:
        yield piece
