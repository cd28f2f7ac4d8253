"""Purges as rules: what they cover, how strong they are, and that they reach only what was stored before them."""

import pytest

from edgeproxy.caching.model import Height, Mark
from edgeproxy.ledger.block import Place, seal
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import PurgeDraft, PurgeKind, PurgeMode, PurgeNames
from edgeproxy.ledger.rules import Rules
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
URL = f"http://{SITE}/news/today?x=1"


def _mark(rules: Rules, height: int = 5, **changes: object) -> Mark:
    asked = {"site": SITE, "url": URL, "tags": ("a", "b"), "groups": ("g",), **changes}
    return rules.mark(Height(height), **asked)  # type: ignore[arg-type]


def _apply(
    rules: Rules, height: int, kind: PurgeKind, value: str, mode: PurgeMode = "soft", *, site: str = SITE, blind: bool = False
) -> None:
    draft = PurgeDraft(site, kind, value, mode, NOW)
    block = seal(Place(Height(height), ZERO, NOW, "n"), draft, SALT)
    rules.apply(block, None if blind else PurgeNames(site, kind, value, mode))


COVERAGE: list[tuple[PurgeKind, str, bool]] = [
    ("url", URL, True),
    ("url", f"http://{SITE}/news/today", False),
    ("url", URL + "&y", False),
    ("prefix", f"http://{SITE}/news/", True),
    ("prefix", URL, True),
    ("prefix", "/news/", True),
    ("prefix", "/news/today?x", True),
    ("prefix", "/", True),
    ("prefix", "", True),
    ("prefix", "/new/", False),
    ("prefix", "news", False),
    ("prefix", f"https://{SITE}/", False),
    ("prefix", "today", False),
    ("tag", "b", True),
    ("tag", "c", False),
    ("tag", "g", False),
    ("group", "g", True),
    ("group", "a", False),
    ("site", SITE, True),
]


@pytest.mark.parametrize("blind", [False, True], ids=["clear value at hand", "clear value lost"])
@pytest.mark.parametrize(("kind", "value", "covered"), COVERAGE)
def test_what_a_rule_covers(kind: PurgeKind, value: str, covered: bool, blind: bool) -> None:
    rules = Rules(SALT)
    _apply(rules, 9, kind, value, blind=blind)
    assert _mark(rules) is (Mark.SOFT if covered else Mark.NONE)
    assert _mark(rules, site="other.example") is Mark.NONE


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize(("height", "mark"), [(8, Mark.SOFT), (9, Mark.NONE), (10, Mark.NONE)])
def test_a_rule_reaches_only_what_was_stored_before_it(height: int, mark: Mark, blind: bool) -> None:
    rules = Rules(SALT)
    _apply(rules, 9, "url", URL, blind=blind)
    assert _mark(rules, height) is mark


@pytest.mark.parametrize(("mode", "mark"), [("soft", Mark.SOFT), ("invalidate", Mark.MUST_VALIDATE), ("hard", Mark.GONE)])
def test_modes_are_marks(mode: PurgeMode, mark: Mark) -> None:
    rules = Rules(SALT)
    _apply(rules, 9, "tag", "a", mode)
    assert _mark(rules) is mark


def test_a_later_soft_purge_does_not_soften_a_hard_one() -> None:
    rules = Rules(SALT)
    _apply(rules, 9, "url", URL, "hard")
    _apply(rules, 12, "url", URL, "soft")
    assert _mark(rules, 5) is Mark.GONE
    assert _mark(rules, 10) is Mark.SOFT


def test_the_strongest_of_several_scopes_counts() -> None:
    rules = Rules(SALT)
    _apply(rules, 9, "site", SITE, "soft")
    _apply(rules, 8, "tag", "b", "invalidate")
    _apply(rules, 20, "prefix", "/x", "hard")
    assert _mark(rules) is Mark.MUST_VALIDATE


def test_repeating_a_purge_takes_no_more_room() -> None:
    rules = Rules(SALT)
    for height in range(9, 60):
        _apply(rules, height, "url", URL)
    assert len(rules) == 1
    assert _mark(rules, 58) is Mark.SOFT


def test_every_change_moves_the_generation() -> None:
    rules, seen = Rules(SALT), set()
    for height, blind in ((3, False), (4, True), (5, False)):
        _apply(rules, height, "url", URL, blind=blind)
        seen.add(rules.generation)
    assert len(seen) == 3


def test_an_entry_without_a_block_is_judged_by_the_height_it_expects() -> None:
    rules = Rules(SALT)
    _apply(rules, 9, "url", URL)
    assert rules.mark(None, site=SITE, url=URL, appended_at=Height(8)) is Mark.SOFT
    assert rules.mark(None, site=SITE, url=URL, appended_at=Height(9)) is Mark.NONE


def test_other_blocks_are_no_rules() -> None:
    rules = Rules(SALT)
    rules.apply(seal(Place(Height(3), ZERO, NOW, "n"), store_draft(1), SALT), None)
    assert len(rules) == 0
    assert rules.generation == 0
