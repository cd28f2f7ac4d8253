"""Rollbacks as rules: what they cover, which of several counts, and how they end; with the clear names and without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Height
from edgeproxy.ledger.block import Block, Place, seal
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import Absent, ReleaseDraft, RollbackDraft, RollbackKind, ScopeNames
from edgeproxy.ledger.fold import Fold
from edgeproxy.ledger.rollbacks import RolledBack
from edgeproxy.ledger.rules import Rules
from tests.support.ledgers import NOW, SITE

SALT = bytes(range(32))
URL = f"http://{SITE}/news/today?x=1"
OTHER = "http://other.example/news/today"


def _rollback(height: int, kind: RollbackKind, value: str, to: int, site: str, absent: Absent = "fetch") -> Block:
    return seal(Place(Height(height), ZERO, NOW, "n"), RollbackDraft(site, kind, value, Height(to), absent, NOW), SALT)


def _roll_back(
    rules: Rules,
    height: int,
    kind: RollbackKind,
    value: str = "",
    *,
    to: int = 3,
    site: str = SITE,
    absent: Absent = "fetch",
    blind: bool = False,
) -> None:
    block = _rollback(height, kind, value, to, site, absent)
    rules.apply(block, None if blind else ScopeNames("rollback", site, kind, value))


def _release(rules: Rules, height: int, kind: RollbackKind, value: str = "", *, site: str = SITE, blind: bool = False) -> None:
    block = seal(Place(Height(height), ZERO, NOW, "n"), ReleaseDraft(site, kind, value, NOW), SALT)
    rules.apply(block, None if blind else ScopeNames("release", site, kind, value))


COVERAGE: list[tuple[RollbackKind, str, str, bool, bool]] = [
    ("node", "", "", True, True),
    ("site", SITE, SITE, True, False),
    ("site", "other.example", "other.example", False, True),
    ("prefix", SITE, f"http://{SITE}/news/", True, False),
    ("prefix", SITE, URL, True, False),
    ("prefix", SITE, "/news/", True, False),
    ("prefix", SITE, "", True, False),
    ("prefix", SITE, "/new/", False, False),
    ("prefix", SITE, f"https://{SITE}/", False, False),
    ("prefix", "", "/news/", True, True),
    ("prefix", "", "/", True, True),
    ("prefix", "", "/old/", False, False),
]


@pytest.mark.parametrize("blind", [False, True], ids=["clear value at hand", "clear value lost"])
@pytest.mark.parametrize(("kind", "site", "value", "covered", "other"), COVERAGE)
def test_what_a_rollback_covers(kind: RollbackKind, site: str, value: str, covered: bool, other: bool, blind: bool) -> None:
    rules = Rules(SALT)
    assert rules.rolled_back(SITE, URL) is None
    _roll_back(rules, 9, kind, value, site=site, blind=blind)
    expected = RolledBack(Height(3), "fetch", Height(9))
    assert rules.rolled_back(SITE, URL) == (expected if covered else None)
    assert rules.rolled_back("other.example", OTHER) == (expected if other else None)


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("lost_release", [False, True])
def test_a_release_ends_exactly_its_scope(blind: bool, lost_release: bool) -> None:
    rules = Rules(SALT)
    _roll_back(rules, 8, "node", site="", to=2, blind=blind)
    _roll_back(rules, 9, "prefix", "/news/", to=3, blind=blind)
    _release(rules, 10, "prefix", "/news", blind=lost_release)
    _release(rules, 11, "site", SITE, blind=lost_release)
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(3), "fetch", Height(9))
    _release(rules, 12, "prefix", "/news/", blind=lost_release)
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(2), "fetch", Height(8))
    _release(rules, 13, "node", site="", blind=lost_release)
    assert rules.rolled_back(SITE, URL) is None
    assert not rules.rollbacks


@pytest.mark.parametrize("blind", [False, True])
def test_of_several_the_latest_block_counts_however_narrow_it_is(blind: bool) -> None:
    rules = Rules(SALT)
    _roll_back(rules, 8, "prefix", "/news/", to=2)
    _roll_back(rules, 9, "node", site="", to=5, absent="refuse", blind=blind)
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(5), "refuse", Height(9))
    _roll_back(rules, 10, "prefix", "/news/", to=4)
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(4), "fetch", Height(10))
    assert len(rules.rollbacks) == 2
    assert [one.rule.height for one in rules.rollbacks] == [9, 10]


def test_each_change_is_a_new_generation() -> None:
    rules = Rules(SALT)
    seen = [rules.generation]
    _roll_back(rules, 8, "node", site="")
    seen.append(rules.generation)
    _release(rules, 9, "node", site="")
    seen.append(rules.generation)
    assert seen == sorted(set(seen))


def test_a_rollback_is_found_by_its_scope_with_and_without_its_name() -> None:
    rules = Rules(SALT)
    _roll_back(rules, 8, "prefix", "/news/", blind=True)
    assert rules.rollbacks.of_scope(SITE, "prefix", "/news/") == RolledBack(Height(3), "fetch", Height(8))
    assert rules.rollbacks.of_scope("", "prefix", "/news/") is None
    (only,) = rules.rollbacks
    assert (only.site, only.value) == (None, None)


def test_damaged_rollbacks_and_releases_are_obeyed_from_their_names() -> None:
    rules = Rules(SALT)
    _roll_back(rules, 8, "site", SITE)
    # Written by an older version: how far back stood in the block alone.
    rules.apply_damaged(Height(9), ScopeNames("rollback", SITE, "prefix", "/"))
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(3), "fetch", Height(8))
    rules.apply_damaged(Height(10), ScopeNames("release", SITE, "site", SITE))
    assert rules.rolled_back(SITE, URL) is None
    before = rules.generation
    rules.apply_damaged(Height(11), ScopeNames("rollback", SITE, "prefix", "/", Height(11), "refuse"))
    assert rules.rolled_back(SITE, URL) is None, "no block is older than itself"
    rules.apply_damaged(Height(11), ScopeNames("rollback", SITE, "prefix", "/", Height(4), "refuse"))
    assert rules.rolled_back(SITE, URL) == RolledBack(Height(4), "refuse", Height(11))
    assert rules.generation > before
    _release(rules, 12, "prefix", "/")
    assert rules.rolled_back(SITE, URL) is None


def test_the_fold_obeys_rollback_and_release() -> None:
    fold = Fold(SALT)
    fold.apply(_rollback(5, "site", SITE, 3, SITE), ScopeNames("rollback", SITE, "site", SITE))
    assert fold.rules.rolled_back(SITE, URL) == RolledBack(Height(3), "fetch", Height(5))
    block = seal(Place(Height(6), ZERO, NOW, "n"), ReleaseDraft(SITE, "site", SITE, NOW), SALT)
    fold.apply(block, ScopeNames("release", SITE, "site", SITE))
    assert fold.rules.rolled_back(SITE, URL) is None


SCOPES: list[tuple[RollbackKind, str, str]] = [
    ("node", "", ""),
    ("site", SITE, SITE),
    ("prefix", SITE, "/news/"),
    ("prefix", SITE, f"http://{SITE}/"),
    ("prefix", "", "/news/to"),
    ("prefix", "", "/old"),
]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(SCOPES), st.integers(0, 3), st.booleans())))
def test_any_order_of_rollbacks_and_releases_adds_up(steps: list[tuple[bool, tuple[RollbackKind, str, str], int, bool]]) -> None:
    rules, model = Rules(SALT), dict[tuple[RollbackKind, str, str], RolledBack]()
    for height, (released, scope, to, blind) in enumerate(steps, 4):
        kind, site, value = scope
        if released:
            _release(rules, height, kind, value, site=site, blind=blind)
            model.pop(scope, None)
        else:
            _roll_back(rules, height, kind, value, to=to, site=site, blind=blind)
            model[scope] = RolledBack(Height(to), "fetch", Height(height))
    covering = [rule for (_, _, value), rule in model.items() if value != "/old"]
    assert rules.rolled_back(SITE, URL) == max(covering, key=lambda rule: rule.height, default=None)
    assert sorted(rules.rollbacks.covering(SITE, URL), key=str) == sorted(covering, key=str)
    assert len(rules.rollbacks) == len(model)
