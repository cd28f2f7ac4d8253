"""Decoders for bodies that an origin sent in a content coding although it was asked for none (RFC 9110 section 8.4).

Owns: gzip, deflate, br and zstd as streams, with bounds. Must not know messages; what a library raises becomes
`OriginMalformed`.

A few bytes can decode to gigabytes. Two bounds hold: `limit` for the whole body, and `BURST` for what one `feed` may give, so
that memory stays bounded whatever comes. Both refuse the body; neither cuts it.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import brotli
import zstandard

from edgeproxy.errors import OriginMalformed

DECODABLE = frozenset(("gzip", "x-gzip", "deflate", "br", "zstd"))

BURST = 32 << 20
"""Bytes that one `feed` may give: from 64 KiB of input that is 500 times as much, which no honest text does."""

MAX_STACKED = 4
"""Codings one on the other. One is usual, two are a mistake, more are an attack."""

_STEP = 1 << 20
_ZSTD_SLICE = 512
"""A zstd block of 4 bytes may stand for 128 KiB, and the library gives all at once: 512 bytes are at most 16 MiB."""

_ZSTD_WINDOW = 8 << 20
"""RFC 9659: as a content coding a window is at most 8 MB."""


class Decoder(Protocol):
    """One body, piece by piece. Both raise OriginMalformed."""

    def feed(self, data: bytes) -> bytes:
        """What can be decoded with `data`; may be nothing."""
        ...

    def finish(self) -> bytes:
        """The rest; raises when the coding has not come to its end."""
        ...


def decoder(coding: str, *, limit: int) -> Decoder:
    """A decoder of one coding (one of `DECODABLE`), for at most `limit` bytes of decoded body. Raises KeyError."""
    return _DECODERS[coding.lower()](limit)


def decoder_for(codings: Sequence[str], *, limit: int) -> Decoder:
    """A decoder for `codings` in the order they were applied, as `Content-Encoding` lists them.

    Raises OriginMalformed when there are too many, KeyError for one that is not in `DECODABLE`.
    """
    if len(codings) > MAX_STACKED:
        raise OriginMalformed("too many content codings", codings=len(codings))
    decoders = [decoder(coding, limit=limit) for coding in reversed(codings)]
    return decoders[0] if len(decoders) == 1 else _Stacked(decoders)


class _Stacked:
    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def feed(self, data: bytes) -> bytes:
        for decoder in self._decoders:
            data = decoder.feed(data)
        return data

    def finish(self) -> bytes:
        data = b""
        for decoder in self._decoders:
            data = decoder.feed(data) + decoder.finish()
        return data


class _Output:
    """What one `feed` has given so far, within the bounds."""

    __slots__ = ("_limit", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0

    def take(self, pieces: list[bytes], burst: int, piece: bytes) -> int:
        """Add `piece` and answer the burst so far; raises OriginMalformed."""
        self._total += len(piece)
        burst += len(piece)
        if self._total > self._limit:
            raise OriginMalformed("a body decodes to more than is allowed", limit=self._limit)
        if burst > BURST:
            raise OriginMalformed("a few bytes decode to very many", limit=BURST)
        pieces.append(piece)
        return burst


class _Inflate:
    """One zlib stream, in steps of bounded size."""

    __slots__ = ("_output", "_stream", "_what")

    def __init__(self, what: str, window_bits: int, output: _Output) -> None:
        self._what = what
        self._output = output
        self._stream = zlib.decompressobj(window_bits)

    @property
    def is_over(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes, pieces: list[bytes], burst: int) -> tuple[bytes, int]:
        """Decode `data` into `pieces`; answers what lies behind the end of the stream, and the burst so far."""
        while not self._stream.eof:
            try:
                piece = self._stream.decompress(data, _STEP)
            except zlib.error as error:
                raise OriginMalformed("a coded body is damaged", coding=self._what, error=str(error)) from error
            burst = self._output.take(pieces, burst, piece)
            data = self._stream.unconsumed_tail
            # A full step may leave output behind although all input is taken.
            if not data and len(piece) < _STEP:
                break
        return self._stream.unused_data, burst


class _Gzip:
    """RFC 1952: one or more members; zeros after the last one are padding."""

    def __init__(self, limit: int) -> None:
        self._output = _Output(limit)
        self._member: _Inflate | None = None

    def feed(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        burst = 0
        while data:
            if self._member is None or self._member.is_over:
                data = data.lstrip(b"\0") if self._member else data
                if not data:
                    break
                self._member = _Inflate("gzip", 31, self._output)
            data, burst = self._member.feed(data, pieces, burst)
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._member is not None and not self._member.is_over:
            raise OriginMalformed("a coded body ends before its end", coding="gzip")
        return b""


class _Deflate:
    """RFC 9110 section 8.4.1.2: the zlib format; many servers send the raw one, which the first two bytes tell."""

    def __init__(self, limit: int) -> None:
        self._output = _Output(limit)
        self._inflate: _Inflate | None = None
        self._start = b""

    def feed(self, data: bytes) -> bytes:
        if self._inflate is None:
            data = self._start = self._start + data
            if len(data) < 2:
                return b""
            self._inflate = _Inflate("deflate", 15 if _is_zlib(data) else -15, self._output)
        if data and self._inflate.is_over:
            raise OriginMalformed("a coded body goes on after its end", coding="deflate")
        pieces: list[bytes] = []
        rest, _ = self._inflate.feed(data, pieces, 0)
        if rest:
            raise OriginMalformed("a coded body goes on after its end", coding="deflate")
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._start and not (self._inflate and self._inflate.is_over):
            raise OriginMalformed("a coded body ends before its end", coding="deflate")
        return b""


def _is_zlib(data: bytes) -> bool:
    """RFC 1950 section 2.2: method 8, and the first two bytes are a multiple of 31."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


class _Br:
    """RFC 7932."""

    def __init__(self, limit: int) -> None:
        self._output = _Output(limit)
        self._stream = brotli.Decompressor()
        self._is_begun = False

    def feed(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        burst = 0
        while data or not self._stream.can_accept_more_data():
            if self._stream.is_finished():
                raise OriginMalformed("a coded body goes on after its end", coding="br")
            self._is_begun = True
            try:
                piece: bytes = self._stream.process(data, output_buffer_limit=_STEP)
            except brotli.error as error:
                raise OriginMalformed("a coded body is damaged", coding="br", error=str(error)) from error
            burst = self._output.take(pieces, burst, piece)
            data = b""
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._is_begun and not self._stream.is_finished():
            raise OriginMalformed("a coded body ends before its end", coding="br")
        return b""


class _Zstd:
    """RFC 8878: one or more frames."""

    def __init__(self, limit: int) -> None:
        self._output = _Output(limit)
        self._library = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def feed(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        burst = 0
        for start in range(0, len(data), _ZSTD_SLICE):
            rest = data[start : start + _ZSTD_SLICE]
            while rest:
                frame = self._frame = self._frame or self._library.decompressobj()
                try:
                    piece = frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise OriginMalformed("a coded body is damaged", coding="zstd", error=str(error)) from error
                burst = self._output.take(pieces, burst, piece)
                rest = b""
                if frame.eof:
                    rest, self._frame = frame.unused_data, None
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._frame is not None:
            raise OriginMalformed("a coded body ends before its end", coding="zstd")
        return b""


_DECODERS: dict[str, Callable[[int], Decoder]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "br": _Br, "zstd": _Zstd}
