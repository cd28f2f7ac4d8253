"""Surrogate-Key and Cache-Tag, and RFC 9875 section 2."""

import pytest

from edgeproxy.caching.model import Policy
from edgeproxy.caching.tags import MAX_TAGS, cache_groups, tags
from edgeproxy.wire.fields import Fields
from tests.support.caching import POLICY, fields

TAGS = [
    ("Surrogate-Key by white space", "Surrogate-Key: a b  c", {"a", "b", "c"}),
    ("Cache-Tag by commas", "Cache-Tag: a, b c ,d", {"a", "b c", "d"}),
    ("both, several lines", "Cache-Tag: a | Cache-Tag: b | Surrogate-Key: c", {"a", "b", "c"}),
    ("tags have case", "Cache-Tag: A, a", {"A", "a"}),
    ("an empty tag is none", "Cache-Tag: ,, | Surrogate-Key:", set()),
    ("none", "Other: a", set()),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in TAGS], ids=[case[0] for case in TAGS])
def test_tags(text: str, expected: set[str]) -> None:
    assert tags(fields(text), POLICY) == expected


def test_the_operator_names_the_fields() -> None:
    assert tags(fields("xkey: a b | Cache-Tag: c"), Policy(tag_fields=("xkey",))) == {"a", "b"}


def test_tags_are_bounded() -> None:
    assert len(tags(Fields([("Cache-Tag", ",".join(map(str, range(MAX_TAGS * 2))))]), POLICY)) == MAX_TAGS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Cache-Groups: "a", "b"', {"a", "b"}),
        ('Cache-Groups: "a" | Cache-Groups: "A"', {"a", "A"}),
        ('Cache-Groups: "a", 1', set()),
        ("", set()),
    ],
)
def test_cache_groups(text: str, expected: set[str]) -> None:
    assert cache_groups(fields(text)) == expected
