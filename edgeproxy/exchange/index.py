"""What the cache holds, by key: for each key the variants, for each variant its versions as blocks, newest last.

Owns: the mapping from key to entries and the count of references to each body. Must not do I/O, and must not decide whether
an entry may be used; that is `caching.plan` and the rules.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from edgeproxy.caching import vary
from edgeproxy.caching.model import Digest, Height, Mark, Selecting
from edgeproxy.exchange.resident import Resident
from edgeproxy.ledger.fold import Version
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request


class Entry:
    """One variant of one key.

    `versions` are committed blocks, newest last. `pending` is a response that was received whole and is being written: it is
    served from memory and becomes a version when its block is committed. `held` is a mark set at once by an unsafe request,
    before its block is there; a response fetched later lifts it.
    """

    __slots__ = ("fields", "held", "key", "pending", "selecting", "site", "tier_key", "used", "versions")

    def __init__(self, site: str, key: str, selecting: Selecting) -> None:
        self.site = site
        self.key = key
        self.selecting = selecting
        self.tier_key = key if not selecting else f"{key}\n{selecting!r}"
        self.versions: list[Version] = []
        self.pending: Resident | None = None
        self.held = Mark.NONE
        self.fields: Fields | None = None
        """Of the newest response, while it is known; only variants need it, for `Content-Language`."""
        self.used = 0
        """When it was last loaded or written, in milliseconds; what eviction from disk goes by."""

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, versions={len(self.versions)}, pending={self.pending is not None})"


class Slot:
    """All variants of one key, the one written last at the end."""

    __slots__ = ("entries", "only")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.only: Entry | None = None
        """The entry that every request selects; None as soon as a field of the request has a say."""

    def settle(self) -> None:
        """To be called when `entries` changed. In the memory tier only an entry that answers every request has the bare key."""
        self.only = self.entries[0] if len(self.entries) == 1 and not self.entries[0].selecting else None
        for entry in self.entries:
            entry.tier_key = entry.key if entry is self.only else f"{entry.key}\n{entry.selecting!r}"

    def select(self, request: Request) -> Entry | None:
        """The variant that `request` selects (RFC 9111 section 4.1)."""
        return vary.select(self.entries, request)

    def varies_by(self) -> tuple[str, ...]:
        """The field names that select among the variants, sorted; empty when there is only one."""
        return tuple(sorted({name for entry in self.entries for name, _ in entry.selecting}))


class Named:
    """Versions by what they name."""

    __slots__ = ("_bodies", "_heads")

    def __init__(self, versions: Iterable[Version]) -> None:
        self._bodies: dict[Digest, list[Version]] = {}
        self._heads: dict[Digest, list[Version]] = {}
        for version in versions:
            self.add(version)

    def add(self, version: Version) -> None:
        self._bodies.setdefault(version.body.digest, []).append(version)
        self._heads.setdefault(version.head, []).append(version)

    def drop(self, version: Version) -> None:
        for by_digest, digest in ((self._bodies, version.body.digest), (self._heads, version.head)):
            left = by_digest[digest]
            left.remove(version)
            if not left:
                del by_digest[digest]

    def of_body(self, digest: Digest) -> Sequence[Version]:
        """Those with this body, in no order."""
        return self._bodies.get(digest, ())

    def of_head(self, digest: Digest) -> Sequence[Version]:
        """Those with this stored head, in no order."""
        return self._heads.get(digest, ())


def _height(version: Version) -> Height:
    return version.height


class Index:
    """Keys to slots, and how many versions name each body."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._body_uses: dict[Digest, int] = {}
        self._named: Named | None = None

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, key: str) -> Slot | None:
        return self._slots.get(key)

    def entry(self, site: str, key: str, selecting: Selecting) -> Entry:
        """The entry of this variant, made when there is none, and put last."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot()
        for position, entry in enumerate(slot.entries):
            if entry.selecting == selecting:
                slot.entries.append(slot.entries.pop(position))
                slot.settle()
                return entry
        entry = Entry(site, key, selecting)
        slot.entries.append(entry)
        slot.settle()
        return entry

    def add(self, entry: Entry, version: Version) -> None:
        """A block was committed for `entry`, or an older one turned out to be of it."""
        if entry.versions and entry.versions[-1].height > version.height:
            insort(entry.versions, version, key=_height)
        else:
            entry.versions.append(version)
        self._body_uses[version.body.digest] = self._body_uses.get(version.body.digest, 0) + 1
        if self._named is not None:
            self._named.add(version)

    def drop(self, entry: Entry, version: Version) -> bool:
        """Forget one version; True when nothing names its body any more."""
        if version not in entry.versions:
            return False
        entry.versions.remove(version)
        if self._named is not None:
            self._named.drop(version)
        digest = version.body.digest
        left = self._body_uses.get(digest, 0) - 1
        if left > 0:
            self._body_uses[digest] = left
        else:
            self._body_uses.pop(digest, None)
        if not entry.versions and entry.pending is None:
            self._remove(entry)
        return left <= 0

    def uses(self, digest: Digest) -> int:
        """How many versions name a body."""
        return self._body_uses.get(digest, 0)

    def named(self) -> Named:
        """Versions by the digest of their head and body. Made when it is first asked for (a third of a second for a million
        versions) and kept up to date from then on: a node that nobody asks by digest does without."""
        if self._named is None:
            self._named = Named(version for entry in self.entries() for version in entry.versions)
        return self._named

    def forget_if_empty(self, entry: Entry) -> None:
        """Remove an entry that came to nothing."""
        if not entry.versions and entry.pending is None:
            self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        slot = self._slots.get(entry.key)
        if slot is None or entry not in slot.entries:
            return
        slot.entries.remove(entry)
        slot.settle()
        if not slot.entries:
            del self._slots[entry.key]

    def slots(self) -> list[Slot]:
        """All slots that there are now, for a walk that takes its time."""
        return list(self._slots.values())

    def entries(self) -> Iterator[Entry]:
        for slot in self._slots.values():
            yield from slot.entries

    def bodies(self) -> Iterable[Digest]:
        """The digests that some version names."""
        return self._body_uses.keys()
