"""Keeps the bodies on disk within what the operator allows: by number and age of versions, and by bytes.

Owns: when that is looked at, and carrying it out; which bodies go is `exchange.keeping`'s. Each eviction is a block; the
sequencer deletes the bytes once it is committed. All URLs are walked for it, in slices, so that serving goes on.
"""

import asyncio
import logging
from collections.abc import Iterable

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Clock
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.keeping import Keep, Tally
from edgeproxy.ledger.drafts import EvictDraft
from edgeproxy.ledger.fold import Version
from edgeproxy.sequencer.sequencer import Sequencer

log = logging.getLogger("edgeproxy.retention")

LOW_WATER = 0.95
"""Eviction goes on until this share of the quota is used, so that it does not run for each body."""

BATCH = 256
SLICE = 500
"""Keys between two turns of the loop."""

SWEEP_SECONDS = 60.0
"""How often number and age of versions are looked at."""


class Retention:
    """Run `enforce` from time to time; between two sweeps it does nothing while the quota holds."""

    def __init__(self, cache: Cache, sequencer: Sequencer, clock: Clock, keep: Keep) -> None:
        self.keep = keep
        """May be replaced at any time."""
        self.evicted = 0
        self._cache = cache
        self._sequencer = sequencer
        self._clock = clock
        self._next_sweep = 0.0
        self._is_short = False

    @property
    def quota(self) -> int:
        """Bytes."""
        return self.keep.quota

    async def enforce(self) -> int:
        """Evict what is overdue, and down to the low-water mark when over the quota; how many bodies went. Raises StoreError."""
        now, is_over = self._clock.monotonic(), self._cache.bodies.total_bytes > self.quota
        if now < self._next_sweep and (not is_over or self._is_short):
            return 0
        self._next_sweep = now + SWEEP_SECONDS
        rollbacks = tuple(self._cache.rules.rollbacks)
        tally = await self._tally(1 if is_over else 2)
        evicted = 0
        # In a thread: putting a million of them in order takes a second.
        chosen = await asyncio.to_thread(self._chosen if is_over else Tally.overdue, tally)
        for batch in _batches(chosen):
            async with self._cache.keeping:
                if tuple(self._cache.rules.rollbacks) != rollbacks:
                    break  # what is pinned has changed; the next time knows it
                evicted += await self._evict(tally, batch)
        self.evicted += evicted
        return evicted

    async def _tally(self, fewest: int) -> Tally:
        """Over the entries with `fewest` versions or more: while the quota holds, only superseded ones can go."""
        cache = self._cache
        tally = Tally(self.keep, self._clock.now())
        for number, slot in enumerate(cache.index.slots()):
            for entry in slot.entries:
                if len(entry.versions) < fewest and entry.pending is None:
                    continue
                tally.take(entry, self._pinned(entry), in_memory=entry.tier_key in cache.tier)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return tally

    def _pinned(self, entry: Entry) -> Iterable[Version]:
        """What is served of `entry` under any rollback in force: under those too that a later one covers for now."""
        if not self._cache.rules.rollbacks:
            return ()
        rules = self._cache.rules.rollbacks.covering(entry.site, entry.key)
        return [version for rule in rules if (version := self._cache.version_at(entry, rule.to)) is not None]

    def _chosen(self, tally: Tally) -> list[Digest]:
        """What goes to come down to the low-water mark, the overdue in any case."""
        chosen = dict.fromkeys(tally.overdue())
        excess = self._cache.bodies.total_bytes - int(self.quota * LOW_WATER) - sum(tally.length(digest) for digest in chosen)
        for digest in tally.under_pressure():
            if excess <= 0:
                break
            if digest not in chosen:
                chosen[digest] = None
                excess -= tally.length(digest)
        if excess > 0 and not self._is_short:
            log.warning("disk quota cannot be met: %d bytes more are protected, pinned by a rollback, or just arriving", excess)
        self._is_short = excess > 0
        return list(chosen)

    async def _evict(self, tally: Tally, batch: list[Digest]) -> int:
        """Evict those of `batch` that nothing has come to need since they were chosen."""
        index, arriving = self._cache.index, self._sequencer.arriving_bodies()
        going = [digest for digest in batch if digest not in arriving and index.uses(digest) == len(tally.uses(digest))]
        now = self._clock.now()
        # Nothing comes in between: who needs one of them from here on stores it behind its eviction, and it stays.
        drafts = [EvictDraft(digest, tally.length(digest), now) for digest in going]
        blocks = await asyncio.gather(*[self._sequencer.append(draft) for draft in drafts])
        for digest, block in zip(going, blocks, strict=True):
            for use in tally.uses(digest):
                if use.version.height < block.height:
                    index.drop(use.entry, use.version)
        return len(going)


def _batches(digests: list[Digest]) -> Iterable[list[Digest]]:
    return [digests[start : start + BATCH] for start in range(0, len(digests), BATCH)]
