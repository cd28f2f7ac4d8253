"""Encoders for bodies that are changed while they pass by, and go on in the content coding they came in (RFC 9110 section 8.4).

Owns: gzip, deflate, br and zstd as streams that hold nothing back: what one call is given can be decoded from what it gave. The
levels are those of work on the event loop, of which every visitor pays a part. Must not know messages.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

BROTLI_QUALITY = 3
ZSTD_LEVEL = 3
ZLIB_LEVEL = 4


class Encoder(Protocol):
    """One body, piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """`data`, all of it."""
        ...

    def finish(self) -> bytes:
        """The end of the coding."""
        ...


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, window_bits)

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Br:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY)

    def feed(self, data: bytes) -> bytes:
        coded: bytes = self._stream.process(data) + self._stream.flush()
        return coded

    def finish(self) -> bytes:
        coded: bytes = self._stream.finish()
        return coded


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush()


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "br": _Br,
    "zstd": _Zstd,
}

ENCODABLE = frozenset(_ENCODERS)


def encoder(coding: str) -> Encoder:
    """An encoder of one coding (one of `ENCODABLE`). Raises KeyError."""
    return _ENCODERS[coding]()
