"""Purges and rollbacks as rules: one entry to write, a few look-ups to ask, nothing walked.

Owns: what the purges of the ledger say of a stored response; rollbacks are in `ledger.rollbacks`. Must not know what is stored.

For each scope and mode only the greatest height matters, so a rule costs three integers per scope however often it is repeated.
A purge whose clear value was lost (damage to the private table) still holds: its digest is compared with what is asked for.
"""

from bisect import insort
from collections.abc import Iterable, Iterator

from edgeproxy.caching.model import Digest, Height, Mark
from edgeproxy.ledger.block import Block, Purge, Release, Rollback
from edgeproxy.ledger.digests import scope_digest, site_salt
from edgeproxy.ledger.drafts import Names, PurgeKind, PurgeMode, PurgeNames, ScopeNames
from edgeproxy.ledger.rollbacks import Rollbacks, RolledBack, path_of

_MARKS: dict[PurgeMode, Mark] = {"soft": Mark.SOFT, "invalidate": Mark.MUST_VALIDATE, "hard": Mark.GONE}
_STRONGEST_FIRST = (Mark.GONE, Mark.MUST_VALIDATE, Mark.SOFT)

_BEFORE_ALL = Height(-1)

_Key = tuple[str, PurgeKind, str]


class Rules:
    """All purges and rollbacks of one ledger. `generation` grows with every change, so that a verdict may be kept until then."""

    def __init__(self, genesis_salt: bytes) -> None:
        self.generation = 0
        self.rollbacks = Rollbacks(genesis_salt)
        """Those in force."""
        self._genesis_salt = genesis_salt
        self._heights: dict[_Key, list[int]] = {}
        self._sites: dict[str, list[int]] = {}  # those with rules, and the lengths of their prefixes
        self._blind: dict[Digest, list[int]] = {}
        self._blind_kinds: set[PurgeKind] = set()

    def __len__(self) -> int:
        return len(self._heights) + len(self._blind)

    def apply(self, block: Block, names: Names | None) -> None:
        """Take the rule of a purge, rollback or release block; `names` are its checked clear values, None when they were lost."""
        match block.entry:
            case Purge() as entry if isinstance(names, PurgeNames):
                self.add(entry.height, names)
            case Purge() as entry:
                _raise_to(self._blind.setdefault(entry.scope, [-1] * 4), entry.mode, entry.height)
                self._blind_kinds.add(entry.kind)
                self.generation += 1
            case Rollback() as entry:
                self.rollbacks.add(entry, names if isinstance(names, ScopeNames) else None)
                self.generation += 1
            case Release() as entry:
                self.rollbacks.lift(entry)
                self.generation += 1
            case _:
                pass

    def apply_damaged(self, height: Height, names: Names) -> None:
        """Obey a rule whose block is damaged, from its clear names, unproved: at worst it costs a needless fetch, or serves what
        was proved once and an operator can release."""
        if isinstance(names, PurgeNames):
            self.add(height, names)
        elif isinstance(names, ScopeNames) and names.op == "release":
            self.rollbacks.lift_named(names)
            self.generation += 1
        elif isinstance(names, ScopeNames) and names.to is not None and names.to < height:
            self.rollbacks.add_named(RolledBack(names.to, names.absent, height), names)
            self.generation += 1

    def rolled_back(self, site: str, url: str) -> RolledBack | None:
        """The rollback in force for `url` (a primary key) of `site`; the latest block wins. Costs the same for any number of
        URLs and versions."""
        return self.rollbacks.find(site, url)

    def add(self, height: Height, names: PurgeNames) -> None:
        """Take a rule at `height`. For one that is not committed yet, pass the height it is expected to get."""
        key = (names.site, names.kind, names.value)
        heights = self._heights.get(key)
        if heights is None:
            heights = self._heights[key] = [-1] * 4
            lengths = self._sites.setdefault(names.site, [])
            if names.kind == "prefix" and len(names.value) not in lengths:
                insort(lengths, len(names.value))
        _raise_to(heights, names.mode, height)
        self.generation += 1

    def mark(
        self,
        height: Height | None,
        *,
        site: str,
        url: str,
        tags: Iterable[str] = (),
        groups: Iterable[str] = (),
        appended_at: Height = _BEFORE_ALL,
    ) -> Mark:
        """The strongest mark among the rules that match and are above `height`.

        A hard purge is not softened by a later soft one. An entry without a block yet has `height` None and is judged by
        `appended_at`, the height it was expected to get when it was appended.
        """
        at = appended_at if height is None else height
        found = Mark.NONE
        if self._heights and site in self._sites:
            for key in self._scopes(site, url, tags, groups):
                found = _stronger(found, _mark_above(self._heights.get(key), at))
        if self._blind:
            found = _stronger(found, self._blind_mark(at, site, url, tags, groups))
        return found

    def _scopes(self, site: str, url: str, tags: Iterable[str], groups: Iterable[str]) -> Iterator[_Key]:
        yield site, "site", site
        yield site, "url", url
        if lengths := self._sites[site]:
            path = path_of(url)
            for length in lengths:
                yield site, "prefix", url[:length]
                yield site, "prefix", path[:length]
        for tag in tags:
            yield site, "tag", tag
        for group in groups:
            yield site, "group", group

    def _blind_mark(self, at: int, site: str, url: str, tags: Iterable[str], groups: Iterable[str]) -> Mark:
        salt = site_salt(self._genesis_salt, site)
        candidates: list[tuple[PurgeKind, str]] = [("site", site), ("url", url)]
        candidates += [("tag", tag) for tag in tags]
        candidates += [("group", group) for group in groups]
        if "prefix" in self._blind_kinds:
            path = path_of(url)
            candidates += [("prefix", text[:length]) for text in (url, path) for length in range(len(text) + 1)]
        found = Mark.NONE
        for kind, value in candidates:
            if kind in self._blind_kinds:
                found = _stronger(found, _mark_above(self._blind.get(scope_digest(salt, kind, value)), at))
        return found


def _raise_to(heights: list[int], mode: PurgeMode, height: int) -> None:
    rank = _MARKS[mode].value
    heights[rank] = max(heights[rank], height)


def _mark_above(heights: list[int] | None, at: int) -> Mark:
    if heights is not None:
        for mark in _STRONGEST_FIRST:
            if heights[mark.value] > at:
                return mark
    return Mark.NONE


def _stronger(first: Mark, second: Mark) -> Mark:
    return first if first.value >= second.value else second

