"""Structured fields (RFC 9651) at the border of the library."""

from decimal import Decimal

import pytest

from edgeproxy.wire.structured import (
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialise_dictionary,
    serialise_item,
    serialise_list,
)


def test_dictionary() -> None:
    assert parse_dictionary(("max-age=60, must-revalidate",)) == {"max-age": (60, {}), "must-revalidate": (True, {})}
    assert parse_dictionary(("a=1;x, b=(1 2)", 'a="t"')) == {"a": ("t", {}), "b": ([(1, {}), (2, {})], {})}
    assert parse_dictionary(()) == {}
    assert parse_dictionary(("",)) == {}


@pytest.mark.parametrize("value", ["max-age=", "a,,b", "A=1", "a=1 b=2", "a=\xe9", 'a="', "a=1,", "\u20ac", "a=" + "1" * 20000])
def test_malformed_dictionary_is_none(value: str) -> None:
    assert parse_dictionary((value,)) is None


def test_list() -> None:
    assert parse_list(('"a", "b";p', "c")) == [("a", {}), ("b", {"p": True}), (Token("c"), {})]
    assert parse_list(()) == []
    assert parse_list(("a b",)) is None


def test_item() -> None:
    assert parse_item((":aGk=:;n=1.5",)) == (b"hi", {"n": Decimal("1.5")})
    assert parse_item(("?2",)) is None
    assert parse_item(()) is None


def test_serialise() -> None:
    assert serialise_item(Token("edgeproxy"), {"hit": True, "ttl": 30, "detail": 'a"b'}) == 'edgeproxy;hit;ttl=30;detail="a\\"b"'
    assert serialise_item(b"hi") == ":aGk=:"
    assert serialise_list([(Token("a"), {}), ([(1, {}), (2, {})], {})]) == "a, (1 2)"
    assert serialise_dictionary({"sha-256": (b"hi", {}), "ok": (True, {})}) == "sha-256=:aGk=:, ok"


@pytest.mark.parametrize("value", ["caf\xe9", "a\nb", Token("two words"), 10**16, object()])
def test_what_has_no_form_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        serialise_item(value)  # type: ignore[arg-type]
