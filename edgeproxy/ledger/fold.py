"""The state that the blocks add up to: the versions of every URL, the rules, and which bodies are gone.

Owns: `Fold`. It trusts what it is given: whoever feeds it has checked block, names and chain (`ledger.replay`, the sequencer).
It is kept in memory whole: 0.5 KB for a version, 0.9 KB for the first one of a URL.
"""

from typing import Literal

import msgspec

from edgeproxy.caching.model import Digest, Height, Selecting
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Block, Evict, Purge, Release, Rollback, Stored
from edgeproxy.ledger.drafts import BodyRef, Names, StoredNames
from edgeproxy.ledger.rules import Rules


class Version(msgspec.Struct, frozen=True, gc=False):
    """One store or refresh block. `leaf` is kept so that the row read later can be proved to be the one that was folded."""

    height: Height
    leaf: Digest
    op: Literal["store", "refresh"]
    site: str
    url: str
    selecting: Selecting
    status: int
    head: Digest
    body: BodyRef
    time: Instant


class Fold:
    """What the ledger says up to `height` (-1: nothing)."""

    def __init__(self, genesis_salt: bytes) -> None:
        self.genesis_salt = genesis_salt
        self.height = -1
        self.by_url: dict[str, dict[Selecting, list[Version]]] = {}
        """For each URL and variant the versions, newest last."""
        self.rules = Rules(genesis_salt)
        self.gone: dict[Digest, Height] = {}
        """Bodies that were evicted and not stored again, with the height of the eviction."""
        self._bodies: dict[Digest, BodyRef] = {}

    def apply(self, block: Block, names: Names | None) -> Version | None:
        """Take the next block; answers the version it made. A block at or below `height` is ignored: none counts twice.

        `names` None for a rule means that its clear value was lost; for a store that it cannot be used.
        """
        said = block.entry
        if said.height <= self.height:
            return None
        self.height = said.height
        match said:
            case Stored() as entry if isinstance(names, StoredNames):
                return self._store(block, entry, names)
            case Purge() | Rollback() | Release():
                self.rules.apply(block, names)
            case Evict() as entry:
                self.gone[entry.body] = entry.height
                self._bodies.pop(entry.body, None)
            case _:
                pass
        return None

    def _store(self, block: Block, entry: Stored, names: StoredNames) -> Version:
        variants = self.by_url.get(names.url)
        if variants is None:
            variants = self.by_url[names.url] = {}
        versions = variants.get(names.selecting)
        if versions is None:
            versions = variants[names.selecting] = []
        body = self._bodies.get(entry.body)
        if body is None:
            body = self._bodies[entry.body] = BodyRef(entry.body, entry.length, entry.chunks)
        self.gone.pop(entry.body, None)
        # The texts of the first version are shared by those after it.
        first = versions[0] if versions else None
        site, url, selecting = (first.site, first.url, first.selecting) if first else (names.site, names.url, names.selecting)
        if site != names.site:
            site = names.site
        version = Version(entry.height, block.leaf, entry.op, site, url, selecting, entry.status, entry.head, body, entry.time)
        versions.append(version)
        return version

    def newest(self, url: str) -> list[Version]:
        """The newest version of each variant of `url`, the newest of all first."""
        return sorted((versions[-1] for versions in self.by_url.get(url, {}).values()), key=_height, reverse=True)

    def history(self, url: str) -> list[Version]:
        """All versions of `url`, of every variant, oldest first."""
        return sorted((version for versions in self.by_url.get(url, {}).values() for version in versions), key=_height)

    def has_body(self, version: Version) -> bool:
        """Whether the ledger says that the version's body is there (it was not evicted since)."""
        return version.body.digest not in self.gone

    def bodies(self) -> dict[Digest, BodyRef]:
        """Every body that should be in the store: named by a version and not evicted since."""
        return dict(self._bodies)


def _height(version: Version) -> int:
    return version.height
