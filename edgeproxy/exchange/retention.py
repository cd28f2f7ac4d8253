"""Keeps the bodies on disk within their quota.

Owns: which go first. Superseded versions go before current ones, the longest unused first; the newest version of a URL that
is in memory is the last to go. Each eviction is a block; the sequencer deletes the bytes once it is committed.
"""

import asyncio
from collections.abc import Iterator

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Clock
from edgeproxy.exchange.cache import Cache
from edgeproxy.ledger.drafts import EvictDraft
from edgeproxy.sequencer.sequencer import Sequencer

LOW_WATER = 0.95
"""Eviction goes on until this share of the quota is used, so that it does not run for each body."""

BATCH = 256


class Retention:
    """Run `enforce` from time to time; it does nothing while the quota holds."""

    def __init__(self, cache: Cache, sequencer: Sequencer, clock: Clock, quota: int) -> None:
        self.quota = quota
        """Bytes."""
        self.evicted = 0
        self._cache = cache
        self._sequencer = sequencer
        self._clock = clock

    async def enforce(self) -> int:
        """Evict down to the low-water mark when over the quota; how many bodies went. Raises StoreError."""
        bodies = self._cache.bodies
        if bodies.total_bytes <= self.quota:
            return 0
        excess = bodies.total_bytes - int(self.quota * LOW_WATER)
        chosen: dict[Digest, int] = {}
        for digest, length in self._oldest_first():
            if excess <= 0 or len(chosen) >= BATCH:
                break
            if digest not in chosen:
                chosen[digest] = length
                excess -= length
        now = self._clock.now()
        evictions = [self._sequencer.append(EvictDraft(digest, length, now)) for digest, length in chosen.items()]
        await asyncio.gather(*evictions)
        for digest in chosen:
            self._cache.index.drop_body(digest)
        self.evicted += len(chosen)
        return len(chosen)

    def _oldest_first(self) -> Iterator[tuple[Digest, int]]:
        """Bodies in the order they may go: superseded ones by age, then current ones that are not in memory by last use."""
        cache = self._cache
        entries = list(cache.index.entries())
        current = {entry.versions[-1].body.digest for entry in entries if entry.versions}
        current |= {entry.pending.ref.digest for entry in entries if entry.pending is not None}
        superseded = [version for entry in entries for version in entry.versions[:-1] if version.body.digest not in current]
        superseded.sort(key=lambda version: version.height)
        yield from ((version.body.digest, version.body.length) for version in superseded)
        idle = [entry for entry in entries if entry.versions and entry.pending is None]
        idle.sort(key=lambda entry: (cache.tier.get(entry.tier_key) is not None, entry.used or entry.versions[-1].time))
        yield from ((entry.versions[-1].body.digest, entry.versions[-1].body.length) for entry in idle)
