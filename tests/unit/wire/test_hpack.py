"""Field blocks that need no memory, read back by the library `hpack` (RFC 7541)."""

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.wire.hpack import NO_TABLE, encode_fields, encode_integer, encode_status

NAMES = st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,40}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=300)


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_what_is_encoded_is_read_back_and_leaves_no_trace(lines: list[tuple[str, str]]) -> None:
    block = encode_fields(lines)
    assert decoded(block) == [(name.encode(), value.strip(" \t").encode("latin-1")) for name, value in lines]
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
