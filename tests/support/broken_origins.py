"""What broken or hostile origins answer, as data: each case by the rule it breaks. `GET /broken` gets `raw`; any other path
gets an answer of its own.

Used at the level of the origin client and through the whole edge. Must not know how either reads.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BrokenAnswer:
    """`raw` is sent as it is, then the connection is closed, reset, or kept. `late` is sent unasked, once the answer was
    taken and the connection is idle.

    `expect`: "error" (no usable head: an OriginError, never a response), "truncated" (a head, then a body that breaks off),
    or "ok" (one reading only; `body` is it). `reusable`: whether the connection may carry the next request.
    """

    name: str
    section: str
    raw: bytes
    after: Literal["close", "keep", "reset"]
    expect: Literal["error", "truncated", "ok"]
    body: bytes = b""
    late: bytes = b""
    method: str = "GET"
    reusable: bool = False


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: yes\r\n\r\nEVIL"
"""A whole answer that nobody asked for; its body must never reach anybody."""

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


def _head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((status, *lines, b"", body))


BROKEN: tuple[BrokenAnswer, ...] = (
    # both lengths, several lengths, bad lengths
    BrokenAnswer(
        "content-length and transfer-encoding",
        "RFC 9112 6.3",
        _head(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + EVIL),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "transfer-encoding before content-length",
        "RFC 9112 6.3",
        _head(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"3\r\nabc\r\n0\r\n\r\n"),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "two content-lengths that differ",
        "RFC 9110 8.6",
        _head(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "a content-length list that differs", "RFC 9110 8.6", _head(b"Content-Length: 5, 6", body=b"hello!"), "keep", "error"
    ),
    BrokenAnswer(
        "two equal content-lengths",
        "RFC 9110 8.6",
        _head(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
        "keep",
        "ok",
        body=b"hello",
        reusable=True,
    ),
    BrokenAnswer(
        "a content-length list of equals",
        "RFC 9110 8.6",
        _head(b"Content-Length: 5, 5", body=b"hello"),
        "keep",
        "ok",
        body=b"hello",
        reusable=True,
    ),
    BrokenAnswer("negative content-length", "RFC 9110 8.6", _head(b"Content-Length: -5", body=b"hello"), "keep", "error"),
    BrokenAnswer("content-length with a plus", "RFC 9110 8.6", _head(b"Content-Length: +5", body=b"hello"), "keep", "error"),
    BrokenAnswer("hexadecimal content-length", "RFC 9110 8.6", _head(b"Content-Length: 0x5", body=b"hello"), "keep", "error"),
    BrokenAnswer("content-length with an underscore", "RFC 9110 8.6", _head(b"Content-Length: 1_0"), "keep", "error"),
    BrokenAnswer("content-length in other digits", "RFC 9110 8.6", _head(b"Content-Length: \xb2"), "keep", "error"),
    BrokenAnswer("empty content-length", "RFC 9110 8.6", _head(b"Content-Length:", body=b"hello"), "close", "error"),
    BrokenAnswer(
        "content-length with an empty member", "RFC 9110 8.6", _head(b"Content-Length: 5,", body=b"hello"), "keep", "error"
    ),
    BrokenAnswer("content-length beyond 63 bits", "RFC 9110 8.6", _head(b"Content-Length: " + b"9" * 30), "keep", "error"),
    BrokenAnswer(
        "content-length that wraps 64 bits",
        "RFC 9110 8.6",
        _head(b"Content-Length: 18446744073709551621", body=b"hello"),
        "keep",
        "error",
    ),
    # transfer codings
    BrokenAnswer("unknown transfer coding", "RFC 9112 6.1", _head(b"Transfer-Encoding: gzip", body=b"hello"), "close", "error"),
    BrokenAnswer(
        "transfer coding before chunked",
        "RFC 9112 6.1",
        _head(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "chunked twice", "RFC 9112 6.1", _head(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), "keep", "error"
    ),
    BrokenAnswer(
        "chunked on two lines",
        "RFC 9112 6.1",
        _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "chunked, then identity",
        "RFC 9112 6.1",
        _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        "keep",
        "error",
    ),
    BrokenAnswer("misspelt chunked", "RFC 9112 6.1", _head(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), "keep", "error"),
    BrokenAnswer("quoted chunked", "RFC 9112 6.1", _head(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), "keep", "error"),
    BrokenAnswer("empty transfer-encoding", "RFC 9112 6.1", _head(b"Transfer-Encoding:", body=b"hello"), "close", "error"),
    BrokenAnswer(
        "chunked in HTTP/1.0",
        "RFC 9112 6.1",
        _head(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"),
        "close",
        "error",
    ),
    # chunk syntax
    BrokenAnswer(
        "chunk size that is no number",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"xyz\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "negative chunk size",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"-5\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk size with 0x",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"0x5\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk size beyond 64 bits",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "space before the chunk size",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b" 5\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk longer than its size",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"4\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk line ended by a bare LF",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"5\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk data ended by a bare LF",
        "RFC 9112 7.1",
        _head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk extension with a bare LF",
        "RFC 9112 7.1.1",
        _head(b"Transfer-Encoding: chunked", body=b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "trailer without a colon",
        "RFC 9112 7.1.2",
        _head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nbroken\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "framing in the trailers",
        "RFC 9110 6.5.1",
        _head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
        "keep",
        "truncated",
    ),
    BrokenAnswer(
        "chunk extension without end",
        "RFC 9112 7.1.1",
        _head(b"Transfer-Encoding: chunked", body=b"5;" + b"x" * 70_000),
        "keep",
        "truncated",
    ),
    # heads
    BrokenAnswer("obs-fold", "RFC 9112 5.2", _head(b"X-A: one", b" two", b"Content-Length: 5", body=b"hello"), "keep", "error"),
    BrokenAnswer(
        "obs-fold that hides a length",
        "RFC 9112 5.2",
        _head(b"X-A: one", b"\tContent-Length: 50", b"Content-Length: 5", body=b"hello"),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "line begins with a space", "RFC 9112 2.2", _head(b" X-A: one", b"Content-Length: 5", body=b"hello"), "keep", "error"
    ),
    BrokenAnswer("all lines ended by a bare LF", "RFC 9112 2.2", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "keep", "error"),
    BrokenAnswer(
        "one line ended by a bare LF",
        "RFC 9112 2.2",
        b"HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 5\r\n\r\nhello",
        "keep",
        "error",
    ),
    BrokenAnswer(
        "bare CR in a value", "RFC 9112 2.2", _head(b"X-A: one\rX-B: two", b"Content-Length: 5", body=b"hello"), "keep", "error"
    ),
    BrokenAnswer("NUL in a value", "RFC 9110 5.5", _head(b"X-A: a\0b", b"Content-Length: 5", body=b"hello"), "keep", "error"),
    BrokenAnswer("NUL in a name", "RFC 9110 5.1", _head(b"X-\0A: b", b"Content-Length: 5", body=b"hello"), "keep", "error"),
    BrokenAnswer(
        "control character in a value",
        "RFC 9110 5.5",
        _head(b"X-A: a\x01b", b"Content-Length: 5", body=b"hello"),
        "keep",
        "error",
    ),
    BrokenAnswer("space before the colon", "RFC 9112 5.1", _head(b"Content-Length : 5", body=b"hello"), "close", "error"),
    BrokenAnswer("space inside a name", "RFC 9110 5.1", _head(b"Content Length: 5", body=b"hello"), "close", "error"),
    BrokenAnswer("empty name", "RFC 9110 5.1", _head(b": 5", b"Content-Length: 5", body=b"hello"), "keep", "error"),
    BrokenAnswer("line without a colon", "RFC 9112 5", _head(b"broken", b"Content-Length: 5", body=b"hello"), "keep", "error"),
    BrokenAnswer(
        "head larger than the limit",
        "RFC 9110 5.4",
        _head(b"X-A: " + b"a" * 70_000, b"Content-Length: 5", body=b"hello"),
        "keep",
        "error",
    ),
    BrokenAnswer("head that never ends", "RFC 9110 5.4", OK + b"X-A: " + b"a" * 200_000, "keep", "error"),
    BrokenAnswer(
        "more fields than the limit",
        "RFC 9110 5.4",
        _head(*[b"X-A: 1"] * 1000, b"Content-Length: 5", body=b"hello"),
        "keep",
        "error",
    ),
    # status lines
    BrokenAnswer("status 99", "RFC 9110 15", _head(b"Content-Length: 0", status=b"HTTP/1.1 099 Low"), "keep", "error"),
    BrokenAnswer("status 600", "RFC 9110 15", _head(b"Content-Length: 0", status=b"HTTP/1.1 600 High"), "keep", "error"),
    BrokenAnswer("status of four digits", "RFC 9112 4", _head(b"Content-Length: 0", status=b"HTTP/1.1 2000 OK"), "keep", "error"),
    BrokenAnswer("status that is no number", "RFC 9112 4", _head(b"Content-Length: 0", status=b"HTTP/1.1 OK"), "keep", "error"),
    BrokenAnswer(
        "two spaces before the status", "RFC 9112 4", _head(b"Content-Length: 0", status=b"HTTP/1.1  200 OK"), "keep", "error"
    ),
    BrokenAnswer(
        "HTTP/2 in the status line", "RFC 9112 2.3", _head(b"Content-Length: 0", status=b"HTTP/2.0 200 OK"), "keep", "error"
    ),
    BrokenAnswer(
        "lower-case protocol name", "RFC 9112 2.3", _head(b"Content-Length: 0", status=b"http/1.1 200 OK"), "keep", "error"
    ),
    BrokenAnswer("empty line before the status line", "RFC 9112 4", b"\r\n" + HELLO, "keep", "error"),
    BrokenAnswer("HTTP/0.9: a bare body", "RFC 9112 2.3", b"<html>hello</html>", "close", "error"),
    BrokenAnswer("another protocol", "RFC 9112 2.3", b"SSH-2.0-OpenSSH_9.2\r\n", "keep", "error"),
    BrokenAnswer("random bytes", "RFC 9112 2.3", bytes(range(256)), "keep", "error"),
    BrokenAnswer("TLS alert", "RFC 9112 2.3", b"\x15\x03\x01\x00\x02\x02\x46", "close", "error"),
    BrokenAnswer("a request instead of an answer", "RFC 9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "keep", "error"),
    # interim responses and upgrades
    BrokenAnswer(
        "101 unasked",
        "RFC 9110 15.2.2",
        _head(b"Upgrade: websocket", b"Connection: upgrade", status=b"HTTP/1.1 101 Switching Protocols", body=EVIL),
        "keep",
        "error",
    ),
    BrokenAnswer(
        "interim response with a body",
        "RFC 9110 15.2",
        _head(b"Content-Length: 60", status=b"HTTP/1.1 103 Early Hints", body=EVIL) + HELLO,
        "keep",
        "error",
    ),
    BrokenAnswer("interim responses without end", "RFC 9110 15.2", b"HTTP/1.1 102 Processing\r\n\r\n" * 5000, "keep", "error"),
    BrokenAnswer("interim response, then the end", "RFC 9110 15.2", b"HTTP/1.1 103 Early Hints\r\n\r\n", "close", "error"),
    BrokenAnswer("interim response, then garbage", "RFC 9110 15.2", b"HTTP/1.1 100 Continue\r\n\r\ngarbage", "keep", "error"),
    # truncation
    BrokenAnswer("nothing at all", "RFC 9112 8", b"", "close", "error"),
    BrokenAnswer("reset at once", "RFC 9112 8", b"", "reset", "error"),
    BrokenAnswer("half a status line", "RFC 9112 8", b"HTTP/1.1 20", "close", "error"),
    BrokenAnswer("half a head", "RFC 9112 8", OK + b"Content-Le", "close", "error"),
    BrokenAnswer("silence", "RFC 9112 8", b"", "keep", "error"),
    BrokenAnswer("half a head, then silence", "RFC 9112 8", OK + b"X-A: ", "keep", "error"),
    BrokenAnswer("body shorter than content-length", "RFC 9112 8", OK + b"Content-Length: 10\r\n\r\nhello", "close", "truncated"),
    BrokenAnswer("head without its body", "RFC 9112 8", OK + b"Content-Length: 10\r\n\r\n", "close", "truncated"),
    BrokenAnswer("reset inside the body", "RFC 9112 8", OK + b"Content-Length: 10\r\n\r\nhello", "reset", "truncated"),
    BrokenAnswer("reset inside a close-delimited body", "RFC 9112 8", OK + b"\r\nhello", "reset", "truncated"),
    BrokenAnswer("silence inside the body", "RFC 9112 8", OK + b"Content-Length: 10\r\n\r\nhello", "keep", "truncated"),
    BrokenAnswer(
        "chunked body without its last chunk",
        "RFC 9112 8",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "close",
        "truncated",
    ),
    BrokenAnswer(
        "chunked body cut inside a chunk",
        "RFC 9112 8",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
        "close",
        "truncated",
    ),
    BrokenAnswer(
        "chunked body without its empty line",
        "RFC 9112 8",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "close",
        "truncated",
    ),
    # after the end
    BrokenAnswer("bytes after the end", "RFC 9112 9.2", HELLO + b"garbage", "keep", "ok", body=b"hello"),
    BrokenAnswer("an empty line after the end", "RFC 9112 9.2", HELLO + b"\r\n", "keep", "ok", body=b"hello"),
    BrokenAnswer("a second answer after the end", "RFC 9112 9.2", HELLO + EVIL, "keep", "ok", body=b"hello"),
    BrokenAnswer(
        "a second answer after the last chunk",
        "RFC 9112 9.2",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + EVIL,
        "keep",
        "ok",
        body=b"hello",
    ),
    BrokenAnswer("half an answer after the end", "RFC 9112 9.2", HELLO + EVIL[:30], "keep", "ok", body=b"hello"),
    BrokenAnswer("a second answer on the idle connection", "RFC 9112 9.2", HELLO, "keep", "ok", body=b"hello", late=EVIL),
    BrokenAnswer("half an answer on the idle connection", "RFC 9112 9.2", HELLO, "keep", "ok", body=b"hello", late=EVIL[:-2]),
    BrokenAnswer(
        "408 on the idle connection",
        "RFC 9110 15.5.9",
        HELLO,
        "keep",
        "ok",
        body=b"hello",
        late=b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    BrokenAnswer("garbage on the idle connection", "RFC 9112 9.2", HELLO, "keep", "ok", body=b"hello", late=b"\0\0\0"),
    BrokenAnswer(
        "connection: close, kept open",
        "RFC 9112 9.6",
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        "keep",
        "ok",
        body=b"hello",
    ),
    # answers that must not have a body
    BrokenAnswer("HEAD with a body", "RFC 9110 9.3.2", HELLO, "keep", "ok", method="HEAD"),
    BrokenAnswer(
        "HEAD with a length only", "RFC 9110 9.3.2", OK + b"Content-Length: 5\r\n\r\n", "keep", "ok", method="HEAD", reusable=True
    ),
    BrokenAnswer(
        "HEAD with chunked and a body",
        "RFC 9110 9.3.2",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "keep",
        "ok",
        method="HEAD",
    ),
    BrokenAnswer(
        "204 with a body",
        "RFC 9110 15.3.5",
        _head(b"Content-Length: 4", status=b"HTTP/1.1 204 No Content", body=b"EVIL"),
        "keep",
        "ok",
    ),
    BrokenAnswer(
        "204 that announces a body",
        "RFC 9110 15.3.5",
        _head(b"Content-Length: 76", status=b"HTTP/1.1 204 No Content"),
        "keep",
        "ok",
    ),
    BrokenAnswer(
        "204 with chunked", "RFC 9112 6.1", _head(b"Transfer-Encoding: chunked", status=b"HTTP/1.1 204 No Content"), "keep", "ok"
    ),
    BrokenAnswer(
        "304 with a body",
        "RFC 9110 15.4.5",
        _head(b"Content-Length: 4", status=b"HTTP/1.1 304 Not Modified", body=b"EVIL"),
        "keep",
        "ok",
    ),
    BrokenAnswer(
        "304 with a length only",
        "RFC 9110 15.4.5",
        _head(b"Content-Length: 4", status=b"HTTP/1.1 304 Not Modified"),
        "keep",
        "ok",
        reusable=True,
    ),
)
