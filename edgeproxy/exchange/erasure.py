"""Erasing: the contents of a URL, all its versions so far, leave this node for good.

Owns: what goes and what stays, and the order of the steps. Must not write blocks or delete rows itself; the sequencer does, in
one transaction. The chain stays whole: blocks are digests and keep their bytes, and an erase block says what is gone.

Steps, and what a crash after each leaves:
  1. a rule in memory, so that what is just arriving is not kept         nothing
  2. the erase blocks; in their transaction go stored heads and names    the next start deletes bodies that no version names
  3. the bodies, then the write-ahead log                                the same, and it empties the log
  4. index, memory with its coded forms, copies set aside                memory goes with the process, copies at the next start
"""

from dataclasses import dataclass

from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Clock
from edgeproxy.errors import RequestRefused
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.block import MAX_ERASED
from edgeproxy.ledger.digests import site_salt, url_digest
from edgeproxy.ledger.drafts import EraseDraft, PurgeNames, StoreDraft
from edgeproxy.sequencer.sequencer import Sequencer


@dataclass(frozen=True, slots=True)
class Erasing:
    """What an order comes to. `urls` are the spellings that share one key; `kept` counts bodies that stay because other URLs have
    them too; `others` counts the URLs that lose a version because theirs go."""

    urls: tuple[str, ...]
    bodies: tuple[Digest, ...]
    length: int
    versions: int
    kept: int
    others: int


class Eraser:
    """Carries out the orders of an operator."""

    def __init__(self, cache: Cache, sequencer: Sequencer, clock: Clock) -> None:
        self._cache = cache
        self._sequencer = sequencer
        self._clock = clock

    def plan(self, site: Site, url: str, *, everywhere: bool) -> Erasing:
        """What erasing `url` would do now. Raises RequestRefused when there is nothing of it."""
        fold = self._sequencer.fold
        urls = tuple(sorted(self._spellings(site, url)))
        bodies: set[Digest] = set()
        versions = 0
        for each in urls:
            named, count = fold.erasable(each, site.name)
            bodies |= named
            versions += count
        for draft in self._sequencer.waiting():
            # On their way into blocks below the erase block: their heads go with it, so their bodies must too.
            if isinstance(draft, StoreDraft) and draft.url in urls:
                bodies.add(draft.body.digest)
                versions += 1
        if not versions:
            before = fold.erased_at(urls, (site.name,))
            since = "" if before is None else f" since its contents were erased, in block {before}"
            raise RequestRefused(f"the ledger has no version of this URL{since}", status=404, url=url)
        others = fold.users(bodies, set(urls))
        going = bodies if everywhere else bodies - others.keys()
        losing = {other for body in going for other in others.get(body, ())}
        named_bodies = fold.bodies()
        length = sum(named_bodies[body].length for body in going if body in named_bodies)
        return Erasing(urls, tuple(sorted(going)), length, versions, len(bodies) - len(going), len(losing))

    def _spellings(self, site: Site, url: str) -> set[str]:
        """The URLs that are stored under the key of `url`, and itself."""
        key = primary_key(url, site.keys)
        slot = self._cache.index.slot(key)
        found = {version.url for entry in slot.entries for version in entry.versions} if slot else set()
        # The key as well: it is what purges of this URL name.
        return found | {url, key}

    def _digested(self, site: Site, url: str) -> list[str]:
        """The sites under whose salts blocks have digests of `url`: its site may have had another name."""
        return sorted({site.name} | {version.site for version in self._sequencer.fold.history(url)})

    async def erase(self, site: Site, url: str, *, everywhere: bool) -> tuple[Erasing, list[Height]]:
        """Erase, and return once it is durable: what it came to, and the blocks. Raises RequestRefused, StoreError."""
        await self._sequencer.flush()
        # From here to the drafts nothing waits, so that nothing of this URL can come in between.
        found = self.plan(site, url, everywhere=everywhere)
        now, key = self._clock.now(), primary_key(url, site.keys)
        rule = PurgeNames(site.name, "url", key, "hard")
        named = [(each, name) for each in found.urls for name in self._digested(site, each)]
        (first, first_site), *others = named
        drafts = [EraseDraft(name, each, (), now) for each, name in others]
        drafts += [
            EraseDraft(first_site, first, found.bodies[start : start + MAX_ERASED], now)
            for start in range(0, max(1, len(found.bodies)), MAX_ERASED)
        ]
        futures = [self._sequencer.append(draft) for draft in drafts]
        self._cache.rules.add(Height(self._sequencer.next_height - 1), rule)
        blocks = [await future for future in futures]
        await self._forget(site, key, found)
        # The batch is done when its bodies are deleted, which comes after its waiters are told.
        await self._sequencer.settled()
        return found, [block.height for block in blocks]

    async def _forget(self, site: Site, key: str, found: Erasing) -> None:
        """Take it out of index and memory, and delete the copies that were set aside."""
        cache, gone = self._cache, set(found.bodies)
        erased = self._sequencer.fold.erased
        slot = cache.index.slot(key)
        for entry in tuple(slot.entries) if slot else ():
            for version in tuple(entry.versions):
                limit = erased.get(url_digest(site_salt(cache.genesis_salt, version.site), version.url))
                if limit is not None and version.height < limit:
                    self._drop(entry, version.height)
                    cache.index.drop(entry, version)
        for entry in [each for each in cache.index.entries() if any(v.body.digest in gone for v in each.versions)]:
            for version in [v for v in entry.versions if v.body.digest in gone]:
                self._drop(entry, version.height)
                cache.index.drop(entry, version)
        for body in found.bodies:
            await cache.bodies.forget_quarantined(body)

    def _drop(self, entry: Entry, height: Height) -> None:
        resident = self._cache.tier.get(entry.tier_key)
        if resident is not None and resident.stored.height == height:
            self._cache.tier.remove(entry.tier_key)
