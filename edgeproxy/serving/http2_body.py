"""The body of one HTTP/2 request: kept until it is read, and never whole before the stream has ended well.

Owns: the count of bytes against Content-Length (RFC 9113 section 8.1.1) and the limit. Must not touch windows; the stream does.

The last bytes of a body whose length was announced are held back until END_STREAM: what is read here goes on to an origin as
HTTP/1, and a stream that turns out malformed after them must not have become a whole request there.
"""

from edgeproxy.errors import EdgeError, RequestRefused, StreamMalformed
from edgeproxy.serving.flow import PieceQueue
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import CHUNKED

_NO_FIELDS = Fields()


class Http2Body:
    """A body of `length` bytes, or `CHUNKED` for an unknown number, of at most `limit`. `ended`: there is none."""

    __slots__ = ("_held", "_length", "_limit", "_queue", "received", "trailers")

    def __init__(self, length: int, limit: int | None, *, ended: bool) -> None:
        self._queue = PieceQueue()
        self._length = length
        self._limit = limit
        self._held = b""
        self.received = 0
        """Bytes of the body so far."""
        self.trailers = _NO_FIELDS
        if ended:
            self._queue.end()

    @property
    def ended(self) -> bool:
        """Whether all of it has arrived."""
        return self._queue.ended

    @property
    def failed(self) -> bool:
        """Whether the rest of it will never come."""
        return self._queue.error is not None

    @property
    def waiting(self) -> int:
        """Bytes that arrived and were not read."""
        return self._queue.size + len(self._held)

    def feed(self, data: bytes, *, ended: bool) -> None:
        """Bytes of the body. Raises StreamMalformed when they cannot be as many as were announced.

        Over the limit the reader is told 413. Once `failed`, nothing is kept.
        """
        self.received += len(data)
        if self._length != CHUNKED and (self.received > self._length or (ended and self.received < self._length)):
            raise StreamMalformed("body is not as long as content-length says", length=self._length, received=self.received)
        if self._queue.error is not None:
            return
        if self._limit is not None and self.received > self._limit:
            self._queue.fail(RequestRefused("request body too large", status=413, limit=self._limit))
        elif ended:
            self._queue.put(self._held + data)
            self._held = b""
            self._queue.end()
        elif self.received == self._length:
            self._held += data
        else:
            self._queue.put(data)

    def end(self, trailers: Fields) -> None:
        """The stream ended with a trailer section. Raises StreamMalformed as `feed` does."""
        self.trailers = trailers
        self.feed(b"", ended=True)

    def fail(self, error: EdgeError) -> None:
        """The rest will not come; the reader is told `error`."""
        self._queue.fail(error)

    def drop(self) -> int:
        """Nobody will read it: forget what waits; returns how many bytes that were."""
        size = self.waiting
        self._queue.clear()
        self._held = b""
        return size

    async def read(self, limit: int | None = None) -> bytes:
        """The next piece, at most `limit` bytes of it; b"" at the end. Raises what went wrong with the rest of it."""
        return await self._queue.take(limit)
