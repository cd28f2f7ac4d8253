"""What a rollback would do, and which version is served now."""

import pytest

from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Height, Policy
from edgeproxy.exchange.site import Site, Sites
from edgeproxy.exchange.standing import namesakes, served, standings
from edgeproxy.exchange.survey import Change, Erased, Scope, Surveyor
from edgeproxy.ledger.block import Block, Place, seal
from edgeproxy.ledger.digests import ZERO, sha256
from edgeproxy.ledger.drafts import PurgeNames, ReleaseDraft, RollbackDraft, ScopeNames, StoredNames
from edgeproxy.ledger.fold import Fold, Version
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
A, B, C = (f"http://{SITE}/{name}" for name in "abc")


def folded(*urls: str) -> Fold:
    """A fold with a store block for each of `urls`, from height 1 on."""
    fold = Fold(SALT)
    for height, url in enumerate(urls, 1):
        draft = store_draft(height, url=url)
        fold.apply(seal(Place(Height(height), ZERO, NOW, "n"), draft, SALT), StoredNames(SITE, url, ()))
    return fold


def roll_back(fold: Fold, to: int, absent: str = "fetch", value: str = "/") -> None:
    draft = RollbackDraft(SITE, "prefix", value, Height(to), absent, NOW)  # type: ignore[arg-type]
    block: Block = seal(Place(Height(fold.height + 1), ZERO, NOW, "n"), draft, SALT)
    fold.apply(block, ScopeNames("rollback", SITE, "prefix", value))


def there(*lost: int) -> object:
    """Has every version its body but those at `lost`?"""
    gone = {sha256(b"body %d" % height) for height in lost}
    return lambda version: version.body.digest not in gone


def sites() -> Sites:
    site = Site(name=SITE, hosts=(SITE,), policy=Policy(), keys=KeyRules(), origin=None)  # type: ignore[arg-type]
    return Sites((site,))


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope("node", "", ""), True),
        (Scope("site", SITE, SITE), True),
        (Scope("site", "other.example", "other.example"), False),
        (Scope("prefix", "", "/a"), True),
        (Scope("prefix", SITE, "/a"), True),
        (Scope("prefix", SITE, A), True),
        (Scope("prefix", "", A), False),
        (Scope("prefix", "other.example", "/a"), False),
        (Scope("prefix", SITE, "/b"), False),
    ],
)
def test_a_scope_covers_what_the_rule_will(scope: Scope, covered: bool) -> None:
    assert scope.covers(SITE, A) is covered
    fold = folded()
    draft = RollbackDraft(scope.site, scope.kind, scope.value, Height(0), "fetch", NOW)
    names = ScopeNames("rollback", scope.site, scope.kind, scope.value)
    fold.apply(seal(Place(Height(1), ZERO, NOW, "n"), draft, SALT), names)
    assert (fold.rules.rolled_back(SITE, A) is not None) is covered


async def test_what_a_scope_covers_is_counted_and_how_much_of_it_was_there_then() -> None:
    surveyor = Surveyor(folded(A, B, A, B, C), sites(), there())  # type: ignore[arg-type]
    assert await surveyor.covered(Scope("node", "", ""), Height(4)) == (3, 2)
    assert await surveyor.covered(Scope("site", SITE, SITE), Height(1)) == (3, 1)
    assert await surveyor.covered(Scope("prefix", "", "/a"), Height(4)) == (1, 1)
    assert await surveyor.covered(Scope("prefix", "", "/nothing/"), Height(4)) == (0, 0)


async def test_a_survey_counts_everything_and_lists_up_to_its_limit() -> None:
    fold = folded(A, B, A, B, B, C, C)
    everything = Scope("node", "", "")
    found = await Surveyor(fold, sites(), there(2)).survey(everything, Height(2), 10)  # type: ignore[arg-type]
    assert found.changes == [Change(A, (), Height(3), Height(1), differs=True)]
    assert found.erased == [Erased(B, (), Height(2), None)]
    assert found.missing == [C]
    found = await Surveyor(fold, sites(), there(4)).survey(everything, Height(4), 0)  # type: ignore[arg-type]
    assert (found.changes, found.erased, found.missing) == ([], [], [])
    assert dict(found.counts) == {"urls": 3, "same": 1, "erased": 1, "changes": 1, "differs": 1, "missing": 1}


async def test_a_survey_compares_with_what_another_rollback_serves_now() -> None:
    fold = folded(A, A, A)
    roll_back(fold, 1)
    found = await Surveyor(fold, sites(), there()).survey(Scope("node", "", ""), Height(1), 10)  # type: ignore[arg-type]
    assert found.counts["same"] == 1
    found = await Surveyor(fold, sites(), there()).survey(Scope("prefix", "", "/b"), Height(1), 10)  # type: ignore[arg-type]
    assert found.counts["urls"] == 0


def newest(fold: Fold, lost: tuple[int, ...] = ()) -> tuple[int | None, str]:
    version, why = served(fold.rules, fold.by_url[A][()], A, there(*lost))  # type: ignore[arg-type]
    return (version.height if version else None), why


def test_which_version_is_served_and_why() -> None:
    fold = folded(A, A, A)
    assert newest(fold) == (3, "newest")
    assert newest(fold, (3,)) == (2, "newest")
    assert newest(fold, (1, 2, 3)) == (None, "no content is left")
    fold.rules.add(Height(4), PurgeNames(SITE, "url", A, "soft"))
    assert newest(fold) == (3, "newest, purged")
    fold.rules.add(Height(4), PurgeNames(SITE, "url", A, "hard"))
    assert newest(fold) == (None, "purged for good")
    roll_back(fold, 2)
    assert newest(fold) == (2, "rollback to 2 since block 4")
    assert newest(fold, (2,)) == (1, "rollback to 2 since block 4")
    roll_back(fold, 0, "refuse")
    assert newest(fold) == (None, "rollback to 0 since block 5, and not stored then")
    release = seal(Place(Height(6), ZERO, NOW, "n"), ReleaseDraft(SITE, "prefix", "/", NOW), SALT)
    fold.apply(release, ScopeNames("release", SITE, "prefix", "/"))
    assert newest(fold) == (None, "purged for good")


def test_the_newest_version_says_why_none_is_served() -> None:
    fold = folded(A, A)
    fold.rules.add(Height(4), PurgeNames(SITE, "url", A, "hard"))
    versions: list[Version] = fold.history(A)[::-1]
    found = standings(fold, A, versions, {1: "t" * 32}, there(1))  # type: ignore[arg-type]
    assert [(one.served, one.why) for one in found] == [(False, "purged for good"), (False, None)]
    assert [(one.trace, one.body_there) for one in found] == [("", True), ("t" * 32, False)]


def test_a_page_that_is_known_under_another_scheme_port_or_host_is_found() -> None:
    fold = folded(A, B, f"https://{SITE}:8443/a", "http://other.test/a/", "http://other.test/")
    assert namesakes(fold, f"http://{SITE}:8080/a") == [A, f"https://{SITE}:8443/a", "http://other.test/a/"]
    assert namesakes(fold, "http://mistyped.test") == ["http://other.test/"]
    assert namesakes(fold, "http://mistyped.test/a", most=1) == [A]
    assert namesakes(fold, f"http://{SITE}/none") == []
