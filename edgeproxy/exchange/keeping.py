"""Which bodies may go, and in which order: the rules of retention, over what the index knows.

Owns: the decision. Pure but for reading the index; must not evict (`exchange.retention`).

A body goes only when every version that names it may go. In this order:
 never        the version that a rollback in force pins; a response that is just being written
 overdue      a superseded version beyond `versions` contents of its variant, or superseded longer than `age` ago: always goes
 superseded   the oldest first, when the disk's quota is exceeded
 current      the newest version of a variant: the longest unused first, those in memory last; but not the last good copies
              that the quota of their site protects, the most recently used first, up to its bytes
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edgeproxy.caching.model import Digest, Height
from edgeproxy.caching.storable import GOOD_BELOW
from edgeproxy.clock import Instant
from edgeproxy.exchange.index import Entry
from edgeproxy.ledger.fold import Version

PROTECTED_SHARE = 0.9
"""Quotas of sites that add up to more than this share of the disk's are cut down to it: the disk's is the limit of all."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What the operator decided. `quota` and `sites` (by name) in bytes, `age` in seconds; `versions` counts contents of a
    variant, the current one included: blocks that only renewed a head do not count."""

    quota: int
    versions: int = 10
    age: float = 30 * 86_400
    sites: Mapping[str, int] = field(default_factory=dict)

    def protected(self) -> dict[str, int]:
        """Bytes of last good copies that eviction cannot take, by site."""
        total, most = sum(self.sites.values()), int(self.quota * PROTECTED_SHARE)
        return {name: octets if total <= most else octets * most // total for name, octets in self.sites.items()}


@dataclass(frozen=True, slots=True)
class Use:
    """A version that names a body, and the entry it belongs to."""

    entry: Entry
    version: Version


@dataclass(frozen=True, slots=True)
class _Current:
    """The newest version of a variant, and the last good one: most often the same."""

    in_memory: bool
    used: Instant
    site: str
    newest: Version
    good: Version


@dataclass(slots=True)
class Tally:
    """Takes the entries of the index one after the other, then says what may go. `now` in milliseconds."""

    keep: Keep
    now: Instant
    _uses: dict[Digest, list[Use]] = field(default_factory=dict)
    _fixed: set[Digest] = field(default_factory=set)
    _wanted: set[Digest] = field(default_factory=set)
    _recent: set[Digest] = field(default_factory=set)
    _old: dict[Digest, Height] = field(default_factory=dict)
    _current: list[_Current] = field(default_factory=list)

    def take(self, entry: Entry, pinned: Iterable[Version], *, in_memory: bool) -> None:
        """Note what `entry` needs. `pinned`: those of its versions that rollbacks in force serve."""
        self._fixed.update(version.body.digest for version in pinned)
        if entry.pending is not None:
            self._fixed.add(entry.pending.ref.digest)
        versions = entry.versions
        if not versions:
            return
        good = next((version for version in reversed(versions) if version.status < GOOD_BELOW), versions[-1])
        contents = 0
        following: Version | None = None
        for version in reversed(versions):
            digest = version.body.digest
            self._uses.setdefault(digest, []).append(Use(entry, version))
            if following is None or following.body.digest != digest:
                contents += 1
            if version is versions[-1] or version is good:
                self._wanted.add(digest)
            elif following is not None:
                self._superseded(version, contents, following.time)
            following = version
        used = Instant(entry.used) if entry.used else versions[-1].time
        self._current.append(_Current(in_memory, used, entry.site, versions[-1], good))

    def _superseded(self, version: Version, contents: int, since: Instant) -> None:
        digest = version.body.digest
        self._old[digest] = max(version.height, self._old.get(digest, Height(-1)))
        if contents <= self.keep.versions and self.now - since <= self.keep.age * 1000:
            self._recent.add(digest)

    def uses(self, digest: Digest) -> list[Use]:
        """All versions that name a body."""
        return self._uses[digest]

    def length(self, digest: Digest) -> int:
        """Bytes of a body."""
        return self._uses[digest][0].version.body.length

    def overdue(self) -> list[Digest]:
        """Bodies that no limit keeps, the oldest first."""
        return [digest for digest in self._superseded_only() if digest not in self._recent]

    def _superseded_only(self) -> list[Digest]:
        free = self._old.keys() - self._fixed - self._wanted
        return sorted(free, key=self._old.__getitem__)

    def under_pressure(self) -> Iterator[Digest]:
        """What goes when the quota is exceeded, in this order; overdue ones are among the first."""
        yield from self._superseded_only()
        kept = self._fixed | self._protected()
        for one in sorted(self._current, key=_last_use):
            yield from (digest for digest in (one.newest.body.digest, one.good.body.digest) if digest not in kept)

    def _protected(self) -> set[Digest]:
        left = self.keep.protected()
        protected: set[Digest] = set()
        for one in sorted(self._current, key=_last_use, reverse=True):
            body = one.good.body
            if body.digest not in protected and body.length <= left.get(one.site, 0):
                left[one.site] -= body.length
                protected.add(body.digest)
        return protected


def _last_use(one: _Current) -> tuple[bool, Instant]:
    return one.in_memory, one.used
