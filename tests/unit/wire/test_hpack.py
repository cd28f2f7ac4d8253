"""Field blocks that need no memory, read back by the library `hpack` (RFC 7541)."""

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.wire.hpack import NO_TABLE, encode_fields, encode_integer, encode_status, is_without_memory

NAMES = st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,40}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=300)


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_what_is_encoded_is_read_back_and_leaves_no_trace(lines: list[tuple[str, str]]) -> None:
    block = encode_fields(lines)
    assert decoded(block) == [(name.encode(), value.strip(" \t").encode("latin-1")) for name, value in lines]
    assert is_without_memory(block)
    decoder = hpack.Decoder()
    decoder.decode(NO_TABLE + block, raw=True)
    assert len(decoder.header_table.dynamic_entries) == 0


@pytest.mark.parametrize("index", range(15, 62))
def test_every_name_of_the_static_table_is_known_by_its_index(index: int) -> None:
    name = HeaderTable.STATIC_TABLE[index - 1][0]
    block = encode_fields([(name.decode(), "v")])
    assert decoded(block) == [(name, b"v")]
    assert len(block) <= 4


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500, 103, 418, 999])
def test_a_status_is_read_back(status: int) -> None:
    assert decoded(encode_status(status)) == [(b":status", str(status).encode())]


def test_names_go_out_in_lower_case() -> None:
    assert decoded(encode_fields([("Content-Type", "a"), ("X-Any", "B")])) == [(b"content-type", b"a"), (b"x-any", b"B")]


@pytest.mark.parametrize("name", ["set-cookie", "authorization"])
def test_secrets_are_never_indexed(name: str) -> None:
    [header] = hpack.Decoder().decode(encode_fields([(name, "secret")]))
    assert isinstance(header, hpack.NeverIndexedHeaderTuple)


@pytest.mark.parametrize(
    ("name", "value"), [("x y", "1"), ("", "1"), (":x", "1"), ("x", "a\nb"), ("x", "a\rb"), ("x", "a\0b"), ("x", "€")]
)
def test_what_is_not_safe_is_not_encoded(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        encode_fields([(name, value)])


@pytest.mark.parametrize(
    ("value", "bits", "expected"), [(10, 5, b"\x0a"), (1337, 5, b"\x1f\x9a\x0a"), (42, 8, b"\x2a"), (31, 5, b"\x1f\x00")]
)
def test_integers_of_appendix_c_1(value: int, bits: int, expected: bytes) -> None:
    assert encode_integer(value, bits, 0) == expected


@pytest.mark.parametrize(
    ("block", "without"),
    [
        (b"", True),
        (b"\x82\x86\x84", True),
        (b"\x04\x01/", True),
        (b"\x0f\x2b\x01x", True),
        (b"\x00\x01x\x01y", True),
        (b"\x10\x81\xf3\x01y", True),
        (b"\x00\x01x\x7f\x01" + b"v" * 128, True),
        (b"\x40\x01x\x01y", False),
        (b"\x82\x41\x01y", False),
        (b"\x20\x82", False),
        (b"\x3f\xe1\x1f", False),
        (b"\xff\x01", False),
        (b"\x04", False),
        (b"\x04\x05/", False),
        (b"\x0f", False),
        (b"\x0f\xff\x01\x01x", False),
        (b"\x00\x01", False),
        (b"\x00\x7f", False),
        (b"\x00\x7f\xff\x01", False),
    ],
)
def test_a_block_that_touches_the_table_is_told_from_one_that_does_not(block: bytes, without: bool) -> None:
    assert is_without_memory(block) is without


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.booleans())
def test_no_block_of_an_encoder_that_adds_to_its_table_is_taken_for_one_that_does_not(
    lines: list[tuple[str, str]], huffman: bool
) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    for _ in range(3):
        block = encoder.encode([(name.encode(), value.encode("latin-1")) for name, value in lines], huffman=huffman)
        before = list(decoder.header_table.dynamic_entries)
        decoder.decode(block, raw=True)
        if is_without_memory(block):
            assert list(decoder.header_table.dynamic_entries) == before
