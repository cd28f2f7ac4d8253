"""Raw requests that two parsers might read differently, as data (RFC 9112, RFC 9110).

Owns: the table. `understood` are the requests that may be taken out of `raw`, in order, exactly so; `then` says what follows:
"refused": an answer of 400 or above and the end of the connection; "closed": the end; "open": the next request may be sent.
Used at the level of the connection and through the whole edge to an origin that records bytes; every host is `a.test`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Understood:
    """One request: nothing else may be read out of the bytes."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Vector:
    """`section` of RFC 9112 unless it names another one."""

    name: str
    section: str
    raw: bytes
    understood: tuple[Understood, ...]
    then: Literal["refused", "closed", "open"]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
_ROOT = Understood("GET", "/")
_HELLO = Understood("POST", "/", b"hello")
_BARE = Understood("POST", "/")
_NEXT = Understood("GET", "/next")
_NEXT_RAW = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"


def _head(*fields: bytes, line: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: a.test\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def _refused(name: str, section: str, raw: bytes, *before: Understood) -> Vector:
    return Vector(name, section, raw, before, "refused")


def _open(name: str, section: str, raw: bytes, *understood: Understood) -> Vector:
    return Vector(name, section, raw, understood, "open")


def _closed(name: str, section: str, raw: bytes, *understood: Understood) -> Vector:
    return Vector(name, section, raw, understood, "closed")


def _length(name: str, value: bytes, body: bytes = b"hello") -> Vector:
    return _refused(name, "6.2", _head(b"Content-Length:" + value) + body)


def _coding(name: str, *fields: bytes) -> Vector:
    return _refused(name, "6.1", _head(*fields) + b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED)


def _chunks(name: str, body: bytes) -> Vector:
    return _refused(name, "7.1", _head(b"Transfer-Encoding: chunked") + body + SMUGGLED)


def _chunked(name: str, body: bytes) -> Vector:
    return _open(name, "7.1", _head(b"Transfer-Encoding: chunked") + body + _NEXT_RAW, _HELLO, _NEXT)


def _line(name: str, section: str, line: bytes) -> Vector:
    return _refused(name, section, _head(line=line))


LENGTHS = (
    _refused("length-and-chunked", "6.3", _head(b"Content-Length: 6", b"Transfer-Encoding: chunked") + b"0\r\n\r\nG"),
    _refused("chunked-and-length", "6.3", _head(b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"5c\r\n" + SMUGGLED),
    _refused(
        "zero-length-and-chunked", "6.3", _head(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED
    ),
    _refused("two-lengths-that-differ", "6.3", _head(b"Content-Length: 0", b"Content-Length: 44") + SMUGGLED),
    _refused("two-lengths-alike", "6.3", _head(b"Content-Length: 5", b"Content-Length: 5") + b"hello"),
    _length("length-list", b" 5, 5"),
    _length("length-list-that-differs", b" 0, 5"),
    _length("length-plus", b" +5"),
    _length("length-minus", b" -5"),
    _length("length-hex", b" 0x5"),
    _length("length-with-space-inside", b" 5 5"),
    _length("length-fraction", b" 5.0"),
    _length("length-exponent", b" 5e0"),
    _length("length-empty", b""),
    _length("length-leading-zero", b" 05"),
    _length("length-underscore", b" 0_5"),
    _length("length-overflows-64-bits", b" 18446744073709551621"),
    _length("length-absurd", b" " + b"9" * 200),
    _length("length-superscript-digit", b" \xb2"),
    _length("length-semicolon", b" 5;"),
    _length("length-quoted", b' "5"'),
    _length("length-vertical-tab", b" \x0b5"),
    _length("length-nul", b" 5\x00"),
    _length("length-bare-cr", b" 5\r"),
    _refused("length-space-before-colon", "5.1", _head(b"Content-Length : 5") + b"hello"),
    _refused("length-tab-before-colon", "5.1", _head(b"Content-Length\t: 5") + b"hello"),
    _refused("length-with-underscore-in-the-name", "5", _head(b"Content_Length: 44") + SMUGGLED),
    _open("length-after-a-tab", "5", _head(b"Content-Length:\t5") + b"hello" + _NEXT_RAW, _HELLO, _NEXT),
    _open("length-in-capitals", "5", _head(b"CONTENT-LENGTH: 5") + b"hello" + _NEXT_RAW, _HELLO, _NEXT),
    _open("length-zero-then-a-request", "6.3", _head(b"Content-Length: 0") + _NEXT_RAW, _BARE, _NEXT),
    _open("no-length-is-no-body", "6.3", _head() + _NEXT_RAW, _BARE, _NEXT),
    _open(
        "a-get-may-have-a-body",
        "RFC 9110 9.3.1",
        _head(b"Content-Length: 42", line=b"GET / HTTP/1.1") + SMUGGLED.ljust(42)[:42] + _NEXT_RAW,
        Understood("GET", "/", SMUGGLED.ljust(42)[:42]),
        _NEXT,
    ),
)

CODINGS = (
    _coding("coding-unknown", b"Transfer-Encoding: xchunked"),
    _coding("coding-twice-chunked", b"Transfer-Encoding: chunked, chunked"),
    _coding("coding-gzip-then-chunked", b"Transfer-Encoding: gzip, chunked"),
    _coding("coding-chunked-not-last", b"Transfer-Encoding: chunked, gzip"),
    _coding("coding-identity", b"Transfer-Encoding: identity"),
    _coding("coding-chunked-then-identity", b"Transfer-Encoding: chunked, identity"),
    _coding("coding-on-two-lines", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    _coding("coding-chunked-on-two-lines", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    _coding("coding-quoted", b'Transfer-Encoding: "chunked"'),
    _coding("coding-vertical-tab", b"Transfer-Encoding: \x0bchunked"),
    _coding("coding-form-feed-behind", b"Transfer-Encoding: chunked\x0c"),
    _coding("coding-nul", b"Transfer-Encoding: chunked\x00"),
    _coding("coding-with-parameter", b"Transfer-Encoding: chunked;q=1"),
    _coding("coding-empty-member-first", b"Transfer-Encoding: ,chunked"),
    _coding("coding-empty-member-last", b"Transfer-Encoding: chunked,"),
    _coding("coding-empty", b"Transfer-Encoding:"),
    _coding("coding-no-break-space", b"Transfer-Encoding: \xa0chunked"),
    _coding("coding-space-before-colon", b"Transfer-Encoding : chunked"),
    _coding("coding-folded", b"Transfer-Encoding:\r\n chunked"),
    _coding("coding-folded-into-another-field", b"X: y\r\n Transfer-Encoding: chunked"),
    _coding("coding-with-underscore-in-the-name", b"Transfer_Encoding: chunked"),
    _coding("coding-behind-a-bare-lf", b"X: y\nTransfer-Encoding: chunked"),
    _coding("coding-behind-a-bare-cr", b"X: y\rTransfer-Encoding: chunked"),
    _refused(
        "coding-in-http-1.0",
        "6.1",
        _head(b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST / HTTP/1.0") + b"5\r\nhello\r\n0\r\n\r\n",
    ),
    _open(
        "coding-in-any-case",
        "7",
        _head(b"tRANSFER-eNCODING: cHuNkEd") + b"5\r\nhello\r\n0\r\n\r\n" + _NEXT_RAW,
        _HELLO,
        _NEXT,
    ),
    _refused(
        "coding-named-by-connection", "RFC 9110 7.6.1", _head(b"Connection: content-length", b"Content-Length: x") + SMUGGLED
    ),
    _open(
        "length-named-by-connection",
        "RFC 9110 7.6.1",
        _head(b"Connection: Content-Length", b"Content-Length: 5") + b"hello" + _NEXT_RAW,
        _HELLO,
        _NEXT,
    ),
)

CHUNKS = (
    _chunks("chunk-size-0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-space-behind", b"5 \r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-space-before", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-tab-behind", b"5\t\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-missing", b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-no-hex", b"g\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-overflows-64-bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-many-zeros", b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-bare-lf", b"5\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-bare-cr", b"5\rhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-cr-cr-lf", b"5\r\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-data-without-crlf", b"5\r\nhello0\r\n\r\n"),
    _chunks("chunk-data-too-long", b"5\r\nhelloX\r\n0\r\n\r\n"),
    _chunks("chunk-data-bare-lf-behind", b"5\r\nhello\n0\r\n\r\n"),
    _chunks("chunk-data-other-bytes-for-crlf", b"5\r\nhelloXX0\r\n\r\n"),
    _chunks("chunk-extension-bare-lf", b"5;a\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension-bare-cr", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension-lf-inside", b"5;x\nxx\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension-nul", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension-without-a-name", b"5;\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension-quote-left-open", b'5;a="\r\nhello\r\n0\r\n\r\n'),
    _chunks("chunk-extension-quoted-line-end", b'5;a="b\r\nhello"\r\n0\r\n\r\n'),
    _chunks("chunk-extension-endless", b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-last-bare-lf", b"5\r\nhello\r\n0\n\r\n"),
    _chunks("chunk-end-bare-lf", b"5\r\nhello\r\n0\r\n\n"),
    _chunks("trailer-without-colon", b"5\r\nhello\r\n0\r\nX\r\n\r\n"),
    _chunks("trailer-space-before-colon", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
    _chunks("trailer-bare-lf", b"5\r\nhello\r\n0\r\nX: y\n\r\n"),
    _chunks("trailer-folded", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    _chunks("trailer-names-a-length", b"5\r\nhello\r\n0\r\nContent-Length: 44\r\n\r\n"),
    _chunks("trailer-names-a-coding", b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    _chunks("trailer-names-a-host", b"5\r\nhello\r\n0\r\nHost: b.test\r\n\r\n"),
    _chunks("trailer-with-nul", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n"),
    _chunked("chunks-plain", b"5\r\nhello\r\n0\r\n\r\n"),
    _chunked("chunks-of-one", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"),
    _chunked("chunk-size-leading-zeros", b"0005\r\nhello\r\n000\r\n\r\n"),
    _chunked("chunk-extension", b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n"),
    _chunked("chunk-extension-quoted", b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
    _chunked("trailer-plain", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
    _open(
        "chunk-data-that-looks-like-an-end",
        "7.1",
        _head(b"Transfer-Encoding: chunked") + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n" + _NEXT_RAW,
        Understood("POST", "/", b"0\r\n\r\n"),
        _NEXT,
    ),
)

LINE_ENDS = (
    _refused("request-line-bare-lf", "2.2", b"GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
    _refused("field-line-bare-lf", "2.2", b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
    _refused("all-lines-bare-lf", "2.2", b"GET / HTTP/1.1\nHost: a.test\n\n"),
    _refused("head-end-bare-lf", "2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n\n" + SMUGGLED),
    _refused("lines-bare-cr", "2.2", b"GET / HTTP/1.1\rHost: a.test\r\r" + SMUGGLED),
    _refused("value-bare-cr", "2.2", _head(b"X: a\rb")),
    _refused("line-cr-cr-lf", "2.2", b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
    _refused("value-nul", "RFC 9110 5.5", _head(b"X: a\x00b")),
    _refused("value-escape", "RFC 9110 5.5", _head(b"X: a\x1bb")),
    _refused("leading-bare-lf", "2.2", b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    _refused("leading-bare-cr", "2.2", b"\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    _refused("leading-space", "2.2", b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    _refused("leading-empty-lines-without-end", "2.2", b"\r\n" * 50 + _NEXT_RAW),
    _open("leading-empty-line", "2.2", b"\r\n" + _NEXT_RAW, _NEXT),
    _open("empty-line-between-requests", "2.2", _head(b"Content-Length: 5") + b"hello\r\n" + _NEXT_RAW, _HELLO, _NEXT),
)

NAMES = (
    _refused("name-empty", "5", _head(b": y")),
    _refused("name-with-space", "5.1", _head(b"X Y: z")),
    _refused("name-space-before-colon", "5.1", _head(b"X : y")),
    _refused("name-with-bracket", "5", _head(b"X[0]: y")),
    _refused("name-with-nul", "5", _head(b"X\x00: y")),
    _refused("name-not-ascii", "5", _head(b"\xe9: y")),
    _refused("line-without-colon", "5", _head(b"X")),
    _refused("folded-value", "5.2", _head(b"X: y\r\n z")),
    _refused("folded-first-line", "2.2", b"GET / HTTP/1.1\r\n Host: a.test\r\nHost: a.test\r\n\r\n"),
    _refused("folded-host", "5.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n X: y\r\n\r\n"),
)

TARGETS = (
    _refused("host-missing", "3.2", _head(host=b"")),
    _refused("host-twice", "3.2", _head(b"Host: b.test")),
    _refused("host-twice-alike", "3.2", _head(b"Host: a.test")),
    _refused("host-space-before-colon", "5.1", _head(host=b"Host : a.test\r\n")),
    _refused("host-list", "3.2", _head(host=b"Host: a.test, b.test\r\n")),
    _refused("host-with-path", "3.2", _head(host=b"Host: a.test/x\r\n")),
    _refused("host-with-user", "3.2", _head(host=b"Host: b.test@a.test\r\n")),
    _refused("host-port-no-number", "3.2", _head(host=b"Host: a.test:80x\r\n")),
    _refused("absolute-target-of-another-host", "3.2.2", _head(line=b"GET http://b.test/ HTTP/1.1")),
    _refused("absolute-target-with-user", "3.2.2", _head(line=b"GET http://a.test@b.test/ HTTP/1.1")),
    _refused("absolute-target-other-scheme", "3.2.2", _head(line=b"GET ftp://a.test/ HTTP/1.1")),
    _open("absolute-target", "3.2.2", _head(line=b"GET http://a.test/ HTTP/1.1") + _NEXT_RAW, _ROOT, _NEXT),
    _line("target-with-space", "3.2", b"GET /a b HTTP/1.1"),
    _line("target-with-a-second-request-line", "3", b"GET / HTTP/1.1 GET /smuggled HTTP/1.1"),
    _line("target-with-fragment", "3.2.1", b"GET /#a HTTP/1.1"),
    _line("target-without-slash", "3.2.1", b"GET a HTTP/1.1"),
    _line("target-missing", "3", b"GET HTTP/1.1"),
    _line("target-with-tab", "3", b"GET\t/ HTTP/1.1"),
    _line("target-with-high-byte", "3.2", b"GET /\xe9 HTTP/1.1"),
    _line("target-with-delete", "3.2", b"GET /\x7f HTTP/1.1"),
    _line("two-spaces", "3", b"GET  / HTTP/1.1"),
    _line("asterisk-for-get", "3.2.4", b"GET * HTTP/1.1"),
    _line("connect", "3.2.3", b"CONNECT a.test:80 HTTP/1.1"),
    _line("method-with-bracket", "RFC 9110 9.1", b"G(T / HTTP/1.1"),
    _line("version-lower-case", "2.3", b"GET / http/1.1"),
    _line("version-two-digits", "2.3", b"GET / HTTP/1.10"),
    _line("version-no-dot", "2.3", b"GET / HTTP/11"),
    _line("version-2", "2.3", b"GET / HTTP/2.0"),
    _refused("version-0.9", "2.3", b"GET /\r\n"),
    _refused("preface-of-http-2", "RFC 9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED),
    _refused("client-hello", "2.2", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    _open(
        "encoded-line-ends-in-the-target",
        "RFC 3986 2.1",
        _head(line=b"GET /%0d%0aX:%20y HTTP/1.1") + _NEXT_RAW,
        Understood("GET", "/%0d%0aX:%20y"),
        _NEXT,
    ),
)

PIPELINED = (
    _open("request-behind-a-body", "9.3.2", _head(b"Content-Length: 5") + b"hello" + _NEXT_RAW, _HELLO, _NEXT),
    _open("request-behind-a-request", "9.3.2", _head(line=b"GET / HTTP/1.1") + _NEXT_RAW, _ROOT, _NEXT),
    _refused("garbage-behind-a-body", "9.3.2", _head(b"Content-Length: 5") + b"hello\x00\x01" + SMUGGLED, _HELLO),
    _refused("body-longer-than-its-length", "6.3", _head(b"Content-Length: 5") + b"hello world\r\n" + SMUGGLED, _HELLO),
    _refused(
        "bad-request-behind-a-good-one", "9.3.2", _head(line=b"GET / HTTP/1.1") + b"GET /x HTTP/1.1\r\n\r\n" + SMUGGLED, _ROOT
    ),
    _closed("request-behind-a-close", "9.6", _head(b"Connection: close", line=b"GET / HTTP/1.1") + SMUGGLED, _ROOT),
    _closed("request-behind-a-close-in-a-list", "9.6", _head(b"Connection: x, CLOSE", line=b"GET / HTTP/1.1") + SMUGGLED, _ROOT),
    _closed("request-behind-http-1.0", "9.3", _head(line=b"GET / HTTP/1.0") + SMUGGLED, _ROOT),
    _open(
        "request-behind-a-kept-http-1.0",
        "9.3",
        _head(b"Connection: keep-alive", line=b"GET / HTTP/1.0") + _NEXT_RAW,
        _ROOT,
        _NEXT,
    ),
    _open(
        "request-behind-an-upgrade-to-h2c",
        "RFC 9110 7.8",
        _head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", line=b"GET / HTTP/1.1")
        + _NEXT_RAW,
        _ROOT,
        _NEXT,
    ),
    _open(
        "body-sent-without-waiting-for-100",
        "RFC 9110 10.1.1",
        _head(b"Expect: 100-continue", b"Content-Length: 5") + b"hello" + _NEXT_RAW,
        _HELLO,
        _NEXT,
    ),
    _refused("expectation-unknown", "RFC 9110 10.1.1", _head(b"Expect: 200-maybe", b"Content-Length: 44") + SMUGGLED),
)

VECTORS = (*LENGTHS, *CODINGS, *CHUNKS, *LINE_ENDS, *NAMES, *TARGETS, *PIPELINED)
