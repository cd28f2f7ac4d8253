"""RFC 9111 section 4.1: selecting among stored responses."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Selecting
from edgeproxy.caching.vary import is_for_all, matches, select, selecting, vary_names
from edgeproxy.wire.fields import Fields
from tests.support.caching import fields, request

NAMES = [
    ("no Vary", "", frozenset()),
    ("names have no case", "Vary: Foo, bar", frozenset({"foo", "bar"})),
    ("several lines", "Vary: Foo | Vary: Bar", frozenset({"foo", "bar"})),
    ("empty members", "Vary: , Foo,", frozenset({"foo"})),
    ("star", "Vary: *", None),
    ("star twice", "Vary: *, *", None),
    ("star in two lines", "Vary: * | Vary: *", None),
    ("star after nothing", "Vary: , *", None),
    ("star after an empty line", "Vary: | Vary: *", None),
    ("star before a name", "Vary: *, Foo", None),
    ("star after a name", "Vary: Foo, *", None),
    ("Accept-Encoding is the edge's own matter", "Vary: Accept-Encoding, Foo", frozenset({"foo"})),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in NAMES], ids=[case[0] for case in NAMES])
def test_vary_names(text: str, expected: frozenset[str] | None) -> None:
    assert vary_names(fields(text)) == expected


def test_accept_encoding_counts_when_the_body_is_kept_as_it_came() -> None:
    assert vary_names(fields("Vary: Accept-Encoding"), keep_accept_encoding=True) == frozenset({"accept-encoding"})


MATCHES = [
    ("same value", "foo", "Foo: 1", "Foo: 1", True),
    ("other value", "foo", "Foo: 1", "Foo: 2", False),
    ("only in the stored request", "foo", "Foo: 1", "", False),
    ("only in the new request", "foo", "", "Foo: 1", False),
    ("in neither", "foo bar", "Foo: 1", "Foo: 1", True),
    ("present but empty is not absent", "foo", "Foo:", "", False),
    ("a field that Vary does not name", "foo", "Foo: 1 | Other: 2", "Foo: 1 | Other: 3", True),
    ("one of three differs", "foo bar baz", "Foo: 1 | Bar: abc4 | Baz: 7", "Foo: 1 | Bar: abc | Baz: 7", False),
    ("lines are combined", "foo", "Foo: 1, 2", "Foo: 1 | Foo: 2", True),
    ("white space around commas", "foo", "Foo: 1,2", "Foo:  1, 2 ", True),
    ("white space in quoted text counts", "foo", 'Foo: "1,2"', 'Foo: "1, 2"', False),
    ("white space in what is no list counts", "cookie", "Cookie: a=1,2", "Cookie: a=1, 2", False),
    ("values have case", "foo", "Foo: a", "Foo: A", False),
    ("languages in another order", "accept-language", "Accept-Language: en, de", "Accept-Language: de, en", True),
    ("languages in another case", "accept-language", "Accept-Language: en, de", "Accept-Language: eN, De", True),
    ("languages with other white space", "accept-language", "Accept-Language: en, de", "Accept-Language:  en ,   de", True),
    ("languages with other weights", "accept-language", "Accept-Language: en, de", "Accept-Language: en, de;q=0.5", False),
    ("a weight of 1 is the default", "accept-language", "Accept-Language: en", "Accept-Language: en;q=1.000", True),
    ("languages not wanted", "accept-language", "Accept-Language: en", "Accept-Language: en, de;q=0", False),
    ("codings in another order", "accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br,gzip", True),
]


@pytest.mark.parametrize(("names", "old", "new", "expected"), [case[1:] for case in MATCHES], ids=[case[0] for case in MATCHES])
def test_matches(names: str, old: str, new: str, expected: bool) -> None:
    assert matches(selecting(request(old), frozenset(names.split())), request(new)) is expected


def test_selecting_is_sorted_by_name() -> None:
    assert selecting(request("B: 2 | A: 1"), frozenset({"b", "a", "c"})) == (("a", "1"), ("b", "2"), ("c", None))


@dataclass
class Kept:
    name: str
    selecting: Selecting
    fields: Fields


def kept(name: str, pairs: str = "", text: str = "") -> Kept:
    found = [pair.split("=") for pair in pairs.split()]
    return Kept(name, tuple((key, value) for key, value in found), fields(text))


DE = kept("de", "accept-language=de,en", "Content-Language: de")
SELECTIONS = [
    ("nothing stored", [], "", None),
    ("no Vary", [kept("a")], "Foo: 1", "a"),
    ("the one that matches", [kept("a", "foo=1"), kept("b", "foo=2")], "Foo: 1", "a"),
    ("none matches", [kept("a", "foo=1")], "Foo: 3", None),
    ("the newest of those that match", [kept("old", "foo=1"), kept("new", "foo=1 bar=2")], "Foo: 1 | Bar: 2", "new"),
    ("without Vary, when it is the newest", [kept("a", "foo=1"), kept("b")], "Foo: 3", "b"),
    ("without Vary, when a newer one has it", [kept("b"), kept("a", "foo=1")], "Foo: 3", None),
    ("the language preferred to all others", [DE], "Accept-Language: fr;q=0.5, de;q=1.0", "de"),
    ("a language among equals", [DE], "Accept-Language: fr, de", None),
    ("a language that is second", [DE], "Accept-Language: fr, de;q=0.9", None),
    ("a language that is refused", [DE], "Accept-Language: de;q=0", None),
    ("no language at all", [DE], "Accept-Language: ,", None),
    ("any language", [DE], "Accept-Language: *", None),
    ("a language of a response that does not vary by it", [kept("a", "foo=1", "Content-Language: de")],
     "Accept-Language: de", None),
    ("a language, while another selecting field differs",
     [kept("a", "accept-language=de,en foo=1", "Content-Language: de")], "Accept-Language: de", None),
    ("a language, while the stored response names none", [kept("a", "accept-language=de,en")], "Accept-Language: de", None),
    ("an exact match comes before the language", [kept("exact", "accept-language=de"), DE], "Accept-Language: de", "exact"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("variants", "text", "expected"), [case[1:] for case in SELECTIONS], ids=[case[0] for case in SELECTIONS]
)
def test_select(variants: list[Kept], text: str, expected: str | None) -> None:
    found = select(variants, request(text))
    assert (found and found.name) == expected


@given(st.lists(st.sampled_from(["foo", "accept-language", "cookie", "x"]), max_size=4), st.text(max_size=40))
def test_a_request_always_matches_itself(names: list[str], value: str) -> None:
    text = "".join(character for character in value if character.isprintable() and character not in "|")
    asked = request(f"Foo: {text} | Accept-Language: {text} | Cookie: {text}")
    assert matches(selecting(asked, frozenset(names)), asked)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ((), True),
        ((("accept-language", "de"), ("sec-ch-ua", '"x"'), ("user-agent", "curl")), True),
        ((("authorization", None), ("cookie", None), ("x-api-key", None)), True),
        ((("cookie", "id=1"),), False),
        ((("cookie", ""),), False),
        ((("authorization", "Basic YTpi"),), False),
        ((("accept", "*/*"), ("x-api-key", "k")), False),
        ((("referer", "https://a.example/secret"),), False),
    ],
)
def test_a_variant_is_for_all_unless_a_value_says_who_somebody_is(stored: Selecting, expected: bool) -> None:
    assert is_for_all(stored) is expected
