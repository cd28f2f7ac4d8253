"""Which version of a URL a mirror may have."""

from edgeproxy.caching.key import NO_RULES, KeyRules
from edgeproxy.caching.model import Digest, Height, Selecting
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Rollback
from edgeproxy.ledger.drafts import BodyRef, PurgeNames, ScopeNames
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.recovery.mirror_choice import Choosing

SALT = bytes(32)
PAGE = "https://example.org/page"


class Book:
    """A fold that a test fills by hand."""

    def __init__(self) -> None:
        self.fold = Fold(SALT)
        self.tags: dict[int, tuple[str, ...]] = {}

    def store(self, height: int, url: str = PAGE, *, selecting: Selecting = (), status: int = 200, site: str = "site") -> None:
        digest = Digest(height.to_bytes(32, "big"))
        body = BodyRef(digest, 1, None)
        version = Version(Height(height), digest, "store", site, url, selecting, status, digest, body, Instant(height))
        self.fold.by_url.setdefault(url, {}).setdefault(selecting, []).append(version)

    def roll_back(self, height: int, to: int) -> None:
        scope = self.fold.rules.rollbacks.scope("site", "site", "site")
        entry = Rollback(1, Height(height), Digest(SALT), Instant(0), "n", "rollback", "site", scope, Height(to), "fetch", "")
        self.fold.rules.rollbacks.add(entry, ScopeNames("rollback", "site", "site", "site"))

    def chosen(self, keys: KeyRules = NO_RULES) -> dict[str, int]:
        choosing = Choosing("site", keys, lambda version: (self.tags.get(version.height, ()), ()))
        return {version.url: version.height for version in choosing.versions(self.fold)}


def test_the_newest_good_one_that_every_request_selects() -> None:
    book = Book()
    book.store(1)
    book.store(2)
    book.store(3, selecting=(("accept-language", "de"),))
    book.store(4, status=404)
    book.store(5, site="another")
    assert book.chosen() == {PAGE: 2}
    book.fold.gone[Digest((2).to_bytes(32, "big"))] = Height(6)
    assert book.chosen() == {PAGE: 1}


def test_never_one_that_a_cookie_or_password_selected() -> None:
    book = Book()
    book.store(1, selecting=(("cookie", "id=1"),))
    book.store(2, selecting=(("authorization", None),))
    book.store(2, selecting=(("x-api-key", "k"),))
    assert book.chosen() == {}
    book.store(3, selecting=(("accept-language", "de"),))
    book.store(4, selecting=(("accept-language", "en"),))
    assert book.chosen() == {PAGE: 4}


def test_a_url_in_a_spelling_that_no_browser_asks_for_is_left_out() -> None:
    book = Book()
    book.store(1, f"{PAGE}?utm_source=x")
    book.store(2, "https://EXAMPLE.org/other")
    assert book.chosen(KeyRules(ignore_query=("utm_*",))) == {}
    assert book.chosen() == {f"{PAGE}?utm_source=x": 1}


def test_a_hard_purge_takes_it_away_and_a_soft_one_does_not() -> None:
    book = Book()
    book.store(1)
    book.store(2, f"{PAGE}2")
    book.tags[2] = ("news",)
    book.fold.rules.add(Height(3), PurgeNames("site", "url", PAGE, "soft"))
    assert book.chosen() == {PAGE: 1, f"{PAGE}2": 2}
    book.fold.rules.add(Height(4), PurgeNames("site", "tag", "news", "hard"))
    assert book.chosen() == {PAGE: 1}
    book.store(5, f"{PAGE}2")
    assert book.chosen() == {PAGE: 1, f"{PAGE}2": 5}


def test_under_a_rollback_it_is_the_one_of_then() -> None:
    book = Book()
    book.store(1)
    book.store(5)
    book.store(6, f"{PAGE}2")
    book.fold.rules.add(Height(7), PurgeNames("site", "site", "site", "hard"))
    assert book.chosen() == {}
    book.roll_back(8, to=3)
    assert book.chosen() == {PAGE: 1}
