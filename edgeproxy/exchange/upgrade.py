"""WebSocket and other upgrades: a tunnel through the edge, once the origin has agreed.

Owns: the life of one tunnel. Must not look into its bytes.
"""

import asyncio
import contextlib
from typing import Protocol

from edgeproxy.errors import ClientGone
from edgeproxy.exchange import ask, heads
from edgeproxy.exchange.deliver import Delivery
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.origin.messages import OriginResponse
from edgeproxy.origin.tunnel import Tunnel
from edgeproxy.wire.forwarding import end_to_end

PIECE = 65_536


class Source(Protocol):
    """Where the bytes of one direction come from."""

    async def read(self, n: int = ..., /) -> bytes: ...


class Sink(Protocol):
    """Where the bytes of one direction go to."""

    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...


async def open_upgrade(exchange: Exchange, delivery: Delivery) -> OriginResponse | None:
    """Ask the origin to switch. None when it did and the tunnel has ended; else its ordinary answer, for the caller to send.

    Raises OriginError before the head is sent, ClientGone.
    """
    request = exchange.request
    assert request.upgrade is not None
    asked = ask.as_is(exchange.site, request, None, peer=exchange.peer, trusted=exchange.trusted)
    with exchange.span.current():
        answer = await exchange.site.origin.open_tunnel(asked, request.upgrade)
    if isinstance(answer, OriginResponse):
        return answer
    try:
        fields = end_to_end(answer.head.fields).without(frozenset(("content-length", "via")))
        upgrade = answer.head.fields.get("upgrade") or request.upgrade
        fields = fields.plus(("Upgrade", upgrade), ("Connection", "Upgrade"), ("Via", heads.via(answer.head.fields)))
        await delivery.head(exchange, 101, fields, None)
        await _join(exchange, answer)
    finally:
        answer.writer.transport.abort()
    return None


async def _join(exchange: Exchange, tunnel: Tunnel) -> None:
    """Copy both ways until both have ended, or one breaks."""
    source, sink = exchange.stream.tunnel()
    with contextlib.suppress(ConnectionError, ClientGone, ExceptionGroup):
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(source, tunnel.writer), name="tunnel-up")
            both.create_task(_copy(tunnel.reader, sink), name="tunnel-down")
    sink.close()


async def _copy(source: Source, sink: Sink) -> None:
    while data := await source.read(PIECE):
        sink.write(data)
        await sink.drain()
    sink.write_eof()
