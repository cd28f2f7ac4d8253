"""Rollbacks as rules: which height a URL is served as of, found with a few look-ups however many URLs there are.

Owns: the rollbacks in force, and how a URL is matched with them. Must not know versions; what was there at a height is for who
asks.

A rollback is known by the digest of its scope, as it stands in its block, so that a release finds it when either of the two lost
its clear value (damage to the private table). Without it a rollback still holds: its digest is compared with what is asked for.
"""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from edgeproxy.caching.model import Digest, Height
from edgeproxy.ledger.block import Release, Rollback
from edgeproxy.ledger.digests import rollback_scope, site_salt
from edgeproxy.ledger.drafts import Absent, RollbackKind, ScopeNames

_Key = tuple[str, RollbackKind, str]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback says of a URL: served as at height `to`, by the block at `height`; `absent` if it was not stored then."""

    to: Height
    absent: Absent
    height: Height

    def __str__(self) -> str:
        return f"rollback to {self.to} since block {self.height}"


@dataclass(frozen=True, slots=True)
class InForce:
    """One rollback. `site` and `value` are None when the clear names were lost."""

    kind: RollbackKind
    site: str | None
    value: str | None
    rule: RolledBack


class Rollbacks:
    """Those of one ledger that were not released. False when there is none."""

    def __init__(self, genesis_salt: bytes) -> None:
        self._genesis_salt = genesis_salt
        self._by_scope: dict[Digest, InForce] = {}
        self._by_name: dict[_Key, RolledBack] = {}
        self._lengths: dict[str, list[int]] = {}
        """Lengths of the prefixes, by site; "" for those of every site."""
        self._blind: dict[Digest, RolledBack] = {}
        self._blind_prefixes = False

    def __len__(self) -> int:
        return len(self._by_scope)

    def __iter__(self) -> Iterator[InForce]:
        """All in force, the oldest block first."""
        return iter(sorted(self._by_scope.values(), key=lambda one: one.rule.height))

    def add(self, entry: Rollback, names: ScopeNames | None) -> None:
        """Take a rollback block; it replaces an earlier one of the same scope. `names` are its checked clear values, if any."""
        rule = RolledBack(entry.to, entry.absent, entry.height)
        site, value = (names.site, names.value) if names else ("", "") if entry.kind == "node" else (None, None)
        self._by_scope[entry.scope] = InForce(entry.kind, site, value, rule)
        self._settle()

    def add_named(self, rule: RolledBack, names: ScopeNames) -> None:
        """Take a rollback whose block is damaged, by its clear names."""
        self._by_scope[self.scope(names.site, names.kind, names.value)] = InForce(names.kind, names.site, names.value, rule)
        self._settle()

    def lift(self, entry: Release) -> None:
        """Take a release block. One of a scope without a rollback changes nothing."""
        self._lift(entry.scope)

    def lift_named(self, names: ScopeNames) -> None:
        """Take a release whose block is damaged, by its clear names."""
        self._lift(self.scope(names.site, names.kind, names.value))

    def _lift(self, scope: Digest) -> None:
        if self._by_scope.pop(scope, None) is not None:
            self._settle()

    def scope(self, site: str, kind: RollbackKind, value: str) -> Digest:
        """The digest that a block of this scope carries."""
        return rollback_scope(site_salt(self._genesis_salt, site), kind, value)

    def of_scope(self, site: str, kind: RollbackKind, value: str) -> RolledBack | None:
        """The rollback of exactly this scope."""
        found = self._by_scope.get(self.scope(site, kind, value))
        return found.rule if found is not None else None

    def _settle(self) -> None:
        """Make the tables for looking up anew: there are as many rollbacks as an operator ordered and did not lift."""
        self._by_name.clear()
        self._lengths.clear()
        self._blind.clear()
        self._blind_prefixes = False
        for scope, one in self._by_scope.items():
            if one.site is None or one.value is None:
                self._blind[scope] = one.rule
                self._blind_prefixes |= one.kind == "prefix"
                continue
            self._by_name[one.site, one.kind, one.value] = one.rule
            lengths = self._lengths.setdefault(one.site, [])
            if one.kind == "prefix" and len(one.value) not in lengths:
                insort(lengths, len(one.value))

    def find(self, site: str, url: str) -> RolledBack | None:
        """The rollback that counts for `url` of `site`: of those that cover it, the one with the latest block."""
        if not self._by_scope:
            return None
        return max(self.covering(site, url), key=_height, default=None)

    def covering(self, site: str, url: str) -> list[RolledBack]:
        """All rollbacks in force that cover `url`, in no order."""
        found = [rule for key in self._scopes(site, url) if (rule := self._by_name.get(key)) is not None]
        if self._blind:
            found += [rule for scope in self._blind_scopes(site, url) if (rule := self._blind.get(scope)) is not None]
        return found

    def _scopes(self, site: str, url: str) -> Iterator[_Key]:
        yield "", "node", ""
        yield site, "site", site
        lengths, everywhere = self._lengths.get(site, ()), self._lengths.get("", ())
        if not lengths and not everywhere:
            return
        path = path_of(url)
        for length in lengths:
            yield site, "prefix", url[:length]
            yield site, "prefix", path[:length]
        for length in everywhere:
            yield "", "prefix", path[:length]

    def _blind_scopes(self, site: str, url: str) -> Iterator[Digest]:
        yield self.scope(site, "site", site)
        if self._blind_prefixes:
            path = path_of(url)
            for of_site, text in ((site, url), (site, path), ("", path)):
                for length in range(len(text) + 1):
                    yield self.scope(of_site, "prefix", text[:length])


def _height(rule: RolledBack) -> Height:
    return rule.height


def path_of(url: str) -> str:
    """Path and query of an absolute URL, from its first slash."""
    start = url.find("/", url.find("://") + 3)
    return url[start:] if start >= 0 else "/"
