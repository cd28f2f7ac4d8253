"""What a rollback would do, before it is ordered: which URLs it changes, which were not there, which cannot come back whole.

Owns: the walk over all URLs, in slices, so that serving goes on. Must not change anything. What is listed is bounded; what is
counted is everything.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Height, Selecting
from edgeproxy.exchange.site import Sites
from edgeproxy.exchange.standing import HasBody, usable
from edgeproxy.ledger.drafts import RollbackKind
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.rollbacks import path_of

SLICE = 250
"""URLs between two turns of the loop: a millisecond or so."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an order covers; `site` and `value` as in `RollbackDraft`."""

    kind: RollbackKind
    site: str
    value: str

    def covers(self, site: str, key: str) -> bool:
        """Whether it covers the primary key `key` of `site`."""
        if self.kind == "node":
            return True
        if self.kind == "site":
            return site == self.site
        if self.site and site != self.site:
            return False
        return path_of(key).startswith(self.value) or (self.site != "" and key.startswith(self.value))

    def __str__(self) -> str:
        if self.kind == "node":
            return "every site"
        return f"site {self.site}" if self.kind == "site" else f"{self.value} of {self.site or 'every site'}"


@dataclass(frozen=True, slots=True)
class Change:
    """A variant of a URL that would be served as of another block. `now` is None when nothing is stored now."""

    url: str
    selecting: Selecting
    now: Height | None
    then: Height
    differs: bool
    """Another status or body, and not only another head."""


@dataclass(frozen=True, slots=True)
class Erased:
    """A variant whose version of then has lost its body. `instead`: the older version that would be served, if there is one."""

    url: str
    selecting: Selecting
    then: Height
    instead: Height | None


@dataclass(slots=True)
class Survey:
    """`missing`: URLs that are stored now and were not at that height. Lists have `limit` items at most, `counts` are of all."""

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    erased: list[Erased] = field(default_factory=list)

    def changed(self, change: Change) -> None:
        """Count and list."""
        self.counts["changes"] += 1
        self.counts["differs"] += change.differs
        if len(self.changes) < self.limit:
            self.changes.append(change)

    def is_missing(self, url: str) -> None:
        """Count and list."""
        self.counts["missing"] += 1
        if len(self.missing) < self.limit:
            self.missing.append(url)

    def is_erased(self, erased: Erased) -> None:
        """Count and list."""
        self.counts["erased"] += 1
        if len(self.erased) < self.limit:
            self.erased.append(erased)


class Surveyor:
    """Walks the fold of a running edge."""

    def __init__(self, fold: Fold, sites: Sites, has_body: HasBody) -> None:
        self._fold = fold
        self._keys = {site.name: site.keys for site in sites.sites}
        self._has_body = has_body

    async def survey(self, scope: Scope, to: Height, limit: int) -> Survey:
        """What a rollback of `scope` to `to` would do now."""
        found = Survey(limit)
        for number, url in enumerate(list(self._fold.by_url)):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            variants = [versions for versions in self._fold.by_url[url].values() if versions[0].site in self._keys]
            if variants:
                site = variants[0][0].site
                key = primary_key(url, self._keys[site])
                if scope.covers(site, key):
                    self._look(found, url, key, variants, to)
        return found

    async def covered(self, scope: Scope, to: Height) -> tuple[int, int]:
        """How many stored URLs `scope` covers, and of how many something was stored at height `to`. Bodies are not looked at."""
        urls = then = 0
        for number, url in enumerate(list(self._fold.by_url)):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            variants = [versions for versions in self._fold.by_url[url].values() if versions[0].site in self._keys]
            if variants and scope.covers(site := variants[0][0].site, primary_key(url, self._keys[site])):
                urls += 1
                then += any(versions[0].height <= to for versions in variants)
        return urls, then

    def _look(self, found: Survey, url: str, key: str, variants: list[list[Version]], to: Height) -> None:
        found.counts["urls"] += 1
        rule = self._fold.rules.rolled_back(variants[0][0].site, key)
        has_body = self._has_body
        was_there = is_there = False
        for versions in variants:
            then = next((version for version in reversed(versions) if version.height <= to), None)
            now = usable(versions, rule.to, has_body) if rule else None
            now = now or usable(versions, None, has_body)
            is_there |= now is not None
            if then is None:
                continue
            was_there = True
            back = usable(versions, to, has_body)
            if back is not then:
                found.is_erased(Erased(url, then.selecting, then.height, back.height if back else None))
            if back is None:
                continue
            if back is now:
                found.counts["same"] += 1
                continue
            differs = now is None or (now.status, now.body.digest) != (back.status, back.body.digest)
            found.changed(Change(url, back.selecting, now.height if now else None, back.height, differs))
        if is_there and not was_there:
            found.is_missing(url)
