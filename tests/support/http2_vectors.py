"""Malformed HTTP/2 as raw frames, as data (RFC 9113): nothing of it may reach an origin as an HTTP/1 request.

Owns: the table. Each vector is what a client sends behind its preface and SETTINGS; streams are numbered from 1, and 101 is free
for a request that shows whether the connection goes on. `then` says how it ends: the stream is reset, the connection is, or an
answer tells what was wrong. Blocks are written by the library `hpack`, which does not judge fields, or by hand.
"""

from dataclasses import dataclass
from typing import Literal

from hpack import Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OPENING = PREFACE + b"\0\0\0\4\0\0\0\0\0"

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11

Lines = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Vector:
    """`section` of RFC 9113 unless it names another one. `code`: of the reset or the GOAWAY, or the status of the answer."""

    name: str
    section: str
    raw: bytes
    then: Literal["reset", "goaway", "answer"]
    code: int


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(*lines: tuple[bytes, bytes]) -> bytes:
    """Without the dynamic table, so that vectors do not depend on each other."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(list(lines)))


METHOD, SCHEME, AUTHORITY, PATH = (
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b":path", b"/smuggled"),
)
GET = (b":method", b"GET")
PSEUDO = (METHOD, SCHEME, AUTHORITY, PATH)


def headers(lines: Lines, *, flags: int = END_HEADERS | END_STREAM, stream: int = 1) -> bytes:
    first, rest = (data := block(*lines))[:16384], data[16384:]
    if not rest:
        return frame(HEADERS, flags, stream, first)
    raw = frame(HEADERS, flags & ~END_HEADERS, stream, first)
    while len(rest) > 16384:
        raw, rest = raw + frame(CONTINUATION, 0, stream, rest[:16384]), rest[16384:]
    return raw + frame(CONTINUATION, END_HEADERS, stream, rest)


def good(path: bytes = b"/next", stream: int = 101) -> bytes:
    """A request that is well."""
    return headers((GET, SCHEME, AUTHORITY, (b":path", path)), stream=stream)


def _fields(name: str, section: str, *more: tuple[bytes, bytes], pseudo: Lines = PSEUDO) -> Vector:
    return Vector(name, section, headers((*pseudo, *more)), "reset", PROTOCOL_ERROR)


def _list(name: str, section: str, *lines: tuple[bytes, bytes]) -> Vector:
    return Vector(name, section, headers(lines), "reset", PROTOCOL_ERROR)


def _path(name: str, path: bytes, method: bytes = b"POST") -> Vector:
    return _list(name, "8.3.1", (b":method", method), SCHEME, AUTHORITY, (b":path", path))


def _authority(name: str, authority: bytes) -> Vector:
    return _list(name, "8.3.1", METHOD, SCHEME, (b":authority", authority), PATH)


def _body(name: str, length: bytes, *frames: bytes, section: str = "8.1.1") -> Vector:
    opening = headers((*PSEUDO, (b"content-length", length)), flags=END_HEADERS)
    return Vector(name, section, opening + b"".join(frames), "reset", PROTOCOL_ERROR)


def _trailers(name: str, *lines: tuple[bytes, bytes], flags: int = END_HEADERS | END_STREAM) -> Vector:
    raw = (
        headers((*PSEUDO, (b"content-length", b"5")), flags=END_HEADERS)
        + frame(DATA, 0, 1, b"hello")
        + headers(lines, flags=flags)
    )
    return Vector(name, "8.1", raw, "reset", PROTOCOL_ERROR)


def _goaway(name: str, section: str, raw: bytes, code: int = PROTOCOL_ERROR) -> Vector:
    return Vector(name, section, raw, "goaway", code)


def _answer(name: str, status: int, *lines: tuple[bytes, bytes]) -> Vector:
    return Vector(name, "RFC 9110", headers(lines), "answer", status)


_OPEN = headers(PSEUDO, flags=END_HEADERS)
_DONE = headers((GET, SCHEME, AUTHORITY, (b":path", b"/next")))

PSEUDO_FIELDS = (
    _list("method-missing", "8.3.1", SCHEME, AUTHORITY, PATH),
    _list("scheme-missing", "8.3.1", METHOD, AUTHORITY, PATH),
    _list("path-missing", "8.3.1", METHOD, SCHEME, AUTHORITY),
    _list("authority-and-host-missing", "8.3.1", METHOD, SCHEME, PATH),
    _list("no-fields-at-all", "8.3.1"),
    _list("method-twice", "8.3", METHOD, METHOD, SCHEME, AUTHORITY, PATH),
    _list("method-twice-differs", "8.3", GET, METHOD, SCHEME, AUTHORITY, PATH),
    _list("scheme-twice", "8.3", METHOD, SCHEME, SCHEME, AUTHORITY, PATH),
    _list("path-twice", "8.3", METHOD, SCHEME, AUTHORITY, PATH, (b":path", b"/")),
    _list("authority-twice", "8.3", METHOD, SCHEME, AUTHORITY, (b":authority", b"b.test"), PATH),
    _list("path-behind-a-field", "8.3", METHOD, SCHEME, AUTHORITY, (b"x", b"y"), PATH),
    _list("all-behind-a-field", "8.3", (b"x", b"y"), *PSEUDO),
    _fields("status-in-a-request", "8.3", pseudo=(*PSEUDO, (b":status", b"200"))),
    _fields("pseudo-unknown", "8.3", pseudo=(*PSEUDO, (b":smuggled", b"1"))),
    _fields("pseudo-without-a-name", "8.3", pseudo=(*PSEUDO, (b":", b"1"))),
    _fields("protocol-without-connect", "RFC 8441 4", pseudo=(*PSEUDO, (b":protocol", b"websocket"))),
    _list("connect-with-path", "8.5", (b":method", b"CONNECT"), SCHEME, AUTHORITY, PATH),
    _list("connect-without-authority", "8.5", (b":method", b"CONNECT")),
    _list("method-empty", "8.3.1", (b":method", b""), SCHEME, AUTHORITY, PATH),
    _list("method-with-a-space", "8.3.1", (b":method", b"POST /x"), SCHEME, AUTHORITY, PATH),
    _list("method-with-a-line", "8.3.1", (b":method", b"POST / HTTP/1.1\r\nX: y\r\n\r\nGET"), SCHEME, AUTHORITY, PATH),
    _list("method-with-a-bracket", "8.3.1", (b":method", b"G(T"), SCHEME, AUTHORITY, PATH),
    _list("scheme-unknown", "8.3.1", METHOD, (b":scheme", b"ftp"), AUTHORITY, PATH),
    _list("scheme-with-a-line", "8.3.1", METHOD, (b":scheme", b"https\r\nx: y"), AUTHORITY, PATH),
    _list("scheme-empty", "8.3.1", METHOD, (b":scheme", b""), AUTHORITY, PATH),
    _path("path-empty", b""),
    _path("path-without-slash", b"smuggled"),
    _path("path-absolute", b"https://b.test/smuggled"),
    _path("path-with-a-space", b"/a b"),
    _path("path-with-a-version", b"/ HTTP/1.1"),
    _path("path-with-a-second-request", b"/ HTTP/1.1\r\nHost: a.test\r\n\r\nGET /smuggled"),
    _path("path-with-a-nul", b"/a\0b"),
    _path("path-with-a-fragment", b"/a#b"),
    _path("path-with-a-high-byte", b"/\xe9"),
    _path("path-with-a-tab", b"/a\tb"),
    _path("path-asterisk-for-post", b"*"),
    _authority("authority-empty", b""),
    _authority("authority-with-user", b"b.test@a.test"),
    _authority("authority-with-path", b"a.test/x"),
    _authority("authority-with-a-line", b"a.test\r\nX: y"),
    _authority("authority-with-a-space", b"a.test b.test"),
    _authority("authority-list", b"a.test,b.test"),
    _authority("authority-port-no-number", b"a.test:80x"),
    _fields("host-differs", "8.3.1", (b"host", b"b.test")),
    _fields("host-twice", "8.3.1", (b"host", b"a.test"), (b"host", b"a.test")),
    _fields("host-with-a-line", "8.3.1", (b"host", b"a.test\r\nX: y")),
)

FIELDS = (
    _fields("name-in-capitals", "8.2.1", (b"X-Smuggled", b"1")),
    _fields("name-with-a-capital", "8.2.1", (b"content-Length", b"0")),
    _fields("name-empty", "8.2.1", (b"", b"1")),
    _fields("name-with-a-space", "8.2.1", (b"x y", b"1")),
    _fields("name-with-a-colon", "8.2.1", (b"x:y", b"1")),
    _fields("name-with-a-line", "8.2.1", (b"x: y\r\nz", b"1")),
    _fields("name-with-a-bare-lf", "8.2.1", (b"x\ny", b"1")),
    _fields("name-with-a-bare-cr", "8.2.1", (b"x\ry", b"1")),
    _fields("name-with-a-nul", "8.2.1", (b"x\0", b"1")),
    _fields("name-with-a-high-byte", "8.2.1", (b"x\xe9", b"1")),
    _fields("name-with-delete", "8.2.1", (b"x\x7f", b"1")),
    _fields("value-with-a-line", "8.2.1", (b"x", b"1\r\nTransfer-Encoding: chunked")),
    _fields("value-with-a-whole-request", "8.2.1", (b"x", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")),
    _fields("value-with-a-bare-lf", "8.2.1", (b"x", b"1\nContent-Length: 5")),
    _fields("value-with-a-bare-cr", "8.2.1", (b"x", b"1\ry: z")),
    _fields("value-with-a-nul", "8.2.1", (b"x", b"1\0")),
    _fields("value-with-an-escape", "8.2.1", (b"x", b"\x1b[1m")),
    _fields("value-space-in-front", "8.2.1", (b"x", b" 1")),
    _fields("value-tab-behind", "8.2.1", (b"x", b"1\t")),
    _fields("value-of-a-cookie-with-a-line", "8.2.3", (b"cookie", b"a=b"), (b"cookie", b"c\r\nx: y")),
    _fields("connection", "8.2.2", (b"connection", b"close")),
    _fields("connection-names-a-length", "8.2.2", (b"connection", b"content-length")),
    _fields("keep-alive", "8.2.2", (b"keep-alive", b"1")),
    _fields("proxy-connection", "8.2.2", (b"proxy-connection", b"keep-alive")),
    _fields("transfer-encoding", "8.2.2", (b"transfer-encoding", b"chunked")),
    _fields("transfer-encoding-identity", "8.2.2", (b"transfer-encoding", b"identity")),
    _fields("transfer-encoding-with-underscore", "8.2.2", (b"transfer_encoding", b"chunked")),
    _fields("content-length-with-underscore", "8.2.2", (b"content_length", b"5")),
    _fields("upgrade", "8.2.2", (b"upgrade", b"websocket")),
    _fields("te-gzip", "8.2.2", (b"te", b"gzip")),
    _fields("te-trailers-and-more", "8.2.2", (b"te", b"trailers, gzip")),
)

LENGTHS = (
    _fields("length-without-a-body", "8.1.1", (b"content-length", b"5")),
    _fields("length-twice", "8.1.1", (b"content-length", b"0"), (b"content-length", b"0")),
    _fields("length-plus", "8.1.1", (b"content-length", b"+0")),
    _fields("length-hex", "8.1.1", (b"content-length", b"0x0")),
    _fields("length-empty", "8.1.1", (b"content-length", b"")),
    _fields("length-list", "8.1.1", (b"content-length", b"0, 0")),
    _fields("length-leading-zero", "8.1.1", (b"content-length", b"00")),
    _fields("length-absurd", "8.1.1", (b"content-length", b"9" * 40)),
    _body("body-shorter", b"10", frame(DATA, END_STREAM, 1, b"hello")),
    _body("body-longer", b"5", frame(DATA, END_STREAM, 1, b"hello world")),
    _body("body-longer-by-a-frame", b"5", frame(DATA, 0, 1, b"hello"), frame(DATA, END_STREAM, 1, b"GET /smuggled HTTP/1.1\r\n")),
    _body("body-longer-and-open", b"5", frame(DATA, 0, 1, b"hello"), frame(DATA, 0, 1, b"!")),
    _body("body-missing", b"5", frame(DATA, END_STREAM, 1)),
    _body("body-of-a-length-of-nothing", b"0", frame(DATA, END_STREAM, 1, b"GET /smuggled HTTP/1.1\r\n\r\n")),
    _body("body-of-a-length-of-nothing-open", b"0", frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\n\r\n")),
    _body("body-shorter-with-trailers", b"10", frame(DATA, 0, 1, b"hello"), headers(((b"x-sum", b"1"),))),
    _body("body-padded-to-its-length", b"10", frame(DATA, END_STREAM | PADDED, 1, b"\4hello\0\0\0\0")),
    Vector(
        "body-of-trace",
        "RFC 9110 9.3.8",
        headers(((b":method", b"TRACE"), SCHEME, AUTHORITY, PATH), flags=END_HEADERS) + frame(DATA, END_STREAM, 1, b"x"),
        "reset",
        PROTOCOL_ERROR,
    ),
)

TRAILERS = (
    _trailers("trailers-with-a-pseudo-field", (b":path", b"/smuggled")),
    _trailers("trailers-with-a-status", (b":status", b"200")),
    _trailers("trailers-in-capitals", (b"X-Sum", b"1")),
    _trailers("trailers-with-a-line", (b"x-sum", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")),
    _trailers("trailers-with-a-length", (b"content-length", b"5")),
    _trailers("trailers-with-a-coding", (b"transfer-encoding", b"chunked")),
    _trailers("trailers-with-a-host", (b"host", b"b.test")),
    _trailers("trailers-with-a-connection", (b"connection", b"close")),
    _trailers("trailers-that-do-not-end", (b"x-sum", b"1"), flags=END_HEADERS),
)

_HALF = headers(PSEUDO, flags=END_STREAM)

STREAMS = (
    Vector("data-behind-the-end", "5.1", _DONE + frame(DATA, END_STREAM, 1, b"x"), "reset", STREAM_CLOSED),
    Vector("headers-behind-the-end", "5.1", _DONE + headers(PSEUDO), "reset", STREAM_CLOSED),
    Vector("window-of-nothing", "6.9", _OPEN + frame(WINDOW_UPDATE, 0, 1, bytes(4)), "reset", PROTOCOL_ERROR),
    Vector("window-too-large", "6.9.1", _OPEN + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), "reset", FLOW_CONTROL_ERROR),
    Vector("priority-of-a-wrong-size", "6.3", _OPEN + frame(PRIORITY, 0, 1, bytes(4)), "reset", FRAME_SIZE_ERROR),
)

CONNECTION = (
    _goaway("stream-zero-headers", "6.2", headers(PSEUDO, stream=0)),
    _goaway("stream-zero-data", "6.1", frame(DATA, END_STREAM, 0, b"x")),
    _goaway("stream-zero-reset", "6.4", frame(RST_STREAM, 0, 0, bytes(4))),
    _goaway("stream-zero-continuation", "6.10", frame(CONTINUATION, END_HEADERS, 0, b"")),
    _goaway("stream-even", "5.1.1", headers(PSEUDO, stream=2)),
    _goaway("stream-goes-back", "5.1.1", good(stream=5) + headers(PSEUDO, stream=3)),
    _goaway("data-of-an-idle-stream", "5.1", frame(DATA, END_STREAM, 1, b"x")),
    _goaway("reset-of-an-idle-stream", "6.4", frame(RST_STREAM, 0, 1, bytes(4))),
    _goaway("window-of-an-idle-stream", "5.1", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")),
    _goaway("continuation-of-nothing", "6.10", frame(CONTINUATION, END_HEADERS, 1, b"")),
    _goaway("continuation-behind-the-end", "6.10", _OPEN + frame(CONTINUATION, END_HEADERS, 1, b"")),
    _goaway("continuation-of-another-stream", "6.10", _HALF + frame(CONTINUATION, END_HEADERS, 3, b"")),
    _goaway("data-inside-a-block", "6.10", _HALF + frame(DATA, END_STREAM, 1, b"x")),
    _goaway("headers-inside-a-block", "6.10", _HALF + headers(PSEUDO, stream=3)),
    _goaway("ping-inside-a-block", "6.10", _HALF + frame(PING, 0, 0, bytes(8))),
    _goaway("unknown-inside-a-block", "6.10", _HALF + frame(99, 0, 0)),
    _goaway("push-promise", "8.4", frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + block(*PSEUDO))),
    _goaway("padding-longer-than-data", "6.1", _OPEN + frame(DATA, PADDED, 1, b"\5abc")),
    _goaway("padding-longer-than-headers", "6.2", frame(HEADERS, PADDED | END_HEADERS, 1, b"\xff" + block(*PSEUDO))),
    _goaway("padding-without-a-length", "6.1", _OPEN + frame(DATA, PADDED, 1)),
    _goaway("headers-too-short-for-priority", "6.2", frame(HEADERS, END_HEADERS | PRIORITISED, 1, b"\0"), FRAME_SIZE_ERROR),
    _goaway(
        "block-of-garbage",
        "4.3",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        COMPRESSION_ERROR,
    ),
    _goaway("block-cut-off", "4.3", frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*PSEUDO)[:-3]), COMPRESSION_ERROR),
    _goaway("block-with-index-zero", "RFC 7541 6.1", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"), COMPRESSION_ERROR),
    _goaway(
        "block-with-a-large-table",
        "RFC 7541 6.3",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x03"),
        COMPRESSION_ERROR,
    ),
    _goaway(
        "block-with-bad-huffman",
        "RFC 7541 5.2",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x81\xff\x81\xff"),
        COMPRESSION_ERROR,
    ),
    _goaway(
        "block-with-a-late-table-size",
        "RFC 7541 4.2",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*PSEUDO) + b"\x20"),
        COMPRESSION_ERROR,
    ),
    _goaway("frame-too-large", "4.2", frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR),
    _goaway("reset-of-a-wrong-size", "6.4", _OPEN + frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    _goaway("settings-of-a-wrong-size", "6.5", frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    _goaway("settings-acknowledged-with-content", "6.5", frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    _goaway("settings-of-a-stream", "6.5", frame(SETTINGS, 0, 1)),
    _goaway("settings-push-of-two", "6.5.2", frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2")),
    _goaway("settings-window-too-large", "6.5.2", frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), FLOW_CONTROL_ERROR),
    _goaway("settings-frame-too-small", "6.5.2", frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff")),
    _goaway("settings-frame-too-large", "6.5.2", frame(SETTINGS, 0, 0, b"\0\5\1\0\0\0")),
    _goaway(
        "settings-overflow-a-window",
        "6.9.2",
        _OPEN + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0") + frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff"),
        FLOW_CONTROL_ERROR,
    ),
    _goaway("ping-of-a-wrong-size", "6.7", frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    _goaway("ping-of-a-stream", "6.7", frame(PING, 0, 1, bytes(8))),
    _goaway("goaway-of-a-stream", "6.8", frame(GOAWAY, 0, 1, bytes(8))),
    _goaway("goaway-too-short", "6.8", frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    _goaway("window-of-a-wrong-size", "6.9", frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    _goaway("window-of-nothing-for-all", "6.9", frame(WINDOW_UPDATE, 0, 0, bytes(4))),
    _goaway("window-too-large-for-all", "6.9.1", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
    _goaway("priority-of-no-stream", "6.3", frame(PRIORITY, 0, 0, bytes(5))),
    _goaway(
        "list-of-megabytes",
        "10.5.1",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\1x\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 12000),
        ENHANCE_YOUR_CALM,
    ),
    _goaway(
        "block-without-end",
        "10.5.1",
        frame(HEADERS, 0, 1, block(*PSEUDO)) + frame(CONTINUATION, 0, 1, b"\0\1x\1y" * 3000) * 10,
        ENHANCE_YOUR_CALM,
    ),
)

ANSWERS = (
    _answer("target-too-long", 414, METHOD, SCHEME, AUTHORITY, (b":path", b"/" + b"a" * 16384)),
    _answer("fields-too-many", 431, *PSEUDO, *(((b"x-%d" % number), b"1") for number in range(101))),
    _answer("fields-too-large", 431, *PSEUDO, *((b"x-%d" % number, b"1" * 4000) for number in range(9))),
    _answer("scheme-of-another-connection", 421, METHOD, (b":scheme", b"http"), AUTHORITY, PATH),
    _answer("method-too-long", 501, (b":method", b"A" * 33), SCHEME, AUTHORITY, PATH),
    _answer("connect", 501, (b":method", b"CONNECT"), (b":authority", b"a.test:80")),
    Vector(
        "connect-protocol-unknown",
        "RFC 8441 4",
        headers(((b":method", b"CONNECT"), (b":protocol", b"h2c"), SCHEME, AUTHORITY, PATH), flags=END_HEADERS),
        "answer",
        501,
    ),
    Vector(
        "expectation-unknown",
        "RFC 9110 10.1.1",
        headers((*PSEUDO, (b"expect", b"200-maybe"), (b"content-length", b"5")), flags=END_HEADERS),
        "answer",
        417,
    ),
)

VECTORS = (*PSEUDO_FIELDS, *FIELDS, *LENGTHS, *TRAILERS, *STREAMS, *CONNECTION, *ANSWERS)
