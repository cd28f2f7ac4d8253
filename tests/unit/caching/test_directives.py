"""RFC 9111 section 5.2 (syntax and directives), 5.4 (Pragma), RFC 9213 (targeted fields), RFC 5861."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.directives import DELTA_MAX, delta_seconds, request_directives, response_directives
from edgeproxy.wire.fields import Fields
from tests.support.caching import fields

RESPONSES: list[tuple[str, str, dict[str, Any]]] = [
    ("5.2 names have no case", "Cache-Control: MaX-aGe=3600, No-StOrE", {"max_age": 3600, "no_store": True}),
    ("5.2 unknown directives are ignored", "Cache-Control: foobar, max-age=1, x=y", {"max_age": 1}),
    ("5.2 lines are one list", "Cache-Control: max-age=5 | Cache-Control: s-maxage=6", {"max_age": 5, "s_maxage": 6}),
    ("5.2 a quoted argument counts as a token", 'Cache-Control: max-age="3600"', {"max_age": 3600}),
    ("5.2 a directive inside a quoted string is text (before)", 'Cache-Control: x="max-age=9", max-age=1', {"max_age": 1}),
    ("5.2 a directive inside a quoted string is text (after)", 'Cache-Control: max-age="1", x="max-age=9"', {"max_age": 1}),
    ("5.2 an escaped quote does not end the string", r'Cache-Control: x="a\", no-store", max-age=1', {"max_age": 1}),
    ("5.2 an unclosed quote hides nothing", 'Cache-Control: x="a, no-store', {"no_store": True}),
    ("5.2 empty members", "Cache-Control: , ,max-age=1,,", {"max_age": 1}),
    ("1.2.2 leading zeros", "Cache-Control: max-age=003600", {"max_age": 3600}),
    ("1.2.2 what is too large is a great deal", "Cache-Control: max-age=99999999999", {"max_age": DELTA_MAX}),
    ("4.2.1 of several the first counts", "Cache-Control: max-age=1800, max-age=1", {"max_age": 1800}),
    ("4.2.1 negative is stale", "Cache-Control: max-age=-3600", {"max_age": 0}),
    ("4.2.1 decimals are stale", "Cache-Control: max-age=3600.0", {"max_age": 0}),
    ("4.2.1 letters are stale", "Cache-Control: max-age=3600a", {"max_age": 0}),
    ("4.2.1 no argument is stale", "Cache-Control: max-age", {"max_age": 0}),
    ("4.2.1 single quotes are stale", "Cache-Control: max-age='3600'", {"max_age": 0}),
    ("4.2.1 space before = is stale", "Cache-Control: max-age =3600", {"max_age": 0}),
    ("4.2.1 space after = is stale", "Cache-Control: max-age= 3600", {"max_age": 0}),
    ("5.2.2.4 no-cache with names lists them", 'Cache-Control: no-cache="A, b"', {"unlisted": frozenset("ab")}),
    ("5.2.2.7 private with names lists them", 'Cache-Control: private="set-cookie"', {"unlisted": frozenset({"set-cookie"})}),
    ("5.2.2.4 no-cache with an empty list is no-cache", 'Cache-Control: no-cache=""', {"no_cache": True}),
    ("5.2.2.5 no-store with an argument is no-store", "Cache-Control: no-store=1", {"no_store": True}),
    ("5861 3 and 4", "Cache-Control: stale-while-revalidate=30, stale-if-error=60",
     {"stale_while_revalidate": 30, "stale_if_error": 60}),
    ("8246 2 immutable asks nothing of a shared cache", "Cache-Control: immutable", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in RESPONSES], ids=[case[0] for case in RESPONSES])
def test_response_directives(text: str, expected: dict[str, Any]) -> None:
    found = response_directives(fields(text))
    assert {name: getattr(found, name) for name in found.__slots__ if getattr(found, name) != _default(name)} == {
        "source": "cache-control",
        **expected,
    }


def _default(name: str) -> Any:
    return getattr(response_directives(Fields()), name)


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("5.2.1.2 max-stale alone is any staleness", "Cache-Control: max-stale", {"max_stale": DELTA_MAX}),
    ("5.2.1.2 max-stale with a limit", "Cache-Control: max-stale=10", {"max_stale": 10}),
    ("5.2.1.1 a max-age that is none is ignored", "Cache-Control: max-age=abc", {"max_age": None}),
    ("5.2.1.1 a max-age without number is ignored", "Cache-Control: max-age", {"max_age": None}),
    ("5.2.1.7 only-if-cached", "Cache-Control: only-if-cached", {"only_if_cached": True}),
    ("5.2.1.4 no-cache has no names in a request", 'Cache-Control: no-cache="a"', {"no_cache": True}),
    ("5.4 Pragma counts without Cache-Control", "Pragma: no-cache", {"no_cache": True}),
    ("5.4 Pragma is ignored beside Cache-Control", "Pragma: no-cache | Cache-Control: max-age=9", {"no_cache": False}),
    ("5.4 other pragmas mean nothing", "Pragma: foo", {"no_cache": False}),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in REQUESTS], ids=[case[0] for case in REQUESTS])
def test_request_directives(text: str, expected: dict[str, Any]) -> None:
    found = request_directives(fields(text))
    assert {name: getattr(found, name) for name in expected} == expected


CDN = ("cdn-cache-control",)
TARGETED: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
    ("9213 2.2 it replaces Cache-Control as a whole", "CDN-Cache-Control: max-age=60 | Cache-Control: no-store, private", CDN,
     {"max_age": 60, "no_store": False, "private": False, "is_targeted": True}),
    ("9213 2.2 malformed is ignored", "CDN-Cache-Control: max-age=60, &bad | Cache-Control: max-age=5", CDN,
     {"max_age": 5, "is_targeted": False}),
    ("9213 2.2 empty is ignored", "CDN-Cache-Control: | Cache-Control: max-age=5", CDN, {"max_age": 5}),
    ("9213 2.1 names are lower case, else it is malformed", "CDN-Cache-Control: Max-Age=60 | Cache-Control: max-age=5", CDN,
     {"max_age": 5}),
    ("9213 2.1 parameters mean nothing", "CDN-Cache-Control: max-age=60;x=1", CDN, {"max_age": 60}),
    ("9213 2.1 a number of another type is stale", 'CDN-Cache-Control: max-age="60"', CDN, {"max_age": 0}),
    ("9213 2.1 a decimal is stale", "CDN-Cache-Control: max-age=60.5", CDN, {"max_age": 0}),
    ("9213 2.1 false is absent", "CDN-Cache-Control: no-store=?0, max-age=1", CDN, {"no_store": False, "max_age": 1}),
    ("9213 2.2 a cache that is not its target ignores it", "CDN-Cache-Control: no-store | Cache-Control: max-age=5", (),
     {"no_store": False, "max_age": 5}),
    ("9213 2.2 the first of the list wins", "CDN-Cache-Control: max-age=1 | Edge-Cache-Control: max-age=2",
     ("edge-cache-control", *CDN), {"max_age": 2, "source": "edge-cache-control"}),
    ("surrogate: Cache-Control's syntax", "Surrogate-Control: MaX-aGe=7 | Cache-Control: no-store", ("surrogate-control",),
     {"max_age": 7, "no_store": False}),
    ("surrogate: for another device", "Surrogate-Control: max-age=7;other", ("surrogate-control",), {"max_age": None}),
    ("surrogate: for this device", "Surrogate-Control: max-age=7;edgeproxy, no-store;other", ("surrogate-control",),
     {"max_age": 7, "no_store": False}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "targets", "expected"), [case[1:] for case in TARGETED], ids=[case[0] for case in TARGETED])
def test_targeted_fields(text: str, targets: tuple[str, ...], expected: dict[str, Any]) -> None:
    found = response_directives(fields(text), targets)
    assert {name: getattr(found, name) for name in expected} == expected


@given(st.integers(min_value=0))
def test_any_number_of_seconds_is_read_and_bounded(seconds: int) -> None:
    assert delta_seconds(str(seconds)) == min(seconds, DELTA_MAX)


@given(st.text(alphabet='ab=,;"\\ -09', max_size=60))
def test_no_store_at_the_end_of_a_line_of_its_own_is_never_missed(noise: str) -> None:
    assert response_directives(Fields([("Cache-Control", "no-store"), ("Cache-Control", noise)])).no_store


@pytest.mark.parametrize("value", ['"' + '\\"' * 16_000, '",' * 16_000, " " * 32_000 + "x", "=" * 32_000])
def test_a_hostile_value_costs_no_more_than_its_length(value: str) -> None:
    start = time.perf_counter()
    request_directives(Fields([("Cache-Control", value)]))
    assert time.perf_counter() - start < 0.5
