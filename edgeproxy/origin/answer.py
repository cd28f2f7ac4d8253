"""From the bytes of one connection to one response: interim heads, the head, pieces of the body, its end. No I/O, no clock.

Owns: where a response begins and ends, strictly (RFC 9112). aiohttp's own parser is not used: it is lenient where an edge
must not be (bare LF, obs-fold, spaces in chunk sizes), and it hands a connection back before it has looked at what follows
the message. Must not know sockets or waiters; that is `origin.connection`.
"""

from collections import deque

from edgeproxy.errors import OriginMalformed, OriginReset, OriginTruncated, RequestRefused
from edgeproxy.origin.framing import Delimiter, Framing, judge, with_one_length
from edgeproxy.origin.messages import OriginSettings
from edgeproxy.wire.chunked import ChunkedDecoder
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import parse_response_head
from edgeproxy.wire.messages import ResponseHead

_START = b"HTTP/1."
_NO_FIELDS = Fields()


class Answer:
    """One response while it arrives. Fed by the connection, emptied by whoever reads the body.

    `pieces` and `buffered` are shared with the reader, which takes pieces off the left and lowers `buffered`.
    """

    __slots__ = (
        "_chunks",
        "_head",
        "_method",
        "_remaining",
        "_scanned",
        "_settings",
        "buffered",
        "ended",
        "error",
        "framing",
        "head",
        "interim",
        "interims_seen",
        "pieces",
        "received",
        "surplus",
    )

    def __init__(self, method: str, settings: OriginSettings) -> None:
        self._method = method
        self._settings = settings
        self._head = b""
        self._scanned = 0
        self._remaining = 0
        self._chunks: ChunkedDecoder | None = None
        self.head: ResponseHead | None = None
        self.framing: Framing | None = None
        self.interim: deque[ResponseHead] = deque()
        self.interims_seen = 0
        self.pieces: deque[bytes] = deque()
        self.buffered = 0
        self.received = False
        """Whether any byte came: before that, a dead pooled connection may be tried again elsewhere."""
        self.ended = False
        self.surplus = False
        """Bytes came after the end of the message: the connection must not be used again."""
        self.error: BaseException | None = None

    @property
    def trailers(self) -> Fields:
        """Trailer fields; complete when `ended`."""
        return _NO_FIELDS if self._chunks is None else self._chunks.trailers

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange: the end was seen, nothing came after it, and neither side wants
        to close."""
        return self.ended and not self.surplus and self.error is None and self.framing is not None and self.framing.persists

    @property
    def is_sound(self) -> bool:
        """Whether the message ended where its head says; false when it announces what it must not have, or more followed."""
        return not self.surplus and (self.framing is None or not self.framing.contradicts)

    def feed(self, data: bytes) -> None:
        """Take what the socket gave. Raises OriginMalformed."""
        self.received = True
        if self.framing is None:
            self._feed_head(data)
        else:
            self._feed_body(self.framing, data)

    def feed_eof(self) -> None:
        """The origin closed its side in an orderly way. Raises OriginReset before a head is complete, OriginTruncated inside
        a body."""
        if self.ended:
            return
        if self.framing is None:
            if self.received:
                raise OriginReset("connection ended inside the response head", bytes=len(self._head))
            raise OriginReset("connection ended before the response")
        if self.framing.delimiter is not Delimiter.CLOSE:
            raise OriginTruncated("connection ended inside the response body", missing=self._remaining or "unknown")
        self.ended = True

    def _feed_head(self, data: bytes) -> None:
        if self._head:
            data = self._head + data
        while True:
            end = data.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._wait_for_head(data)
                return
            self._scanned = 0
            head = data[: end + 4]
            data = data[end + 4 :]
            if self._take_head(head):
                self._head = b""
                break
            if not data:
                self._head = b""
                return
        assert self.framing is not None
        if data:
            self._feed_body(self.framing, data)

    def _wait_for_head(self, data: bytes) -> None:
        """Keep an incomplete head, unless it can no longer become one: no need to wait for a time-out then."""
        if len(data) > self._settings.head_bytes:
            raise OriginMalformed("response head is too large", limit=self._settings.head_bytes)
        if not data.startswith(_START[: len(data)]):
            raise OriginMalformed("response is not HTTP/1", start=data[:40])
        at = data.find(b"\n", max(0, self._scanned - 1))
        while at >= 0:
            if data[at - 1] != 0x0D:
                raise OriginMalformed("response head has a bare LF")  # RFC 9112 section 2.2
            at = data.find(b"\n", at + 1)
        self._scanned = len(data)
        self._head = data

    def _take_head(self, raw: bytes) -> bool:
        """Judge one complete head; False when it was an interim one."""
        if len(raw) > self._settings.head_bytes:
            raise OriginMalformed("response head is too large", limit=self._settings.head_bytes)
        if raw.count(b"\n") - 2 > self._settings.field_count:
            raise OriginMalformed("response has too many fields", limit=self._settings.field_count)
        head, version = parse_response_head(raw)
        status = head.status
        if not 100 <= status <= 599:
            raise OriginMalformed("response status is outside 100 to 599", status=status)
        if status < 200:
            self._take_interim(head)
            return False
        framing = self.framing = judge(self._method, head, version)
        fields = with_one_length(head.fields)
        self.head = head if fields is head.fields else ResponseHead(status, fields)
        self._remaining = framing.length
        if framing.delimiter is Delimiter.NOTHING:
            self.ended = True
        elif framing.delimiter is Delimiter.CHUNKS:
            self._chunks = ChunkedDecoder()
        return True

    def _take_interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise OriginMalformed("response switches protocols unasked")  # RFC 9110 section 15.2.2
        if "transfer-encoding" in head.fields or (head.fields.get("content-length") or "0") != "0":
            raise OriginMalformed("interim response announces a body")  # RFC 9110 section 8.6, RFC 9112 section 6.1
        self.interims_seen += 1
        if self.interims_seen > self._settings.interim_count:
            raise OriginMalformed("too many interim responses", limit=self._settings.interim_count)
        self.interim.append(head)

    def _feed_body(self, framing: Framing, data: bytes) -> None:
        if self.ended:
            self.surplus = True
        elif framing.delimiter is Delimiter.LENGTH:
            size = len(data)
            if size > self._remaining:
                self.surplus = True
                data = data[: self._remaining]
                size = self._remaining
            self._remaining -= size
            self._add(data)
            self.ended = self._remaining == 0
        elif framing.delimiter is Delimiter.CLOSE:
            self._add(data)
        else:
            self._feed_chunks(data)

    def _feed_chunks(self, data: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None
        try:
            for piece in chunks.feed(data):
                self._add(piece)
        except RequestRefused as error:  # the decoder is the one that reads clients' bodies; here the fault is the origin's
            raise OriginMalformed("response has bad chunks", what=error.text) from error
        if chunks.done:
            self.ended = True
            self.surplus = bool(chunks.rest)

    def _add(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)
            self.buffered += len(piece)
