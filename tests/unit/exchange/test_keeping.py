"""What retention lets go, and in which order."""

from collections.abc import Sequence

import pytest

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.keeping import Keep, Tally
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.ledger.fold import Version

DAY = 86_400_000
NOW = Instant(100 * DAY)


def digest(name: str) -> Digest:
    return sha256(name.encode())


def version(height: int, body: str, *, day: int = 100, status: int = 200, length: int = 10) -> Version:
    return Version(
        height=Height(height),
        leaf=digest(f"block {height}"),
        op="store",
        site="a.test",
        url="http://a.test/",
        selecting=(),
        status=status,
        head=digest("head"),
        body=BodyRef(digest(body), length, None),
        time=Instant(day * DAY),
    )


def entry(*versions: Version, key: str = "http://a.test/", site: str = "a.test", used: int = 0) -> Entry:
    made = Entry(site, key, ())
    made.versions = list(versions)
    made.used = used
    return made


def tally(*entries: Entry, keep: Keep | None = None, pinned: Sequence[Version] = (), hot: Sequence[Entry] = ()) -> Tally:
    found = Tally(keep or Keep(1000), NOW)
    for one in entries:
        found.take(one, [each for each in one.versions if each in pinned], in_memory=one in hot)
    return found


def names(found: Sequence[Digest], of: str) -> str:
    """The names of the bodies `found`, out of the single letters `of`."""
    return "".join(next(name for name in of if digest(name) == each) for each in dict.fromkeys(found))


@pytest.mark.parametrize(("versions", "gone"), [(1, "abc"), (2, "ab"), (3, "a"), (4, ""), (10, "")])
def test_so_many_contents_are_kept_the_current_one_included(versions: int, gone: str) -> None:
    held = entry(*(version(height, name) for height, name in enumerate("abcd")))
    assert names(tally(held, keep=Keep(1000, versions=versions)).overdue(), "abcd") == gone


def test_a_block_that_renewed_a_head_is_no_further_content() -> None:
    held = entry(*(version(height, name) for height, name in enumerate("aabbbbbbbb")))
    assert tally(held, keep=Keep(1000, versions=2)).overdue() == []


def test_age_counts_from_when_another_took_its_place() -> None:
    held = entry(version(1, "a", day=1), version(2, "b", day=2), version(3, "c", day=75), version(4, "d", day=80))
    assert names(tally(held).overdue(), "abcd") == "a", "the second was superseded 25 days ago"


def test_a_body_stays_as_long_as_any_version_needs_it() -> None:
    back_again = entry(version(1, "a", day=1), version(2, "b", day=2), version(3, "a", day=3))
    other = entry(version(4, "c", day=4), version(5, "d", day=5), key="http://a.test/2")
    current = entry(version(6, "c"), key="http://a.test/3")
    assert names(tally(back_again, other, current).overdue(), "abcd") == "b"


def test_the_last_good_copy_is_not_superseded_by_an_error() -> None:
    held = entry(version(1, "a", day=1), version(2, "b", day=2), version(3, "e", day=3, status=503))
    assert names(tally(held).overdue(), "abe") == "a"


def test_what_a_rollback_pins_never_goes() -> None:
    old = version(1, "a", day=1)
    held = entry(old, version(2, "b", day=2))
    found = tally(held, keep=Keep(1, sites={}), pinned=[old])
    assert found.overdue() == []
    assert names(list(found.under_pressure()), "ab") == "b"


def test_under_pressure_superseded_ones_go_first_then_the_longest_unused_then_those_in_memory() -> None:
    old = entry(version(5, "a"), version(7, "b"), used=3)
    older = entry(version(2, "c"), version(9, "d"), key="http://a.test/2", used=2)
    hot = entry(version(3, "e"), key="http://a.test/3", used=1)
    found = tally(old, older, hot, hot=[hot])
    assert names(list(found.under_pressure()), "abcde") == "cadbe"


def test_last_good_copies_are_protected_up_to_the_quota_of_their_site_the_most_used_first() -> None:
    held = [entry(version(number, name), key=f"http://a.test/{name}", used=number) for number, name in enumerate("abcd", 1)]
    foreign = entry(version(9, "x"), key="http://b.test/x", site="b.test", used=9)
    found = tally(*held, foreign, keep=Keep(1000, sites={"a.test": 25}))
    assert names(list(found.under_pressure()), "abcdx") == "abx", "two of ten bytes fit into 25"


@pytest.mark.parametrize(
    ("quota", "sites", "protected"),
    [
        (1000, {"a": 400, "b": 500}, {"a": 400, "b": 500}),
        (1000, {"a": 400, "b": 800}, {"a": 300, "b": 600}),
        (1000, {"a": 1 << 30}, {"a": 900}),
        (1000, {"a": 0}, {"a": 0}),
    ],
)
def test_quotas_of_sites_fit_into_that_of_the_disk(quota: int, sites: dict[str, int], protected: dict[str, int]) -> None:
    assert Keep(quota, sites=sites).protected() == protected
