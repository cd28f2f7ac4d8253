"""Field blocks with their short cuts mean what the library `hpack` reads in them, whatever came before."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.serving.http2_framing import ConnectionFault
from edgeproxy.serving.http2_hpack import BlockDecoder
from edgeproxy.wire.http2_frames import Code

NAMES = st.one_of(st.sampled_from([b":path", b"cookie", b"accept", b"x", b"via"]), st.binary(min_size=1, max_size=12))
VALUES = st.one_of(st.sampled_from([b"", b"/", b"GET", b"x" * 126, b"x" * 127, b"x" * 200, b"y" * 300]), st.binary(max_size=20))
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8)
LIMIT = 4096


def library(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | str:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except hpack.OversizedHeaderListError:
        return Code.ENHANCE_YOUR_CALM.name
    except hpack.HPACKError:
        return Code.COMPRESSION_ERROR.name


def ours(decoder: BlockDecoder, block: bytes) -> list[tuple[bytes, bytes]] | str:
    try:
        return list(decoder.decode(block).lines)
    except ConnectionFault as fault:
        return fault.code.name


@given(st.lists(LISTS, max_size=6), st.booleans())
def test_a_conversation_of_an_encoder_is_read_as_the_library_reads_it(
    lists: list[list[tuple[bytes, bytes, bool]]], huffman: bool
) -> None:
    encoder, reader, decoder = hpack.Encoder(), hpack.Decoder(), BlockDecoder(65_536)
    for lines in (one for one in lists for _ in range(2)):
        headers = [hpack.NeverIndexedHeaderTuple(name, value) if secret else (name, value) for name, value, secret in lines]
        block = bytes(encoder.encode(headers, huffman=huffman))
        expected = library(reader, block)
        assert ours(decoder, block) == expected == [(name, value) for name, value, _ in lines]


@given(st.lists(st.binary(max_size=24), max_size=4))
def test_any_bytes_are_read_or_refused_as_by_the_library(blocks: list[bytes]) -> None:
    reader, decoder = hpack.Decoder(max_header_list_size=LIMIT), BlockDecoder(LIMIT)
    for block in blocks:
        expected = library(reader, block)
        assert ours(decoder, block) == expected
        if isinstance(expected, str):
            return


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x82\x86\x84",
        b"\x80",
        b"\xbd",
        b"\xbe",
        b"\xff\x00",
        b"\x04\x01/",
        b"\x0f\x2b\x01x",
        b"\x0f\x2f\x01x",
        b"\x0f\xff\x01\x01x",
        b"\x0f",
        b"\x10\x81\xf3\x01y",
        b"\x00\x81\xff\x81\xff",
        b"\x00\x01x\x7f\x01" + b"v" * 128,
        b"\x00\x01x\x7f\x81\x01" + b"v" * 256,
        b"\x00\x01x\x7f\x01v",
        b"\x00\x01",
        b"\x00",
        b"\x40\x01x\x01y\xbe\x0f\x2f\x01z",
        b"\x20\x82",
        b"\x82\x20",
        b"\x3f\xe2\x1f",
        b"\x00\x01x\x01y" * 200,
    ],
)
def test_borders(block: bytes) -> None:
    reader, decoder = hpack.Decoder(max_header_list_size=LIMIT), BlockDecoder(LIMIT)
    for _ in range(2):
        expected = library(reader, block)
        assert ours(decoder, block) == expected
        if isinstance(expected, str):
            return


def test_the_memo_is_bounded_and_forgets_with_the_table() -> None:
    decoder = BlockDecoder(65_536)
    first = decoder.decode(b"\x04\x01/")
    assert decoder.decode(b"\x04\x01/") is first
    for number in range(200):
        decoder.decode(b"\x04\x03/%02x" % number)
    assert decoder.decode(b"\x04\x01/") is not first
    held = decoder.decode(b"\x04\x01/")
    decoder.decode(b"\x40\x01x\x01y")
    assert decoder.decode(b"\x04\x01/") is not held
    assert decoder.decode(b"\xbe").lines == [(b"x", b"y")]
