"""How long a request body is, and what the request asks of its connection (RFC 9112 sections 6 and 9.3, RFC 9110 section 7).

Owns: the judgement of Content-Length, Transfer-Encoding, Connection, Expect and Upgrade of a request. Whatever two parsers might
read in two ways is refused. Must not read a body; that is `wire.chunked`.
"""

import re
from functools import lru_cache

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import TOKEN, is_token, token_list
from edgeproxy.wire.messages import CHUNKED

MAX_LENGTH = (1 << 63) - 1
"""Largest Content-Length or chunk size, in bytes; more would overflow a signed 64-bit count somewhere down the line."""

_LENGTH = re.compile(r"0|[1-9][0-9]{0,18}")
_PROTOCOLS = re.compile(rf"{TOKEN}(?:/{TOKEN})?(?:[ \t]*,[ \t]*{TOKEN}(?:/{TOKEN})?)*")
_NO_OPTIONS: frozenset[str] = frozenset()
_NEVER_TUNNELLED = frozenset({"h2c", "h2", "http", "tls"})
"""Upgrades that would carry requests past the edge inside a tunnel, unseen and unjudged."""

_KEPT_THOUGH_NOMINATED = frozenset(
    {
        "close",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Named by Connection to no effect here: they are needed after the parse, and none of them is ever forwarded as it came."""


def body_length(fields: Fields, version: tuple[int, int], method: str) -> int:
    """Length of the body in bytes, 0 for none, or `CHUNKED` (RFC 9112 section 6.3). Raises RequestRefused (400 or 501)."""
    lengths = fields.all("content-length")
    codings = fields.all("transfer-encoding")
    if not lengths and not codings:
        return 0
    if method == "TRACE":
        raise RequestRefused("TRACE with a body")  # RFC 9110 section 9.3.8
    if codings:
        if lengths:
            raise RequestRefused("both content-length and transfer-encoding")
        return _chunked(codings, version)
    if len(lengths) > 1:
        raise RequestRefused("more than one content-length")
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise RequestRefused("content-length is not a plain decimal number", value=lengths[0][:64])
    length = int(lengths[0])
    if length > MAX_LENGTH:
        raise RequestRefused("content-length is out of range", value=lengths[0])
    return length


def _chunked(codings: tuple[str, ...], version: tuple[int, int]) -> int:
    if version == (1, 0):
        raise RequestRefused("transfer-encoding in HTTP/1.0")  # RFC 9112 section 6.1
    if len(codings) > 1:
        raise RequestRefused("more than one transfer-encoding")
    value = codings[0].lower()
    if value == "chunked":
        return CHUNKED
    members = [member.strip(" ") for member in value.split(",")]
    if all(map(is_token, members)) and not {"chunked", "identity"}.intersection(members):
        raise RequestRefused("transfer coding is not implemented", status=501, value=value[:64])
    raise RequestRefused("transfer-encoding is not exactly chunked", value=value[:64])


def keeps_alive(options: frozenset[str], version: tuple[int, int]) -> bool:
    """Whether the connection may outlive this exchange (RFC 9112 section 9.3). `options`: the members of Connection."""
    if "close" in options:
        return False
    return version >= (1, 1) or "keep-alive" in options


def expects_continue(fields: Fields, version: tuple[int, int], length: int) -> bool:
    """Whether a 100 (Continue) is awaited before the body. Raises RequestRefused 417 for any other expectation."""
    expectations = fields.get("expect")
    if expectations is None:
        return False
    members = {member.strip(" \t").lower() for member in expectations.split(",")} - {""}
    if not members <= {"100-continue"}:
        raise RequestRefused("expectation cannot be met", status=417, value=expectations[:64])
    return (
        bool(members) and version >= (1, 1) and length != 0
    )  # RFC 9110 section 10.1.1: ignored in HTTP/1.0, pointless without a body


def upgrade_asked(fields: Fields, options: frozenset[str], method: str, version: tuple[int, int], length: int) -> str | None:
    """The value of Upgrade when the request asks for a tunnel that this edge may open, else None (RFC 9110 section 7.8)."""
    if "upgrade" not in options or method != "GET" or length != 0 or version < (1, 1):
        return None
    value = fields.get("upgrade")
    if value is None or _PROTOCOLS.fullmatch(value) is None:
        return None
    names = {protocol.strip(" \t").partition("/")[0].lower() for protocol in value.split(",")}
    return None if names & _NEVER_TUNNELLED else value


def without_nominated(fields: Fields, options: frozenset[str]) -> Fields:
    """`fields` less those that the client's Connection names (RFC 9110 section 7.6.1).

    Dropped at the door and not only when forwarded: otherwise the cache would choose by a field that the origin never sees.
    """
    if options <= _KEPT_THOUGH_NOMINATED:
        return fields
    return fields.without(options - _KEPT_THOUGH_NOMINATED)


def connection_options(fields: Fields) -> frozenset[str]:
    """The members of Connection, in lower case; those that are no token are left out."""
    value = fields.get("connection")
    if value is None:
        return _NO_OPTIONS
    return _options(value) if len(value) <= 64 else _options.__wrapped__(value)


@lru_cache(maxsize=256)
def _options(value: str) -> frozenset[str]:
    return frozenset(token_list((value,)))
