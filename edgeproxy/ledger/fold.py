"""The state that the blocks add up to: the versions of every URL, the rules, and which bodies are gone.

A node that was rebuilt from public sources has blocks and heads, but no clear URLs. Such versions are `blind`: found by the
digest of their URL once somebody asks for it, and adopted then.

Owns: `Fold`. It trusts what it is given: whoever feeds it has checked block, names and chain (`ledger.replay`, the sequencer).
It is kept in memory whole: 0.5 KB for a version, 0.9 KB for the first one of a URL.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from edgeproxy.caching.model import Digest, Height, Selecting
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Block, Erase, Evict, Purge, Release, Rollback, Stored, body_of
from edgeproxy.ledger.digests import site_salt, url_digest
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


@dataclass(frozen=True, slots=True)
class Blind:
    """A store or refresh block whose stored head is at hand and whose URL is not known."""

    leaf: Digest
    entry: Stored

    def named(self, names: StoredNames) -> Version:
        """The version, now that its names are known (and checked)."""
        entry = self.entry
        said = (entry.op, names.site, names.url, names.selecting, entry.status, entry.head, body_of(entry), entry.time)
        return Version(entry.height, self.leaf, *said)


class Fold:
    """What the ledger says up to `height` (-1: nothing)."""

    def __init__(self, genesis_salt: bytes) -> None:
        self.genesis_salt = genesis_salt
        self.height = -1
        self.by_url: dict[str, dict[Selecting, list[Version]]] = {}
        """For each URL and variant the versions, newest last."""
        self.rules = Rules(genesis_salt)
        self.gone: dict[Digest, Height] = {}
        """Bodies that were evicted or erased and not stored again, with the height at which that was said."""
        self.erased: dict[Digest, Height] = {}
        """URLs, by their digests, whose contents were erased, with the height of the last time."""
        self.erased_bodies: set[Digest] = set()
        """Bodies that were erased and not stored again."""
        self.blind: dict[Digest, list[Blind]] = {}
        """Versions without names, by the digest of their URL, oldest first."""
        self._bodies: dict[Digest, BodyRef] = {}
        self._urls: dict[Digest, str] | None = None

    def apply(self, block: Block, names: Names | None) -> Version | None:
        """Take the next block; answers the version it made. A block at or below `height` is ignored: none counts twice.

        `names` None for a rule means that its clear value was lost; for a store that it cannot be used.
        """
        said = block.entry
        if said.height <= self.height:
            return None
        self.height = said.height
        if isinstance(said, Stored) and isinstance(names, StoredNames):
            return self._store(block, said, names)
        match said:
            case Purge() | Rollback() | Release():
                self.rules.apply(block, names)
            case Evict() as entry:
                self.gone[entry.body] = entry.height
                self._bodies.pop(entry.body, None)
            case Erase() as entry:
                self._erase(entry)
            case _:
                pass
        return None

    def apply_blind(self, block: Block) -> None:
        """As `apply`, for a store or refresh block with a good head and no names."""
        if block.height <= self.height or not isinstance(block.entry, Stored):
            return
        self.height = block.height
        entry = block.entry
        self.blind.setdefault(entry.url, []).append(Blind(block.leaf, entry))
        self._bodies.setdefault(entry.body, body_of(entry))
        self._is_back(entry.body)

    def adopt(self, url: Digest, versions: list[Version]) -> None:
        """These are blind versions of `url` no longer."""
        taken = {version.height for version in versions}
        left = [blind for blind in self.blind.pop(url, ()) if blind.entry.height not in taken]
        if left:
            self.blind[url] = left
        for version in versions:
            kept = self.by_url.setdefault(version.url, {}).setdefault(version.selecting, [])
            kept.append(version)
            kept.sort(key=_height)
            if self._urls is not None:
                self._urls[url] = version.url

    def erasable(self, url: str, site: str) -> tuple[set[Digest], int]:
        """The bodies of `url` that are still there, and how many versions it has, blind ones included."""
        blind = self.blind.get(url_digest(site_salt(self.genesis_salt, site), url), ())
        bodies = {version.body.digest for version in self.history(url)} | {each.entry.body for each in blind}
        return bodies & self._bodies.keys(), len(self.history(url)) + len(blind)

    def users(self, bodies: set[Digest], besides: set[str]) -> dict[Digest, set[str | Digest]]:
        """Which URLs other than `besides` have versions with these bodies. Walks all versions: a second for some millions."""
        found: dict[Digest, set[str | Digest]] = {}
        for url, variants in self.by_url.items():
            if url not in besides:
                for version in (version for versions in variants.values() for version in versions):
                    if version.body.digest in bodies:
                        found.setdefault(version.body.digest, set()).add(url)
        digests = {url_digest(site_salt(self.genesis_salt, site), url) for url in besides for site in self.sites()}
        for digest, blinds in self.blind.items():
            for blind in blinds:
                if digest not in digests and blind.entry.body in bodies:
                    found.setdefault(blind.entry.body, set()).add(digest)
        return found

    def erased_at(self, urls: Iterable[str], sites: Iterable[str]) -> Height | None:
        """The last block that says of one of `urls`, as one of these sites has it, that its contents were erased."""
        if not self.erased:
            return None
        salts, spellings = {site_salt(self.genesis_salt, site) for site in sites}, set(urls)
        digests = {url_digest(salt, url) for salt in salts for url in spellings}
        return max((height for digest, height in self.erased.items() if digest in digests), default=None)

    def bodies_since(self, height: int) -> set[Digest]:
        """The bodies of versions from `height` on."""
        versions = (version for variants in self.by_url.values() for kept in variants.values() for version in kept)
        return {version.body.digest for version in versions if version.height >= height}

    def sites(self) -> set[str]:
        """The sites that versions are of."""
        return {versions[0].site for variants in self.by_url.values() for versions in variants.values()}

    def _erase(self, entry: Erase) -> None:
        self.erased[entry.url] = entry.height
        self.blind.pop(entry.url, None)
        self.by_url.pop(self._by_digest().get(entry.url, ""), None)
        for body in entry.bodies:
            self.gone[body] = entry.height
            self.erased_bodies.add(body)
            self._bodies.pop(body, None)

    def heights_of(self, url: Digest) -> list[int]:
        """The heights of a URL's versions, named and blind."""
        named = self.by_url.get(self._by_digest().get(url, ""), {})
        heights: list[int] = [version.height for versions in named.values() for version in versions]
        return heights + [blind.entry.height for blind in self.blind.get(url, ())]

    def _by_digest(self) -> dict[Digest, str]:
        """URLs by their digests. Only a ledger in which something was erased needs them; they are 0.2 KB each."""
        if self._urls is None:
            self._urls = {}
            for url, variants in self.by_url.items():
                for site in {version.site for versions in variants.values() for version in versions}:
                    self._urls[url_digest(site_salt(self.genesis_salt, site), url)] = url
        return self._urls

    def _is_back(self, body: Digest) -> None:
        self.gone.pop(body, None)
        self.erased_bodies.discard(body)

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
        if self.gone:  # what was erased is gone too
            self._is_back(entry.body)
        if self._urls is not None:
            self._urls[entry.url] = names.url
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

    def version(self, url: str, height: int) -> Version | None:
        """The version of `url` that is the block at `height`."""
        for versions in self.by_url.get(url, {}).values():
            position = bisect_left(versions, height, key=_height)
            if position < len(versions) and versions[position].height == height:
                return versions[position]
        return None

    def has_body(self, version: Version) -> bool:
        """Whether the ledger says that the version's body is there (it was not evicted since)."""
        return version.body.digest not in self.gone

    def body(self, digest: Digest) -> BodyRef | None:
        """One of `bodies`."""
        return self._bodies.get(digest)

    def bodies(self) -> dict[Digest, BodyRef]:
        """Every body that should be in the store: named by a version and not evicted since."""
        return dict(self._bodies)


def _height(version: Version) -> int:
    return version.height
