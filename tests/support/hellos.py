"""ClientHellos, built field by field, and cut into records.

Owns: bytes as a client may send them, right or wrong. Must not use the edge's own parser.
"""

from collections.abc import Iterable, Sequence

H2_AND_H1 = b"\x00\x0c\x02h2\x08http/1.1"


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def server_name(name: bytes, *, kind: int = 0) -> bytes:
    """The body of the extension with one entry."""
    entry = bytes([kind]) + len(name).to_bytes(2) + name
    return len(entry).to_bytes(2) + entry


def hello(
    *extensions: bytes,
    version: int = 0x0303,
    session_id: bytes = b"",
    suites: bytes = b"\x13\x01\xc0\x2b",
    compressions: bytes = b"\0",
    with_extensions: bool = True,
) -> bytes:
    """A handshake message."""
    body = version.to_bytes(2) + bytes(range(32)) + bytes([len(session_id)]) + session_id
    body += len(suites).to_bytes(2) + suites + bytes([len(compressions)]) + compressions
    if with_extensions:
        joined = b"".join(extensions)
        body += len(joined).to_bytes(2) + joined
    return message(body)


def message(body: bytes, *, kind: int = 1) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


def record(fragment: bytes, *, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + version.to_bytes(2) + len(fragment).to_bytes(2) + fragment


def records(data: bytes, sizes: Iterable[int]) -> bytes:
    """`data` cut into records of `sizes`, the rest in a last one."""
    pieces, at = [], 0
    for size in sizes:
        if at < len(data):
            pieces.append(record(data[at : at + size]))
            at += size
    if at < len(data):
        pieces.append(record(data[at:]))
    return b"".join(pieces)


def versions(numbers: Sequence[int]) -> bytes:
    """The body of supported_versions."""
    return bytes([2 * len(numbers)]) + b"".join(number.to_bytes(2) for number in numbers)


def ordinary(name: bytes = b"a.test") -> bytes:
    """A message as a browser sends it, small."""
    return hello(
        extension(0x0A0A, b""),
        extension(0, server_name(name)),
        extension(16, H2_AND_H1),
        extension(43, versions([0x0A0A, 0x0304, 0x0303])),
        session_id=bytes(32),
    )
