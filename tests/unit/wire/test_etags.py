"""Entity tags by RFC 9110 sections 8.8.3 and 13.1."""

import pytest

from edgeproxy.wire.etags import (
    is_etag,
    is_weak,
    parse_etag_list,
    strong_match,
    weak_match,
    weakened,
    with_suffix,
    without_suffix,
)

LISTS = {
    "one": ('"a"', ('"a"',)),
    "weak": ('W/"a"', ('W/"a"',)),
    "several": ('"a", W/"b" ,\t"c"', ('"a"', 'W/"b"', '"c"')),
    "no spaces": ('"a","b"', ('"a"', '"b"')),
    "any": ("*", "*"),
    "any with whitespace": (" * ", "*"),
    "a tag that is a star": ('"*"', ('"*"',)),
    "comma inside": ('"a,b", "c"', ('"a,b"', '"c"')),
    "empty tag": ('""', ('""',)),
    "empty members": (',, "a",,', ('"a"',)),
    "empty": ("", ()),
    "no quotes": ("a, b", ("a", "b")),
    "lower-case w": ('w/"a"', ('w/"a"',)),
    "open quote": ('"a, "b"', ('"a', '"b"')),
    "bytes above ASCII": ('"\xe9"', ('"\xe9"',)),
    "something behind the tag": ('"a"b, "c"', ('"a"b', '"c"')),
}


@pytest.mark.parametrize(("value", "members"), LISTS.values(), ids=LISTS)
def test_list(value: str, members: tuple[str, ...] | str) -> None:
    assert parse_etag_list(value) == members


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [  # the table of section 8.8.3.2
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_comparison(one: str, other: str, strong: bool, weak: bool) -> None:
    assert (strong_match(one, other), strong_match(other, one)) == (strong, strong)
    assert (weak_match(one, other), weak_match(other, one)) == (weak, weak)


def test_grammar() -> None:
    assert [is_etag(text) for text in ('"a"', 'W/"a"', '""', "a", 'w/"a"', '"a b"', '"a"b"', '"\x7f"', "")] == [
        True, True, True, False, False, False, False, False, False,
    ]  # fmt: skip


def test_weakness() -> None:
    assert (is_weak('W/"a"'), is_weak('"W/a"')) == (True, False)
    assert (weakened('"a"'), weakened('W/"a"')) == ('W/"a"', 'W/"a"')


@pytest.mark.parametrize(("etag", "formed"), [('"a"', '"a-br"'), ('W/"a"', 'W/"a-br"'), ('""', '"-br"'), ("a", "a-br")])
def test_suffix(etag: str, formed: str) -> None:
    assert with_suffix(etag, "br") == formed
    assert without_suffix(formed, ("gzip", "br")) == etag
    assert without_suffix(formed, ("gzip", "zstd")) == formed
    assert without_suffix(etag, ("br",)) == etag
