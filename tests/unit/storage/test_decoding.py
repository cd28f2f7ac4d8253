"""Content codings decoded as streams: whole, in any pieces, damaged, cut short, and as bombs."""

import contextlib
import gzip
import os
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.errors import OriginMalformed
from edgeproxy.storage.decoding import DECODABLE, decoder, decoder_for

BODY = b"".join(b"%d bottles of beer\n" % number for number in range(4000)) + os.urandom(2000)
MIB = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(6, zlib.DEFLATED, -15)
    return coder.compress(data) + coder.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("x-gzip", gzip.compress(BODY)),
    "gzip of two members": ("gzip", gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:])),
    "gzip padded with zeros": ("gzip", gzip.compress(BODY) + bytes(100)),
    "deflate, zlib format": ("deflate", zlib.compress(BODY)),
    "deflate, raw": ("deflate", raw_deflate(BODY)),
    "br": ("br", brotli.compress(BODY, quality=4)),
    "zstd": ("zstd", zstandard.compress(BODY)),
    "zstd of two frames": ("zstd", zstandard.compress(BODY[:1000]) + zstandard.compress(BODY[1000:])),
    "upper case": ("GZIP", gzip.compress(BODY)),
}
CASES = pytest.mark.parametrize(("coding", "coded"), CODED.values(), ids=CODED.keys())
ONE_EACH = pytest.mark.parametrize(
    ("coding", "coded"), [CODED[name] for name in ("gzip", "deflate, zlib format", "deflate, raw", "br", "zstd")]
)


def decode(coding: str, coded: bytes, piece: int, limit: int = 16 * MIB) -> bytes:
    stream = decoder(coding, limit=limit)
    parts = [stream.feed(coded[start : start + piece]) for start in range(0, len(coded), piece)]
    return b"".join(parts) + stream.finish()


@CASES
@pytest.mark.parametrize("piece", [1, 2, 511, 512, 513, MIB])
def test_body_in_pieces_of_any_size(coding, coded, piece):
    assert decode(coding, coded, piece) == BODY


@CASES
def test_no_body_at_all_is_an_empty_body(coding, coded):
    assert decode(coding, b"", 1) == b""


@ONE_EACH
@pytest.mark.parametrize("missing", [1, 5, 1000])
def test_body_cut_short_is_malformed(coding, coded, missing):
    with pytest.raises(OriginMalformed):
        decode(coding, coded[:-missing], 4096)


@ONE_EACH
def test_first_byte_alone_is_malformed(coding, coded):
    with pytest.raises(OriginMalformed):
        decode(coding, coded[:1], 1)


@pytest.mark.parametrize("coding", sorted(DECODABLE))
def test_what_is_not_coded_is_malformed(coding):
    with pytest.raises(OriginMalformed):
        decode(coding, b"\xff<html>this was never coded</html>" * 40, 100)


@pytest.mark.parametrize("name", ["gzip", "deflate, zlib format"])
def test_wrong_checksum_is_malformed(name):
    coding, coded = CODED[name]
    damaged = bytearray(coded)
    damaged[-5 if coding == "gzip" else -1] ^= 1
    with pytest.raises(OriginMalformed):
        decode(coding, bytes(damaged), 4096)


@ONE_EACH
@pytest.mark.parametrize("piece", [100, MIB])
def test_bytes_after_the_end_are_malformed(coding, coded, piece):
    with pytest.raises(OriginMalformed):
        decode(coding, coded + b"\x01more", piece)


@ONE_EACH
def test_body_longer_than_the_limit_is_malformed(coding, coded):
    assert decode(coding, coded, 700, limit=len(BODY)) == BODY
    with pytest.raises(OriginMalformed, match="more than is allowed"):
        decode(coding, coded, 700, limit=len(BODY) - 1)


BOMBS = {
    "gzip": lambda: gzip.compress(bytes(256 * MIB), 6),
    "deflate": lambda: zlib.compress(bytes(256 * MIB), 6),
    "br": lambda: brotli.compress(bytes(256 * MIB), quality=4),
    "zstd": lambda: zstandard.compress(bytes(256 * MIB)),
}


@pytest.mark.parametrize("coding", BOMBS)
def test_bomb_is_refused_before_it_fills_the_memory(coding):
    bomb = BOMBS[coding]()
    tracemalloc.start()
    try:
        with pytest.raises(OriginMalformed, match="very many"):
            decode(coding, bomb, 65_536, limit=1 << 40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB


def test_zstd_window_beyond_what_a_content_coding_may_ask_for_is_malformed():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    coder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    coded = coder.compress(os.urandom(1000)) + coder.flush()
    with pytest.raises(OriginMalformed):
        decode("zstd", coded, 4096)


def test_raw_deflate_that_ends_in_a_long_match_gives_all_of_it():
    body = os.urandom(300) + bytes(2 * MIB - 300)
    assert decode("deflate", raw_deflate(body), 64) == body


def test_stacked_codings_are_taken_off_in_reverse_order():
    coded = brotli.compress(gzip.compress(BODY))
    stream = decoder_for(("gzip", "br"), limit=MIB)
    got = b"".join(stream.feed(coded[start : start + 100]) for start in range(0, len(coded), 100)) + stream.finish()
    assert got == BODY


def test_stacked_codings_cut_short_are_malformed():
    coded = brotli.compress(gzip.compress(BODY)[:-1])
    stream = decoder_for(("gzip", "br"), limit=MIB)
    stream.feed(coded)
    with pytest.raises(OriginMalformed):
        stream.finish()


def test_too_many_codings_are_malformed():
    with pytest.raises(OriginMalformed):
        decoder_for(("gzip",) * 5, limit=MIB)


@given(coding=st.sampled_from(sorted(DECODABLE)), coded=st.binary(max_size=600), piece=st.integers(1, 200))
@settings(deadline=None)
def test_any_bytes_decode_or_are_malformed(coding, coded, piece):
    with contextlib.suppress(OriginMalformed):
        assert len(decode(coding, coded, piece, limit=MIB)) <= MIB


@given(body=st.binary(max_size=3000), name=st.sampled_from(["gzip", "deflate", "br", "zstd"]), piece=st.integers(1, 3000))
@settings(deadline=None)
def test_any_body_survives_its_coding(body, name, piece):
    coders = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstandard.compress}
    assert decode(name, coders[name](body), piece) == body
