"""Tokens and lists by RFC 9110 section 5.6, and the words for what is wrong with a line."""

import pytest

from edgeproxy.wire.faults import fault_in_field_line, fault_in_head
from edgeproxy.wire.grammar import is_token, split_field_lines, token_list


def test_token_characters() -> None:
    """RFC 9110 section 5.6.2: exactly these 77."""
    allowed = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert {chr(code) for code in range(256) if is_token(chr(code))} == allowed
    assert not is_token("")
    assert not is_token("\u0661")


def test_split_field_lines() -> None:
    assert split_field_lines("A:b\r\nC: \t d e \t\r\nE:\r\nF:  \r\n") == [("A", "b"), ("C", "d e"), ("E", ""), ("F", "")]
    assert split_field_lines("") == []


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        (("A, b", "C"), ["a", "b", "c"]),
        ((",, a ,", ""), ["a"]),
        (("a b, c;d, e",), ["e"]),
        (("\xa0close, \x0bclose",), []),
    ],
)
def test_token_list(values: tuple[str, ...], tokens: list[str]) -> None:
    assert token_list(values) == tokens


def test_a_line_without_fault_has_none() -> None:
    assert fault_in_field_line(b"A: \tb\xff") is None
    assert fault_in_head(b"GET / HTTP/1.1\r\nA: b\r\n\r\n") == "head is malformed"
