"""Flow control: bytes that wait for a reader, and writers that wait for a client.

Owns: the queue of received pieces and the gate of the write side. Knows no HTTP and no transport.
Both outlive cancellation of whoever waits: nothing is lost, nobody else is woken wrongly.
"""

import asyncio
from collections import deque

from edgeproxy.errors import EdgeError


class PieceQueue:
    """Received bytes, in order, for one reader. Bounded by the connection, which stops reading by `size`."""

    __slots__ = ("_pieces", "_waiter", "ended", "error", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.error: EdgeError | None = None
        self.ended = False
        self.size = 0

    def put(self, data: bytes) -> None:
        """Add `data` and wake the reader."""
        if data:
            self._pieces.append(data)
            self.size += len(data)
            self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._wake()

    def fail(self, error: EdgeError) -> None:
        """Nothing more can come; a reader is told `error` at once, unless all had already arrived."""
        if not self.ended and self.error is None:
            self.error = error
            self._wake()

    def clear(self) -> None:
        """Drop what waits."""
        self._pieces.clear()
        self.size = 0

    async def take(self, limit: int | None = None) -> bytes:
        """The next piece, at most `limit` bytes of it; b"" at the end. Raises what `fail` was given."""
        while True:
            if self.error is not None:
                raise self.error
            if self._pieces:
                return self._next(limit)
            if self.ended:
                return b""
            await self._wait()

    def _next(self, limit: int | None) -> bytes:
        piece = self._pieces.popleft()
        if limit is not None and len(piece) > limit:
            self._pieces.appendleft(piece[limit:])
            piece = piece[:limit]
        self.size -= len(piece)
        return piece

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two readers wait for the same bytes")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class WriteGate:
    """Open while the transport has room; closed while the client has to read first."""

    __slots__ = ("_waiters", "error", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self.error: EdgeError | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    def close(self) -> None:
        """The transport is full."""
        self.is_open = False

    def open(self) -> None:
        """The transport has room again."""
        self.is_open = True
        self._wake()

    def fail(self, error: EdgeError) -> None:
        """The client is gone: everybody who waits, and who comes later, is told `error`."""
        if self.error is None:
            self.error = error
        self._wake()

    def check(self) -> None:
        """Raises what `fail` was given."""
        if self.error is not None:
            raise self.error

    async def passed(self) -> None:
        """Wait until the gate is open. Raises what `fail` was given."""
        while not self.is_open and self.error is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        self.check()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
