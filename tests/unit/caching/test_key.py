"""RFC 9110 section 4.2.3 and RFC 3986 section 6.2, as far as no origin tells the results apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.key import KeyRules, primary_key

CASES = [
    ("4.2.3 scheme and host have no case", "HTTP://ExAmPle.org/A", "http://example.org/A"),
    ("4.2.3 the default port of http", "http://example.org:80/a", "http://example.org/a"),
    ("4.2.3 the default port of https", "https://example.org:443/a", "https://example.org/a"),
    ("4.2.3 another port", "http://example.org:443/a", "http://example.org:443/a"),
    ("4.2.3 an empty port", "http://example.org:/a", "http://example.org/a"),
    ("4.2.3 an empty path", "http://example.org", "http://example.org/"),
    ("4.2.3 an empty path with a query", "http://example.org?a", "http://example.org/?a"),
    ("9110 4.2.3 no fragment", "http://example.org/a#b?c", "http://example.org/a"),
    ("6.2.2.1 escapes in upper case", "http://example.org/%c3%a9?%2f", "http://example.org/%C3%A9?%2F"),
    ("poisoning: escapes are not decoded", "http://example.org/%61", "http://example.org/%61"),
    ("poisoning: dot segments stay", "http://example.org/x/../a", "http://example.org/x/../a"),
    ("an empty query is another URL", "http://example.org/a?", "http://example.org/a?"),
    ("paths have case", "http://example.org/A/b", "http://example.org/A/b"),
    ("IPv6", "http://[::1]:80/", "http://[::1]/"),
    ("not absolute: left alone", "/a", "/a"),
]


@pytest.mark.parametrize(("url", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_primary_key(url: str, expected: str) -> None:
    assert primary_key(url) == expected


IGNORED = [
    ("all parameters ignored", "?utm_source=a&utm_medium=b", ""),
    ("some", "?b=2&utm_source=a&a=1", "?b=2&a=1"),
    ("a whole name", "?fbclid=1&fbclid2=2", "?fbclid2=2"),
    ("a name without value", "?fbclid&a", "?a"),
    ("none", "?a=utm_source", "?a=utm_source"),
    ("empty parameters stay when nothing is ignored", "?&a&", "?&a&"),
]


@pytest.mark.parametrize(("query", "expected"), [case[1:] for case in IGNORED], ids=[case[0] for case in IGNORED])
def test_ignored_parameters(query: str, expected: str) -> None:
    rules = KeyRules(ignore_query=("utm_*", "fbclid"))
    assert primary_key(f"http://example.org/a{query}", rules) == f"http://example.org/a{expected}"


# Two colons in a row are no port: such a Host is refused before there is a key.
TAILS = st.text(alphabet="/?#%aA:&=.2f", max_size=20).filter(lambda text: not text[:1].isalnum() and "::" not in text)
URLS = st.builds("http://h{}".format, TAILS)


@given(URLS)
def test_a_key_is_its_own_key(url: str) -> None:
    assert primary_key(primary_key(url)) == primary_key(url)


@given(st.text(alphabet="abAB/?&=.", max_size=12), st.text(alphabet="abAB/?&=.", max_size=12))
def test_different_targets_have_different_keys(one: str, other: str) -> None:
    same = primary_key(f"http://h/{one}") == primary_key(f"http://h/{other}")
    assert same == (one == other)
