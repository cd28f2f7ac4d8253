"""Requests out of the field lists of HTTP/2 (RFC 9113 section 8), by rules that let none become two in HTTP/1.

Owns: what a list of decoded fields means as a request, as trailers, and which fields a response may carry. Shares target, host,
length and expectation with HTTP/1 (`wire.target`, `wire.framing`). Pure: knows neither frames nor compression nor streams.

Two kinds of no. StreamMalformed: what section 8.1.1 calls malformed, and whatever could be read otherwise once it is HTTP/1; the
stream is reset. RequestRefused: understood, but more than is taken or not done here; it gets an answer, as over HTTP/1.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha1

from edgeproxy.errors import RequestRefused, StreamMalformed
from edgeproxy.wire import framing
from edgeproxy.wire.chunked import FORBIDDEN_TRAILERS, MAX_TRAILER_BYTES, MAX_TRAILERS
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import is_token
from edgeproxy.wire.http1 import MAX_METHOD, TARGET, UNDERSCORED_FRAMING, Limits
from edgeproxy.wire.messages import CHUNKED, Request
from edgeproxy.wire.target import parse_host, parse_target, same_authority

VERSION = (2, 0)

Line = tuple[bytes, bytes]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++").fullmatch
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
_PATH = re.compile(TARGET).fullmatch

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
CONNECTION_SPECIFIC = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
"""Fields that HTTP/2 does not have (section 8.2.2); `te` is judged by its value."""

_LINE_OVERHEAD = len(": \r\n")
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REPLACED_FOR_WEBSOCKET = frozenset({"sec-websocket-key", "sec-websocket-accept"})


def parse_request(lines: Sequence[Line], limits: Limits, *, ended: bool, scheme: str, websocket_key: str = "") -> Request:
    """The request that `lines` are, in the order received. `ended`: no body follows (END_STREAM).

    `scheme` is that of the connection. `websocket_key`: what `Sec-WebSocket-Key` shall be when this asks for a WebSocket
    (RFC 8441 leaves it out; an HTTP/1 origin wants one). Raises StreamMalformed; RequestRefused as `wire.http1` does.
    """
    pseudo, plain = _split(lines)
    _check_size(pseudo, plain, limits)
    fields = _fields(plain, limits)
    method = pseudo.get(b":method", b"").decode("latin-1")
    if not is_token(method):
        raise StreamMalformed("method is missing or malformed")
    if len(method) > MAX_METHOD:
        raise RequestRefused("method is not implemented", status=501, method=method[:MAX_METHOD])
    if method == "CONNECT":
        return _connect(pseudo, fields, ended=ended, scheme=scheme, websocket_key=websocket_key)
    if b":protocol" in pseudo:
        raise StreamMalformed("protocol with a method other than CONNECT")
    target = _target(method, pseudo, scheme)
    authority, host = _authority(pseudo, fields, scheme)
    length = _length(fields, method, ended=ended)
    expects = framing.expects_continue(fields, VERSION, length)
    return Request(method, target, authority, host, VERSION, _with_host(fields, authority), length, True, expects, None, scheme)


def parse_trailers(lines: Sequence[Line]) -> Fields:
    """The trailer section that `lines` are. Raises StreamMalformed, also for fields that must not be there (`wire.chunked`)."""
    if len(lines) > MAX_TRAILERS or sum(len(name) + len(value) for name, value in lines) > MAX_TRAILER_BYTES:
        raise StreamMalformed("too many trailer fields", limit=MAX_TRAILERS)
    pseudo, plain = _split(lines)
    if pseudo:
        raise StreamMalformed("pseudo-header field in a trailer section")
    for name, _ in plain:
        if name.replace("_", "-") in FORBIDDEN_TRAILERS or name in CONNECTION_SPECIFIC:
            raise StreamMalformed("field must not be a trailer", name=name)
    return Fields(plain)


def response_lines(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the fields of a response, those that HTTP/2 has a place for (section 8.2.2)."""
    return [line for line in fields if line[0].lower() not in CONNECTION_SPECIFIC]


def websocket_accept(key: str) -> str:
    """What an origin answers to `Sec-WebSocket-Key: key` (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key.encode() + _WEBSOCKET_GUID, usedforsecurity=False).digest()).decode()


def _split(lines: Sequence[Line]) -> tuple[dict[bytes, bytes], list[tuple[str, str]]]:
    """Pseudo-header fields, and the others with every byte of theirs judged (sections 8.2.1 and 8.3)."""
    pseudo: dict[bytes, bytes] = {}
    plain: list[tuple[str, str]] = []
    for name, value in lines:
        if _VALUE(value) is None:
            raise StreamMalformed("field value has a character that it must not have", name=repr(name[:64]))
        if name.startswith(b":"):
            if plain:
                raise StreamMalformed("pseudo-header field after a field")
            if name not in _PSEUDO:
                raise StreamMalformed("pseudo-header field is unknown", name=repr(name[:64]))
            if name in pseudo:
                raise StreamMalformed("pseudo-header field comes twice", name=name.decode())
            pseudo[name] = value
        elif _NAME(name) is None:
            raise StreamMalformed("field name has a character that it must not have", name=repr(name[:64]))
        else:
            plain.append((name.decode("ascii"), value.decode("latin-1")))
    return pseudo, plain


def _check_size(pseudo: dict[bytes, bytes], plain: list[tuple[str, str]], limits: Limits) -> None:
    """The limits of HTTP/1, counted as the same request would be there."""
    if len(pseudo.get(b":path", b"")) > limits.target_bytes:
        raise RequestRefused("target is too long", status=414, limit=limits.target_bytes)
    size = sum(len(name) + len(value) for name, value in pseudo.items())
    size += sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in plain)
    if size > limits.head_bytes:
        raise RequestRefused("head is too large", status=431, limit=limits.head_bytes)


def _fields(plain: list[tuple[str, str]], limits: Limits) -> Fields:
    """The fields with their cookies joined again (section 8.2.3), less nothing; what HTTP/2 does not have is refused."""
    cookies: list[str] = []
    lines: list[tuple[str, str]] = []
    for name, value in plain:
        if name in CONNECTION_SPECIFIC:
            raise StreamMalformed("field of a connection", name=name)
        if name == "te" and value.lower() != "trailers":
            raise StreamMalformed("te says more than trailers")
        if name != "cookie":
            lines.append((name, value))
        elif value:
            if not cookies:
                lines.append((name, ""))
            cookies.append(value)
    if cookies:
        lines[lines.index(("cookie", ""))] = ("cookie", "; ".join(cookies))
    if len(lines) > limits.field_count:
        raise RequestRefused("too many fields", status=431, limit=limits.field_count)
    fields = Fields(lines)
    if not UNDERSCORED_FRAMING.isdisjoint(fields.names()):
        raise StreamMalformed("field name imitates a framing field")
    return fields


def _target(method: str, pseudo: dict[bytes, bytes], scheme: str) -> str:
    """Path with query, or "*". The absolute form, which HTTP/1 has, would name a second authority here."""
    _check_scheme(pseudo, scheme)
    path = pseudo.get(b":path")
    if not path:
        raise StreamMalformed("path is missing or empty")
    text = path.decode("latin-1")
    if _PATH(text) is None or not (text.startswith("/") or text == "*"):
        raise StreamMalformed("path is malformed")
    try:
        return parse_target(method, text, scheme=scheme).path
    except RequestRefused as error:
        raise StreamMalformed(error.text) from error


def _check_scheme(pseudo: dict[bytes, bytes], scheme: str) -> None:
    named = pseudo.get(b":scheme")
    if named is None:
        raise StreamMalformed("scheme is missing")
    if named.decode("latin-1").lower() != scheme:
        if named.lower() not in (b"http", b"https"):
            raise StreamMalformed("scheme is not http or https")
        # As for an absolute target over HTTP/1: an answer must not be kept under a URL that was not asked securely.
        raise RequestRefused("scheme is not that of the connection", status=421, scheme=named.decode("latin-1"))


def _authority(pseudo: dict[bytes, bytes], fields: Fields, scheme: str) -> tuple[str, str]:
    """Authority and host, from `:authority`, else from Host; where both are, they must agree (section 8.3.1)."""
    hosts = fields.all("host")
    if len(hosts) > 1:
        raise StreamMalformed("more than one host")
    named = pseudo.get(b":authority")
    if named is None:
        if not hosts:
            raise StreamMalformed("authority is missing")
        return _parse_host(hosts[0])
    authority, host = _parse_host(named.decode("latin-1"))
    if hosts and not same_authority(authority, _parse_host(hosts[0])[0], scheme):
        raise StreamMalformed("host disagrees with the authority")
    return authority, host


def _parse_host(value: str) -> tuple[str, str]:
    try:
        return parse_host(value)
    except RequestRefused as error:
        raise StreamMalformed(error.text) from error


def _with_host(fields: Fields, authority: str) -> Fields:
    """As over HTTP/1 the fields have one Host, whatever the client called it."""
    return Fields((("host", authority), *(line for line in fields if line[0] != "host")))


def _length(fields: Fields, method: str, *, ended: bool) -> int:
    """Bytes of the body, or CHUNKED for a length that only the end of the stream will tell (section 8.1.1)."""
    try:
        length = framing.body_length(fields, VERSION, method)
    except RequestRefused as error:
        raise StreamMalformed(error.text) from error
    if ended:
        if length:
            raise StreamMalformed("content-length without a body", length=length)
        return 0
    if method == "TRACE":
        raise StreamMalformed("TRACE with a body")
    return length if "content-length" in fields else CHUNKED


def _connect(pseudo: dict[bytes, bytes], fields: Fields, *, ended: bool, scheme: str, websocket_key: str) -> Request:
    """A WebSocket (RFC 8441), told as the upgrade that it is over HTTP/1; plain CONNECT is not for a reverse proxy."""
    protocol = pseudo.get(b":protocol")
    if protocol is None:
        if b":scheme" in pseudo or b":path" in pseudo or b":authority" not in pseudo:
            raise StreamMalformed("CONNECT with a target of another method")
        raise RequestRefused("method is not implemented", status=501, method="CONNECT")
    target = _target("GET", pseudo, scheme)
    if b":authority" not in pseudo:
        raise StreamMalformed("authority is missing")
    authority, host = _authority(pseudo, fields, scheme)
    if protocol.lower() != b"websocket":
        raise RequestRefused("protocol is not implemented", status=501, protocol=protocol.decode("latin-1")[:64])
    if ended or "content-length" in fields:
        raise StreamMalformed("websocket without a stream")
    fields = fields.without(_REPLACED_FOR_WEBSOCKET).plus(("sec-websocket-key", websocket_key))
    return Request("GET", target, authority, host, VERSION, _with_host(fields, authority), 0, True, False, "websocket", scheme)
