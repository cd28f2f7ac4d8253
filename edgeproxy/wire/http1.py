"""HTTP/1 heads: bytes to values and back (RFC 9112 sections 2 to 5).

Owns: the grammar of a head, judged twice: one strict pattern of our own over the whole of it, then llhttp. A request that the two
read differently is refused, because the origin may read it in a third way. Must not read bodies or hold connections; the empty
lines that may come before a request line are the connection's to skip.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import NoReturn

import httptools

from edgeproxy.errors import OriginMalformed, RequestRefused
from edgeproxy.wire import framing
from edgeproxy.wire.faults import fault_in_head
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import FIELD_LINE, TOKEN, VALUE, encode_field_lines, is_token, split_field_lines
from edgeproxy.wire.messages import Request, ResponseHead
from edgeproxy.wire.reasons import reason_phrase
from edgeproxy.wire.target import parse_host, parse_target, same_authority

__all__ = [
    "Limits",
    "decode_stored_head",
    "encode_request_head",
    "encode_response_head",
    "encode_stored_head",
    "oversized",
    "parse_request_head",
    "parse_response_head",
    "reason_phrase",
    "with_target",
]

TARGET = r'[!"$-~]++'
_REQUEST = re.compile(rf"({TOKEN}) ({TARGET}) HTTP/([0-9])\.([0-9])\r\n((?:{FIELD_LINE})*+)\r\n")
_RESPONSE = re.compile(rf"HTTP/(1)\.([0-9]) ([1-9][0-9]{{2}})(?: {VALUE})?\r\n((?:{FIELD_LINE})*+)\r\n")
_STORED = re.compile(rf"HTTP/1\.1 ([1-9][0-9]{{2}}) {VALUE}\r\n((?:{TOKEN}: [^\r\n\0]*+\r\n)*+)")
_STORED_LINES = re.compile(r"([^:]++): ([^\r]*+)\r\n")

MAX_METHOD = 32
_LLHTTP_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
UNDERSCORED_FRAMING = frozenset({"content_length", "transfer_encoding"})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much head a client may send: bytes of the whole head, number of field lines, bytes of the target."""

    head_bytes: int = 32768
    field_count: int = 100
    target_bytes: int = 16384


class _Tokens:
    """What llhttp saw: the target, then names and values in turn, and whether the message ended with its head."""

    __slots__ = ("complete", "pieces", "target")

    def __init__(self) -> None:
        self.target = b""
        self.pieces: list[bytes] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pieces += (name, value)

    def on_message_complete(self) -> None:
        self.complete = True


def parse_request_head(head: bytes, limits: Limits, *, scheme: str = "http") -> Request:
    """The request whose head is `head`, from the first byte of the request line to the end of the empty line.

    `scheme` is that of the connection. Raises RequestRefused: 400 malformed or ambiguous, 414 target too long, 417 expectation,
    421 absolute target with the other scheme, 431 too much head, 501 CONNECT or a coding that is not implemented, 505 version.
    """
    if len(head) > limits.head_bytes:
        raise oversized(head, limits)
    match = _REQUEST.fullmatch(head.decode("latin-1"))
    if match is None:
        _refuse_grammar(head, limits)
    method, target, major, minor, block = match.groups()
    if major != "1":
        raise RequestRefused("HTTP version is not supported", status=505, version=f"{major}.{minor}")
    if len(target) > limits.target_bytes:
        raise RequestRefused("target is too long", status=414, limit=limits.target_bytes)
    if len(method) > MAX_METHOD:
        raise RequestRefused("method is not implemented", status=501, method=method[:MAX_METHOD])
    lines = split_field_lines(block)
    if len(lines) > limits.field_count:
        raise RequestRefused("too many fields", status=431, limit=limits.field_count)
    version = (1, 0) if minor == "0" else (1, 1)  # RFC 9110 section 2.5: a higher minor version is served as the highest we know
    fields = Fields(lines)
    named = parse_target(method, target, scheme=scheme)
    authority, host = _authority(fields, version, scheme, named.authority, named.host)
    if "content_length" in fields or "transfer_encoding" in fields:
        # An origin behind CGI or WSGI sees "_" and "-" as one, and would frame the body by what we ignored.
        raise RequestRefused("field name imitates a framing field")
    length = framing.body_length(fields, version, method)
    _check_llhttp_agrees(head, method, target, minor, lines, length)
    options = framing.connection_options(fields)
    return Request(
        method,
        named.path,
        authority,
        host,
        version,
        framing.without_nominated(fields, options) if options else fields,
        length,
        framing.keeps_alive(options, version),
        framing.expects_continue(fields, version, length),
        framing.upgrade_asked(fields, options, method, version, length) if options else None,
        scheme,
    )


def with_target(known: Request, target: str) -> Request:
    """The request that differs from `known` in its target only."""
    return Request(
        known.method,
        target,
        known.authority,
        known.host,
        known.version,
        known.fields,
        known.body_length,
        known.keep_alive,
        known.expects_continue,
        known.upgrade,
        known.scheme,
    )


def _authority(fields: Fields, version: tuple[int, int], scheme: str, authority: str | None, host: str | None) -> tuple[str, str]:
    """Authority and host of the request; `authority` and `host` are those of an absolute target (RFC 9112 section 3.2)."""
    hosts = fields.all("host")
    if len(hosts) != 1:
        if hosts:
            raise RequestRefused("more than one host")
        if version >= (1, 1):
            raise RequestRefused("host is missing")
        return authority or "", host or ""
    named_by_field = parse_host(hosts[0])
    if authority is None or host is None:
        return named_by_field
    if not same_authority(authority, named_by_field[0], scheme):
        # RFC 9112 section 3.2.2 lets the target win; whoever relies on Host further on would still be misled.
        raise RequestRefused("host disagrees with the target", host=hosts[0][:128])
    return authority, host


def _check_llhttp_agrees(head: bytes, method: str, target: str, minor: str, lines: list[tuple[str, str]], length: int) -> None:
    """Refuse what llhttp refuses, or reads as another target, other fields, or another end of the message than we do."""
    if method not in _LLHTTP_METHODS or minor > "1":
        # llhttp knows a fixed list of methods and two versions; all that follows them must still read the same.
        stand_in = method if method in _LLHTTP_METHODS else "POST"
        head = b"%b %b HTTP/1.%b%b" % (
            stand_in.encode(),
            target.encode(),
            b"0" if minor == "0" else b"1",
            head[len(method) + len(target) + len(" HTTP/1.1 ") :],
        )
    tokens = _Tokens()
    try:
        httptools.HttpRequestParser(tokens).feed_data(head)
    except httptools.HttpParserUpgrade:
        tokens.complete = length == 0  # llhttp ends the message at any upgrade, with or without a body: no second opinion
    except httptools.HttpParserError as error:
        raise RequestRefused("head is not acceptable to the second parser", reason=str(error)) from error
    pieces: Iterable[bytes] = tokens.pieces
    ours = "\n".join(chain.from_iterable(lines)).encode("latin-1")
    if b"\n".join(pieces) != ours and b"\n".join(piece.rstrip(b" \t") for piece in pieces) != ours:
        raise RequestRefused("two parsers read different fields")
    if tokens.target != target.encode("latin-1") or tokens.complete != (length == 0):
        raise RequestRefused("two parsers read a different target or length")


def oversized(head: bytes, limits: Limits) -> RequestRefused:
    """The refusal of a head, whole or only begun, that is longer than `limits` allow: 414 when its target is, else 431."""
    line = head.partition(b"\r\n")[0]
    target = line.partition(b" ")[2].partition(b" ")[0]
    if len(target) > limits.target_bytes:
        return RequestRefused("target is too long", status=414, limit=limits.target_bytes)
    return RequestRefused("head is too large", status=431, limit=limits.head_bytes)


def _refuse_grammar(head: bytes, limits: Limits) -> NoReturn:
    """Refuse a head that does not match the grammar."""
    line = head.partition(b"\r\n")[0]
    if len(line) > limits.target_bytes + MAX_METHOD + len(" HTTP/1.1 "):
        raise RequestRefused("target is too long", status=414, limit=limits.target_bytes)
    raise RequestRefused(fault_in_head(head))


def encode_response_head(status: int, fields: Fields) -> bytes:
    """Status line, field lines and empty line. Raises ValueError for a status of other than three digits and unsafe fields."""
    return encode_stored_head(status, fields) + b"\r\n"


def encode_stored_head(status: int, fields: Fields) -> bytes:
    """Status line and field lines, each ended by CRLF, without the empty line: what a block's `head` is the hash of.

    Raises ValueError when a name is no token or a value holds CR, LF, NUL, or anything outside latin-1.
    """
    if not 100 <= status <= 999:
        raise ValueError(f"status out of range: {status}")
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("latin-1") + encode_field_lines(fields.lines)


def decode_stored_head(head: bytes) -> ResponseHead:
    """The inverse of `encode_stored_head`. Raises ValueError when `head` is not of that form.

    The reason phrase is read over, so that a later change of our table cannot make an old block unreadable.
    """
    match = _STORED.fullmatch(head.decode("latin-1"))
    if match is None:
        raise ValueError("stored head is not canonical")
    return ResponseHead(int(match[1]), Fields(_STORED_LINES.findall(match[2])))


def encode_request_head(method: str, target: str, fields: Fields) -> bytes:
    """A request head as the tunnel sends it to the origin. Raises ValueError for what would not be one request line."""
    if not is_token(method) or re.fullmatch(TARGET, target) is None:
        raise ValueError("method or target is malformed")
    return f"{method} {target} HTTP/1.1\r\n".encode() + encode_field_lines(fields.lines) + b"\r\n"


def parse_response_head(head: bytes) -> tuple[ResponseHead, tuple[int, int]]:
    """Status, fields and version of the response whose head is `head`, empty line included. Raises OriginMalformed."""
    match = _RESPONSE.fullmatch(head.decode("latin-1"))
    if match is None:
        raise OriginMalformed("response head is malformed", begins=repr(head[:64]))
    major, minor, status, block = match.groups()
    return ResponseHead(int(status), Fields(split_field_lines(block))), (int(major), int(minor))
