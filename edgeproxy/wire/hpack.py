"""Field blocks on their way out, compressed without memory (RFC 7541).

Owns: an encoder that uses the static table only. What it makes depends on nothing but the fields, so one block can be sent on any
connection, many times; nothing of one response can be learned from the size of another (RFC 7541 section 7.1); and a peer cannot
make it keep anything. Must not decode: that needs the memory of a connection, and is a driver's.
"""

from collections.abc import Iterable

from edgeproxy.wire.grammar import is_token

NO_TABLE = b"\x20"
"""In front of a connection's first block: our dynamic table is empty and stays so (section 6.3), whatever the peer allows."""

_STATUS = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

# Appendix A, from index 15 on; what comes before are pseudo-header fields.
_NAMES = (
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
)
_INDEX = {name: index for index, name in enumerate(_NAMES, 15)}

_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
"""Never to be indexed by any hop (section 7.1.3)."""


def encode_integer(value: int, bits: int, pattern: int) -> bytes:
    """`value` in a prefix of `bits` bits below `pattern` (section 5.1)."""
    largest = (1 << bits) - 1
    if value < largest:
        return bytes((pattern | value,))
    out = bytearray((pattern | largest,))
    value -= largest
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _name_part(name: str) -> bytes:
    """A literal without indexing, or never indexed, up to its name (sections 6.2.2 and 6.2.3)."""
    pattern = 0x10 if name in _SECRET else 0
    index = _INDEX.get(name)
    if index is not None:
        return encode_integer(index, 4, pattern)
    return bytes((pattern,)) + encode_integer(len(name), 7, 0) + name.encode()


_KNOWN = {name: _name_part(name) for name in _NAMES}


def encode_fields(lines: Iterable[tuple[str, str]]) -> bytes:
    """The block of `lines`, names put in lower case.

    Raises ValueError when a name is no token, or a value holds CR, LF, NUL, or anything outside latin-1 (RFC 9113 section 8.2.1).
    """
    out: list[bytes] = []
    for name, value in lines:
        lower = name.lower()
        part = _KNOWN.get(lower)
        if part is None:
            if not is_token(name):
                raise ValueError("field name is not safe to send")
            part = _name_part(lower)
        data = value.strip(" \t").encode("latin-1")
        if b"\n" in data or b"\r" in data or b"\0" in data:
            raise ValueError("field is not safe to send")
        out += (part, encode_integer(len(data), 7, 0), data)
    return b"".join(out)


def encode_status(status: int) -> bytes:
    """The pseudo-header field that begins a response."""
    index = _STATUS.get(status)
    return bytes((0x80 | index,)) if index is not None else b"\x08\x03%03d" % status
