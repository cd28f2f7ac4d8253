"""Bodies for tests, and the chunk tree computed a second way."""

import hashlib
from pathlib import Path

import pytest

from edgeproxy.ledger.chunks import CHUNK, WHOLE_BODY_LIMIT

SIZES = [
    pytest.param(0, id="empty"),
    pytest.param(1, id="one byte"),
    pytest.param(WHOLE_BODY_LIMIT, id="largest without chunks"),
    pytest.param(WHOLE_BODY_LIMIT + 1, id="smallest with chunks"),
    pytest.param(16 * CHUNK, id="whole chunks"),
    pytest.param(16 * CHUNK + 7, id="short last chunk"),
]
LARGE = 16 * CHUNK + 7


def temporary(tmp_path: Path) -> list[Path]:
    """The files of bodies that are being written, of a store in `tmp_path / "data"`."""
    return list((tmp_path / "data" / "bodies" / "tmp").iterdir())


def patterned(size: int) -> bytes:
    """`size` bytes in which every 4-byte word differs, so that a shifted or lost piece shows."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def chunk_leaves(data: bytes) -> tuple[bytes, ...]:
    """RFC 6962 section 2.1 leaf hashes of the chunks of `data`."""
    return tuple(hashlib.sha256(b"\0" + data[start : start + CHUNK]).digest() for start in range(0, len(data), CHUNK))


def chunk_root(data: bytes) -> bytes:
    """RFC 6962 section 2.1 root over the chunks of `data`, by the recursive definition."""
    return _root(chunk_leaves(data))


def _root(leaves: tuple[bytes, ...]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()
