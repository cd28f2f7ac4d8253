"""The body of one request: taken out of its framing as it arrives, kept until it is read.

Owns: how many bytes belong to the body, its limit, its trailers. Must not pause a transport; the connection does by `waiting`.
"""

from edgeproxy.errors import EdgeError, RequestRefused
from edgeproxy.serving.flow import PieceQueue
from edgeproxy.wire.chunked import ChunkedDecoder
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import CHUNKED

_NO_FIELDS = Fields()


class RequestBody:
    """A body of `length` bytes, or `CHUNKED`, of at most `limit` bytes."""

    __slots__ = ("_decoder", "_discarding", "_limit", "_queue", "_remaining", "dropped", "received", "trailers")

    def __init__(self, length: int, limit: int | None) -> None:
        self._queue = PieceQueue()
        self._decoder = ChunkedDecoder() if length == CHUNKED else None
        self._remaining = 0 if length == CHUNKED else length
        self._limit = limit
        self._discarding = False
        self.received = 0
        """Bytes of the body so far, without framing."""
        self.dropped = 0
        """Bytes, with framing, that came after `discard`."""
        self.trailers = _NO_FIELDS
        if length == 0:
            self._queue.end()

    @property
    def ended(self) -> bool:
        """Whether all of it has arrived."""
        return self._queue.ended

    @property
    def failed(self) -> bool:
        """Whether the rest of it will never come, so that nothing behind it can be read either."""
        return self._queue.error is not None

    @property
    def waiting(self) -> int:
        """Bytes that arrived and were not read."""
        return self._queue.size

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None when the framing does not say."""
        return None if self._decoder is not None and not self.ended else self._remaining

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body, and return what follows it.

        Raises RequestRefused for malformed framing (400) and over the limit (413); the reader is told the same, and nothing
        may be fed any more.
        """
        if self._discarding:
            self.dropped += len(data)
        try:
            return self._feed_chunked(data) if self._decoder is not None else self._feed_counted(data)
        except RequestRefused as error:
            self.fail(error)
            raise

    def _feed_counted(self, data: bytes) -> bytes:
        piece, rest = data[: self._remaining], data[self._remaining :]
        self._remaining -= len(piece)
        self._put(piece)
        if self._remaining == 0:
            self._queue.end()
        return rest

    def _feed_chunked(self, data: bytes) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        self._put(b"".join(decoder.feed(data)))
        if not decoder.done:
            return b""
        self.trailers = decoder.trailers
        self._queue.end()
        return decoder.rest

    def _put(self, piece: bytes) -> None:
        self.received += len(piece)
        if self._limit is not None and self.received > self._limit:
            raise RequestRefused("request body too large", status=413, limit=self._limit)
        if not self._discarding:
            self._queue.put(piece)

    def discard(self) -> None:
        """Nobody will read it: drop what waits and what comes."""
        self._discarding = True
        self._queue.clear()

    def fail(self, error: EdgeError) -> None:
        """The rest will not come; the reader is told `error`."""
        self._queue.fail(error)

    async def read(self) -> bytes:
        """The next piece, b"" at the end. Raises what went wrong with the rest of it."""
        return await self._queue.take()
