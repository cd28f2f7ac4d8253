"""Dates, paths, links and TimeMaps of RFC 7089."""

import re

import pytest

from edgeproxy.caching import memento
from edgeproxy.caching.memento import MementoPath, TimeMapPath

BASE = "http://a.test"
URL = "http://a.test/page?x=1"
SECONDS = [1_764_000_000, 1_764_000_060, 1_764_000_120, 1_764_000_180]
STAMPS = ["20251124160000", "20251124160100", "20251124160200", "20251124160300"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"/.edge/memento/20251124160000/{URL}", MementoPath(SECONDS[0], URL)),
        ("/.edge/memento/20251124160000/http:/a.test/page?x=1", MementoPath(SECONDS[0], URL)),
        ("/.edge/memento/20251124160000/https://a.test", MementoPath(SECONDS[0], "https://a.test")),
        ("/.edge/memento/20251324160000/http://a.test/", None),
        ("/.edge/memento/2025112416000/http://a.test/", None),
        ("/.edge/memento/20251124160000/ftp://a.test/", None),
        ("/.edge/memento/20251124160000/http:///x", None),
        ("/.edge/memento/", None),
        (f"/.edge/timemap/link/{URL}", TimeMapPath(1, URL)),
        (f"/.edge/timemap/link/12/{URL}", TimeMapPath(12, URL)),
        (f"/.edge/timemap/link/0/{URL}", None),
        (f"/.edge/timemap/json/{URL}", None),
        ("/.edge/ledger/checkpoint", None),
    ],
)
def test_what_a_path_asks_for(target: str, expected: MementoPath | TimeMapPath | None) -> None:
    assert memento.parse_path(target) == expected


def test_a_stamp_is_the_second_in_utc() -> None:
    assert [memento.stamp(second) for second in SECONDS] == STAMPS
    assert [memento.parse_stamp(stamp) for stamp in STAMPS] == SECONDS


@pytest.mark.parametrize(
    ("value", "second"),
    [
        ("Mon, 24 Nov 2025 16:00:00 GMT", SECONDS[0]),
        (" Mon, 24 Nov 2025 16:00:00 GMT ", SECONDS[0]),
        ("Mon, 24 Nov 2025 16:00:00 +0100", None),
        ("2025-11-24T16:00:00Z", None),
        ("Mon, 24 Nov 2025 16:00:00 GMT, Mon, 24 Nov 2025 16:00:00 GMT", None),
        ("", None),
    ],
)
def test_accept_datetime(value: str, second: int | None) -> None:
    assert memento.parse_accept_datetime(value) == second


@pytest.mark.parametrize(("offset", "index"), [(-10_000, 0), (0, 0), (59, 0), (60, 1), (119, 1), (180, 3), (10_000, 3)])
def test_the_version_is_the_one_that_was_the_page_then_and_the_ends_take_the_rest(offset: int, index: int) -> None:
    assert memento.pick(SECONDS, SECONDS[0] + offset) == index


def links(value: str) -> dict[str, str]:
    """The target of each relation of a `Link`."""
    found = {}
    for target, relations in re.findall(r'<([^>]*)>; rel="([^"]*)"', value):
        found |= dict.fromkeys(relations.split(), target) if "memento" not in relations.split() else {relations: target}
    return found


@pytest.mark.parametrize(
    ("index", "relations"),
    [
        (0, {"first memento": 0, "next memento": 1, "last memento": 3}),
        (1, {"first prev memento": 0, "memento": 1, "next memento": 2, "last memento": 3}),
        (2, {"first memento": 0, "prev memento": 1, "memento": 2, "next last memento": 3}),
        (3, {"first memento": 0, "prev memento": 2, "last memento": 3}),
    ],
)
def test_a_version_points_at_those_around_it(index: int, relations: dict[str, int]) -> None:
    found = links(memento.links_of_memento(BASE, URL, SECONDS, index))
    assert found.pop("original") == found.pop("timegate") == URL
    assert found.pop("timemap") == f"{BASE}/.edge/timemap/link/{URL}"
    assert found == {name: f"{BASE}/.edge/memento/{STAMPS[at]}/{URL}" for name, at in relations.items()}


def test_a_timemap_is_paged_and_each_page_says_its_span() -> None:
    seconds = list(range(SECONDS[0], SECONDS[0] + 2 * memento.PAGE + 1))
    pages = [memento.timemap(BASE, URL, seconds, page) for page in (1, 2, 3)]
    assert memento.timemap(BASE, URL, seconds, 4) is None
    assert memento.timemap(BASE, URL, seconds, 0) is None
    assert memento.timemap(BASE, URL, [], 1) is None
    texts = [page or "" for page in pages]
    assert [text.count('memento"; datetime=') for text in texts] == [memento.PAGE, memento.PAGE, 1]
    assert 'rel="first memento"' in texts[0]
    assert 'rel="last memento"' in texts[2]
    assert f'<{BASE}/.edge/timemap/link/2/{URL}>; rel="timemap"' in texts[0]
    assert f'<{BASE}/.edge/timemap/link/2/{URL}>; rel="self"' in texts[1]
    assert 'from="Mon, 24 Nov 2025 16:16:40 GMT"; until="Mon, 24 Nov 2025 16:33:19 GMT"' in texts[1]
    assert all(line.endswith((",", '"')) for text in texts for line in text.splitlines())


def test_nothing_in_a_url_ends_the_brackets_around_it() -> None:
    assert memento.links_of_original(BASE, 'http://a.test/x>;"y\\').startswith("<http://a.test/x%3E;%22y%5C>; rel=")
