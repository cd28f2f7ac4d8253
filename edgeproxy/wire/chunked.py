"""The chunked transfer coding of HTTP/1.1 (RFC 9112 section 7.1).

Owns: finding the data, the trailers and the end in bytes that come in any pieces, and refusing everything that another parser
might delimit in another way. Must not bound the body as a whole; who reads it does.
"""

import re
from enum import Enum, auto

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.faults import fault_in_field_line
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.framing import MAX_LENGTH
from edgeproxy.wire.grammar import FIELD_LINE, QUOTED, TOKEN, encode_field_lines, split_field_lines

MAX_SIZE_LINE = 256
"""Bytes of one line with a chunk's size and extensions, CRLF included."""

MAX_EXTENSIONS = 16384
"""Bytes of chunk extensions in one message: they cost work and carry nothing that is kept."""

MAX_TRAILER_BYTES = 8192
MAX_TRAILERS = 32

LAST_CHUNK = b"0\r\n\r\n"

FORBIDDEN_TRAILERS = frozenset(
    {
        # framing, routing, and what a later hop might merge into the head (RFC 9110 section 6.5.1)
        "connection",
        "content-length",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        # request modifiers and conditions
        "accept-encoding",
        "cache-control",
        "expect",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "pragma",
        "range",
        # authentication and state
        "authorization",
        "cookie",
        "proxy-authenticate",
        "proxy-authorization",
        "set-cookie",
        "www-authenticate",
        # how to process the content
        "content-encoding",
        "content-range",
        "content-type",
        # control data of a response
        "age",
        "date",
        "expires",
        "location",
        "retry-after",
        "vary",
        "warning",
    }
)
"""What may not stand in a trailer section, in lower case."""

_SIZE_LINE = re.compile(
    rf"([0-9A-Fa-f]{{1,16}}+)((?:;{TOKEN}(?:=(?:{TOKEN}|{QUOTED}))?)*+)\r\n".encode("latin-1"),
)
_FIELD_LINE = re.compile(FIELD_LINE.encode("latin-1"))


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ChunkedDecoder:
    """Feed it bytes as they come; it hands back slices of data. After `done`, `rest` holds what came after the message."""

    __slots__ = ("_extension_bytes", "_pending", "_remaining", "_state", "_trailer_bytes", "_trailer_lines", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._state = _State.SIZE
        self._pending = b""  # an unfinished line, never data; bounded by the limits above
        self._remaining = 0  # bytes of the current chunk that are still to come
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_lines: list[tuple[str, str]] = []

    @property
    def done(self) -> bool:
        """Whether the empty line after the last chunk and its trailers has come."""
        return self._state is _State.DONE

    @property
    def trailers(self) -> Fields:
        """The trailer fields so far; all of them once `done`."""
        return Fields(self._trailer_lines)

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of body in `data`, in order, none empty. Raises RequestRefused; the decoder is of no use afterwards."""
        if self._state is _State.DONE:
            self.rest += data
            return []
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._state is _State.DATA:
                piece = data[at : at + self._remaining]
                pieces.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                if not self._remaining:
                    self._state = _State.DATA_END
                continue
            step = self._take_line(data, at)
            if step < 0:
                self._pending = data[at:]
                break
            at = step
            if self._state is _State.DONE:
                self.rest = data[at:]
                break
        return pieces

    def _take_line(self, data: bytes, at: int) -> int:
        """Consume the line that begins at `at`; where the next byte is, or -1 when the line is not whole yet."""
        if self._state is _State.DATA_END:
            return self._take_data_end(data, at)
        limit = MAX_SIZE_LINE if self._state is _State.SIZE else MAX_TRAILER_BYTES - self._trailer_bytes
        found = data.find(b"\n", at, at + limit)
        if found < 0:
            if len(data) - at >= limit:
                raise RequestRefused("line of the chunked coding is too long", limit=limit)
            return -1
        if self._state is _State.SIZE:
            self._take_size(data, at, found + 1)
        else:
            self._take_trailer(data, at, found + 1)
        return found + 1

    def _take_data_end(self, data: bytes, at: int) -> int:
        following = data[at : at + 2]
        if following == b"\r\n":
            self._state = _State.SIZE
            return at + 2
        if following == b"\r":
            return -1
        raise RequestRefused("chunk data is not followed by CRLF")

    def _take_size(self, data: bytes, at: int, end: int) -> None:
        match = _SIZE_LINE.fullmatch(data, at, end)
        if match is None:
            raise RequestRefused("chunk size line is malformed", line=repr(data[at:end]))
        size = int(match[1], 16)
        if size > MAX_LENGTH:
            raise RequestRefused("chunk size is out of range", size=size)
        self._extension_bytes += len(match[2])
        if self._extension_bytes > MAX_EXTENSIONS:
            raise RequestRefused("too many chunk extensions", limit=MAX_EXTENSIONS)
        self._remaining = size
        self._state = _State.DATA if size else _State.TRAILERS

    def _take_trailer(self, data: bytes, at: int, end: int) -> None:
        if data[at:end] == b"\r\n":
            self._state = _State.DONE
            return
        if _FIELD_LINE.fullmatch(data, at, end) is None:
            line = data[at:end]
            fault = fault_in_field_line(line[:-2]) if line.endswith(b"\r\n") else "bare LF"
            raise RequestRefused("trailer field is malformed", fault=fault)
        self._trailer_bytes += end - at
        [(name, value)] = split_field_lines(data[at:end].decode("latin-1"))
        if name.lower().replace("_", "-") in FORBIDDEN_TRAILERS:
            raise RequestRefused("field must not be a trailer", name=name)
        self._trailer_lines.append((name, value))
        if len(self._trailer_lines) > MAX_TRAILERS:
            raise RequestRefused("too many trailer fields", limit=MAX_TRAILERS)


def encode_chunk(data: bytes) -> bytes:
    """`data` as one chunk; nothing for no data, because an empty chunk would end the message."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Fields) -> bytes:
    """The end of a chunked message with `trailers`. Raises ValueError for those that must not be sent so, or not at all."""
    if any(name.lower() in FORBIDDEN_TRAILERS for name, _ in trailers):
        raise ValueError("field must not be a trailer")
    return b"0\r\n" + encode_field_lines(trailers.lines) + b"\r\n"
