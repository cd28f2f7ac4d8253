"""The first message of a TLS connection: bytes to a value (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301).

Owns: the grammar of a ClientHello as far as a site is chosen by it, and the alerts. Must not judge what OpenSSL judges again
(ciphers, keys, versions); but whatever a site is chosen by is read so strictly that no two readers can differ about it.
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from edgeproxy.errors import HelloRefused

HELLO_BYTES = 16 * 1024
"""The longest ClientHello that is read, without record headers. Browsers send less than 2 KiB, with post-quantum keys."""
PEEK_BYTES = 18 * 1024
"""The most that is looked at: such a hello with all its record headers."""
MOST_RECORDS = 64
"""Into how many records a hello may be cut: each may cost two looks from the start, and a record may hold a single byte."""

_RECORD_HEADER = 5
_RECORD_BYTES = 16 * 1024
_MESSAGE_HEADER = 4
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_READ = frozenset((_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS))

_pair = struct.Struct(">HH").unpack_from

# Underscores are no host names, but browsers send them, and a wildcard certificate covers them. A last label of digits only
# would be an IPv4 address, which is no server name (RFC 6066 section 3).
_LABEL = rb"(?!-)[a-z0-9_-]{1,63}+(?<!-)"
_HOST_NAME = re.compile(rb"(?:%b\.)*+(?![0-9]++\Z)%b" % (_LABEL, _LABEL))
_HOST_NAME_BYTES = 253
# RFC 6066 section 3 forbids it, and scanners and old clients do it: an address in the place of the name is looked up like one.
_IPV4 = re.compile(rb"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")


class Alert(IntEnum):
    """What is wrong, as TLS says it (RFC 8446 section 6); those that this edge sends itself."""

    UNEXPECTED_MESSAGE = 10
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112
    NO_APPLICATION_PROTOCOL = 120

    @property
    def record(self) -> bytes:
        """The whole record of this alert, fatal, as it is sent before keys are agreed on."""
        return bytes((21, 3, 3, 0, 2, 2, self))


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a site can be chosen by."""

    server_name: str | None
    """Host name as sent, in lower case and without a final dot; None when the client named no host."""
    alpn: tuple[bytes, ...]
    """Application protocols in the client's order; empty when it offers none."""
    versions: tuple[int, ...]
    """TLS versions as on the wire (0x0304 is TLS 1.3), GREASE included."""


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The hello is not complete: nothing new can be said before `count` more bytes are there."""

    count: int


def parse_client_hello(data: bytes) -> ClientHello | NeedMore:
    """The hello at the start of `data`; bytes behind it are not looked at. Raises HelloRefused, with the alert to send."""
    message = _message(data)
    if isinstance(message, NeedMore):
        return message
    try:
        return _read(message)
    except (IndexError, struct.error):  # a length points behind the end
        _refuse("hello ends inside a field", Alert.DECODE_ERROR)


def _refuse(text: str, alert: Alert | None, **fields: object) -> NoReturn:
    raise HelloRefused(text, alert=alert, **fields)


def _message(data: bytes) -> bytes | NeedMore:
    """The hello without its header, put together from the records it is cut into (RFC 8446 section 5.1)."""
    if not data:
        return NeedMore(1)
    message, at, length = b"", 0, _MESSAGE_HEADER
    for _ in range(MOST_RECORDS):
        if data[at : at + 2] != b"\x16\x03":
            _judge_record_header(data, at)
        body = at + _RECORD_HEADER
        if len(data) < body:
            return NeedMore(body - len(data))
        size = int.from_bytes(data[body - 2 : body])
        if not 0 < size <= _RECORD_BYTES:
            _refuse("record length out of bounds", Alert.RECORD_OVERFLOW if size else Alert.UNEXPECTED_MESSAGE, length=size)
        before = len(message)
        message += data[body : body + size]
        if len(message) >= _MESSAGE_HEADER:
            length = _message_length(message)
            if len(message) >= length:
                return message[_MESSAGE_HEADER:length]
        if len(data) < body + size:
            return NeedMore(min(body + size, body + length - before) - len(data))
        at = body + size
        if len(data) == at:
            return NeedMore(_RECORD_HEADER + 1)
    _refuse("hello is cut into too many records", Alert.ILLEGAL_PARAMETER, most=MOST_RECORDS)


def _judge_record_header(data: bytes, at: int) -> None:
    """Judge as much of a record header as is there, so that what is no TLS is not waited for."""
    if data[at : at + 1] not in (b"\x16", b""):
        if at == 0:
            _refuse("not a TLS handshake", None)
        _refuse("hello is interrupted by another record", Alert.UNEXPECTED_MESSAGE)
    if data[at + 1 : at + 2] not in (b"\x03", b""):
        _refuse("record version is not one of TLS", Alert.PROTOCOL_VERSION)


def _message_length(message: bytes) -> int:
    if message[0] != _CLIENT_HELLO:
        _refuse("first message is not a client hello", Alert.UNEXPECTED_MESSAGE, type=message[0])
    length = int.from_bytes(message[1:4])
    if length > HELLO_BYTES:
        _refuse("hello is too long", Alert.ILLEGAL_PARAMETER, length=length)
    return length + _MESSAGE_HEADER


def _read(message: bytes) -> ClientHello:
    """The fields of RFC 8446 section 4.1.2, in order. IndexError and struct.error mean that one is cut off."""
    legacy_version = int.from_bytes(message[:2])
    at = 2 + 32  # version, random
    session_id = message[at]
    if session_id > 32:
        _refuse("session id is too long", Alert.DECODE_ERROR)
    at += 1 + session_id
    suites = int.from_bytes(message[at : at + 2])
    if suites == 0 or suites % 2:
        _refuse("list of cipher suites is malformed", Alert.DECODE_ERROR)
    at += 2 + suites
    compressions = message[at]
    if compressions == 0:
        _refuse("list of compression methods is empty", Alert.DECODE_ERROR)
    at += 1 + compressions
    if at == len(message):  # extensions may be missing altogether (RFC 5246 section 7.4.1.2)
        return ClientHello(None, (), (legacy_version,))
    found = _extensions(message, at)
    name, alpn, versions = found.get(_SERVER_NAME), found.get(_ALPN), found.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        None if name is None else _server_name(name),
        () if alpn is None else _protocols(alpn),
        (legacy_version,) if versions is None else _versions(versions),
    )


def _extensions(message: bytes, at: int) -> dict[int, bytes]:
    """Bodies of the extensions that are read. None may come twice (RFC 8446 section 4.2)."""
    end = len(message)
    if at + 2 > end or int.from_bytes(message[at : at + 2]) != end - at - 2:
        _refuse("extensions do not end with the hello", Alert.DECODE_ERROR)
    at += 2
    kinds: list[int] = []
    found: dict[int, bytes] = {}
    while at < end:
        kind, size = _pair(message, at)
        kinds.append(kind)
        body = at + 4
        at = body + size
        if kind in _READ:
            found[kind] = message[body:at]
    if at > end:
        _refuse("extension ends behind the hello", Alert.DECODE_ERROR, extension=kinds[-1])
    if len(set(kinds)) < len(kinds):
        _refuse("extension comes twice", Alert.ILLEGAL_PARAMETER)
    return found


def _server_name(body: bytes) -> str:
    """Exactly one entry, a host name (RFC 6066 section 3); OpenSSL takes no other form either."""
    if len(body) < 6 or body[2] != 0 or int.from_bytes(body[:2]) != len(body) - 2 or int.from_bytes(body[3:5]) != len(body) - 5:
        _refuse("server name extension is malformed", Alert.DECODE_ERROR)
    name = body[5:].lower().removesuffix(b".")
    if len(name) > _HOST_NAME_BYTES or not (_HOST_NAME.fullmatch(name) or _IPV4.fullmatch(name)):
        _refuse("server name is not a host name", Alert.UNRECOGNIZED_NAME)
    return name.decode("ascii")


def _protocols(body: bytes) -> tuple[bytes, ...]:
    if len(body) < 4 or int.from_bytes(body[:2]) != len(body) - 2:
        _refuse("list of application protocols is malformed", Alert.DECODE_ERROR)
    names: list[bytes] = []
    at = 2
    while at < len(body):
        size = body[at]
        name = body[at + 1 : at + 1 + size]
        if size == 0 or len(name) != size:
            _refuse("list of application protocols is malformed", Alert.DECODE_ERROR)
        names.append(name)
        at += 1 + size
    return tuple(names)


def _versions(body: bytes) -> tuple[int, ...]:
    if len(body) < 3 or body[0] != len(body) - 1 or body[0] % 2:
        _refuse("list of versions is malformed", Alert.DECODE_ERROR)
    return struct.unpack_from(f">{body[0] // 2}H", body, 1)
