"""What a mirror may have of a site: for each URL the version that the edge itself would give to a service worker.

Owns: that choice, from the ledger's fold alone. Pure; must not read a store. The rules are those of the block API:
 1. a purge that makes it as if never stored takes it away, and so does an erasure
 2. under a rollback it is the version of then
 3. of several variants the newest, and before it one that every request selects; never one of a page that
    differs by cookie or password, which browsers do not take, nor one that anything else of one visitor's own selected
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edgeproxy.caching import vary
from edgeproxy.caching.key import KeyRules, primary_key
from edgeproxy.caching.model import Mark
from edgeproxy.ledger.fold import Fold, Version

_PRIVATE = frozenset(("cookie", "authorization"))

Marks = Callable[[Version], tuple[Iterable[str], Iterable[str]]]
"""Tags and groups of a version, out of its stored head."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """For one site by its name. `marks` is asked only where the site has rules."""

    site: str
    keys: KeyRules
    marks: Marks

    def versions(self, fold: Fold) -> Iterator[Version]:
        """One for each URL that has any, in the order in which the ledger met them.

        A URL in another spelling than its key is left out: browsers ask for the key, and its block would not be of that. Edges
        wrote such blocks before 0.1, and a site's rules for keys may have become others.
        """
        for url, variants in fold.by_url.items():
            if primary_key(url, self.keys) != url:
                continue
            chosen = self._chosen(fold, url, [version for kept in variants.values() for version in kept])
            if chosen is not None:
                yield chosen

    def _chosen(self, fold: Fold, url: str, versions: list[Version]) -> Version | None:
        rule = fold.rules.rolled_back(self.site, url)
        usable = [
            version
            for version in versions
            if version.site == self.site
            and version.status == 200
            and fold.has_body(version)
            and (rule is None or version.height <= rule.to)
            and vary.is_for_all(version.selecting)
            and not any(name in _PRIVATE for name, _ in version.selecting)
        ]
        for version in sorted(usable, key=lambda each: (not each.selecting, each.height), reverse=True):
            # A rollback brings back what was purged since: that is what it is for.
            if rule is not None or self._mark(fold, version) is not Mark.GONE:
                return version
        return None

    def _mark(self, fold: Fold, version: Version) -> Mark:
        if not len(fold.rules):
            return Mark.NONE
        tags, groups = self.marks(version)
        return fold.rules.mark(version.height, site=self.site, url=version.url, tags=tags, groups=groups)
