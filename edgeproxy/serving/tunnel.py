"""The client's side of an upgraded connection: raw bytes both ways, bounded both ways.

Owns: the two halves handed to the handler. The connection feeds the source and enforces the idle time-out.
"""

from typing import Protocol

from edgeproxy.errors import EdgeError
from edgeproxy.serving.flow import PieceQueue, WriteGate


class TunnelCarrier(Protocol):
    """What a tunnel asks of its connection."""

    gate: WriteGate

    def write(self, data: bytes) -> None: ...
    def bytes_taken(self) -> None: ...
    def end_tunnel_output(self) -> None: ...
    def close_tunnel(self) -> None: ...
    def is_closing(self) -> bool: ...


class ClientSource:
    """Bytes from the client. Implements `stream.TunnelSource`."""

    __slots__ = ("_carrier", "_queue")

    def __init__(self, carrier: TunnelCarrier) -> None:
        self._carrier = carrier
        self._queue = PieceQueue()

    @property
    def waiting(self) -> int:
        """Bytes that arrived and were not read."""
        return self._queue.size

    def feed(self, data: bytes) -> None:
        """From the connection: bytes arrived."""
        self._queue.put(data)

    def feed_eof(self) -> None:
        """From the connection: the client will send no more."""
        self._queue.end()

    def fail(self, error: EdgeError) -> None:
        """From the connection: it broke."""
        self._queue.fail(error)

    async def read(self, n: int = 65536) -> bytes:
        """Up to `n` bytes as soon as there are any; b"" after the client's end. Raises ClientGone."""
        data = await self._queue.take(n)
        self._carrier.bytes_taken()
        return data


class ClientSink:
    """Bytes to the client. Implements `stream.TunnelSink`."""

    __slots__ = ("_carrier", "_ended")

    def __init__(self, carrier: TunnelCarrier) -> None:
        self._carrier = carrier
        self._ended = False

    def write(self, data: bytes) -> None:
        """Queue `data`. Raises ClientGone; ValueError after `write_eof`."""
        if self._ended:
            raise ValueError("write after the end of the tunnel")
        self._carrier.gate.check()
        if data:
            self._carrier.write(data)

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises ClientGone."""
        await self._carrier.gate.passed()

    def write_eof(self) -> None:
        """Say that nothing more will be written; reading goes on (where the transport can: not over TLS)."""
        if not self._ended:
            self._ended = True
            self._carrier.end_tunnel_output()

    def close(self) -> None:
        """Send what is queued, then close both ways."""
        self._ended = True
        self._carrier.close_tunnel()

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._ended or self._carrier.is_closing()
