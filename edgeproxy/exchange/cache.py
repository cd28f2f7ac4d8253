"""What is stored, made usable: find the entry for a request, bring it into memory, prove it, and judge it by the rules.

Owns: index, memory tier and rules together, and the way from a version in the ledger to a `Resident`. Must not talk to an origin
or a client. A version that fails its proof is quarantined here, and the one before it takes its place.

Under a rollback the memory tier holds, under the same key, the version that is served: a resident that is `pinned` for all of its
life. Ready answers of a resident count only while its generation is that of the rules, and only who looked up under those very
rules gives it that generation: so what was made ready before a rollback or a release is never sent after it.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from edgeproxy.caching import freshness, tags, vary
from edgeproxy.caching.key import key_of_target, key_prefix, primary_key
from edgeproxy.caching.model import Height, Mark, Policy
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, StoreError
from edgeproxy.exchange.index import Entry, Index
from edgeproxy.exchange.resident import ALWAYS, Resident
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.digests import site_salt
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.rules import Rules
from edgeproxy.ledger.verify import Verified, verify_body, verify_stored
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.memory import MemoryTier
from edgeproxy.tasks import spawn
from edgeproxy.telemetry import names
from edgeproxy.telemetry.tracing import Span, current_span
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.cache")


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache has for a request. `resident` is None on a miss; `varies` then says that other variants exist.

    `pinned`: a rollback chose it, and it is served whatever its age. `refused`: what is answered instead where a rollback says
    that the origin is not asked, 0 when none does.
    """

    key: str
    entry: Entry | None = None
    resident: Resident | None = None
    mark: Mark = Mark.NONE
    varies: bool = False
    corrupt: bool = False
    """The newest version failed its proof; `resident` is an older one, or None."""
    pinned: bool = False
    refused: int = 0


class Cache:
    """Index, memory tier and rules of one node."""

    def __init__(
        self, index: Index, tier: MemoryTier[Resident], rules: Rules, bodies: BodyStore, db: LedgerDb, salt: bytes
    ) -> None:
        self.index = index
        self.tier = tier
        self.rules = rules
        self.bodies = bodies
        self.db = db
        self.on_corrupt: Callable[[Entry, Version, Corrupt], None] = _say_corrupt
        self.on_resident: Callable[[Site, Resident], None] = lambda site, resident: None
        self.adopt: Callable[[Site, str, str, Request], Awaitable[bool]] | None = None
        """On a node that was rebuilt without clear URLs: finds what is stored under one of them (`exchange.adoption`)."""
        self.genesis_salt = salt
        self._salts: dict[str, bytes] = {}
        self._loading: dict[str, asyncio.Task[Resident | None]] = {}
        self._pinning: dict[tuple[str, Height], asyncio.Task[Resident | Corrupt | StoreError]] = {}
        self.keeping = asyncio.Lock()
        """Held while a rollback is written, and while bodies are evicted: none goes that a rollback just pinned."""

    def salt(self, site: str) -> bytes:
        """The salt of a site's URL digests, derived from the genesis block."""
        salt = self._salts.get(site)
        if salt is None:
            salt = self._salts[site] = site_salt(self.genesis_salt, site)
        return salt

    def key(self, site: Site, request: Request) -> str:
        """The primary cache key of a request."""
        if not request.target.startswith("/"):
            return primary_key(request.url, site.keys)
        return key_of_target(self.key_prefix(request), request.target, site.keys)

    def key_prefix(self, request: Request) -> str:
        """What the keys of all targets begin with that come with these fields, and so with this authority."""
        memo = request.fields.memo
        prefix: str | None = memo.get("key_prefix")
        if prefix is None:
            prefix = memo["key_prefix"] = key_prefix(request.scheme, request.authority)
        return prefix

    async def find(self, site: Site, request: Request, now: Instant) -> Found:
        """The entry that `request` selects, in memory and proved. Raises nothing: what is damaged is as if it were not there."""
        key = self.key(site, request)
        await self.adopt_missing(site, request.url, key, request)
        if self.rules.rollbacks:
            pinned = await self._find_pinned(site, key, request, now)
            if pinned is not None:
                return pinned
        slot = self.index.slot(key)
        entry = None if slot is None else slot.select(request)
        if slot is None:
            return Found(key)
        if entry is None:
            return Found(key, varies=True)
        resident = entry.pending or self.tier.get(entry.tier_key)
        corrupt = False
        if resident is None or resident.pinned:
            newest = entry.versions[-1] if entry.versions else None
            resident = await self._load_once(site, entry)
            corrupt = newest is not None and (not entry.versions or entry.versions[-1] is not newest)
        if resident is None:
            return Found(key, entry, corrupt=corrupt)
        entry.used = now
        return Found(key, entry, resident, self.judge(site, entry, resident), corrupt=corrupt)

    async def adopt_missing(self, site: Site, url: str, key: str, request: Request) -> None:
        """Where URLs may be unknown: look for what is stored of this one, if what answers `request` is not in the index."""
        if self.adopt is None:
            return
        slot = self.index.slot(key)
        lacks = slot is None or slot.select(request) is None
        if not lacks and (rule := self.rules.rolled_back(site.name, key)) is not None:
            lacks = self._chosen_at(key, request, rule.to) is None
        if lacks:
            await self.adopt(site, url, key, request)

    # --- under a rollback ---

    async def _find_pinned(self, site: Site, key: str, request: Request, now: Instant) -> Found | None:
        """What a rollback says is served; None when none covers `key`, or when it leaves what was not stored then to the origin.

        A version that fails its proof is set aside, and the one before it takes its place.
        """
        corrupt = False
        while (rule := self.rules.rolled_back(site.name, key)) is not None:
            chosen = self._chosen_at(key, request, rule.to)
            if chosen is None:
                return Found(key, corrupt=corrupt, refused=404) if rule.absent == "refuse" else None
            entry, version = chosen
            resident = self.tier.get(entry.tier_key)
            if resident is None or not resident.pinned or resident.stored.height != version.height:
                loaded = await self._load_pinned_once(site, entry, version)
                if isinstance(loaded, Corrupt):
                    corrupt = True
                    continue
                if isinstance(loaded, StoreError):
                    # It was there, and cannot be read now: what the operator took back is no answer to that.
                    log.error("cannot read block %d: %s", version.height, loaded)
                    return Found(key, entry, corrupt=corrupt, refused=503)
                if self.rules.rolled_back(site.name, key) != rule:
                    continue
                resident = loaded
            # No other step in between: the rules that chose it are those of this generation.
            resident.generation = self.rules.generation
            entry.used = now
            return Found(key, entry, resident, corrupt=corrupt, pinned=True)
        return None

    def version_at(self, entry: Entry, height: Height) -> Version | None:
        """The newest version of `entry` at or below `height` whose body is still there."""
        count = bisect_right(entry.versions, height, key=_height)
        return entry.versions[count - 1] if count else None

    def _chosen_at(self, key: str, request: Request, height: Height) -> tuple[Entry, Version] | None:
        """The variant for `request` among those that were there at `height`, and its version then."""
        there = self._there_at(key, height)
        entry = vary.select([entry for entry, _ in there], request)
        return next((pair for pair in there if pair[0] is entry), None)

    def _there_at(self, key: str, height: Height) -> list[tuple[Entry, Version]]:
        slot = self.index.slot(key)
        if slot is None:
            return []
        there = [(entry, version) for entry in slot.entries if (version := self.version_at(entry, height)) is not None]
        # The order of writing then, which is not that of now.
        return sorted(there, key=lambda pair: pair[1].height)

    def select(self, site: Site, key: str, request: Request) -> Entry | None:
        """The variant that answers `request` now, by the rollback in force if there is one."""
        slot = self.index.slot(key)
        if slot is None:
            return None
        if self.rules.rollbacks and (rule := self.rules.rolled_back(site.name, key)) is not None:
            chosen = self._chosen_at(key, request, rule.to)
            if chosen is not None:
                return chosen[0]
        return slot.only or slot.select(request)

    def _is_overruled(self, entry: Entry) -> bool:
        """Whether a rollback has another version than the newest served for `entry`, or none at all."""
        rule = self.rules.rolled_back(entry.site, entry.key)
        if rule is None:
            return False
        slot = self.index.slot(entry.key)
        there = slot is not None and any(self.version_at(each, rule.to) is not None for each in slot.entries)
        return there or rule.absent == "refuse"

    def to_show(self, entry: Entry) -> list[Version]:
        """The versions of `entry` that stand for what is served now, oldest first: all, or, under a rollback, those of then."""
        if not self._is_overruled(entry):
            return entry.versions
        rule = self.rules.rolled_back(entry.site, entry.key)
        return entry.versions[: bisect_right(entry.versions, rule.to, key=_height)] if rule is not None else entry.versions

    def is_shown(self, site: Site, entry: Entry, version: Version, resident: Resident) -> bool:
        """Whether the rules let a version be shown. A rollback brings back what was purged since, and takes what came since."""
        if self._is_overruled(entry):
            rule = self.rules.rolled_back(entry.site, entry.key)
            return rule is None or version.height <= rule.to
        return self.judge(site, entry, resident) is not Mark.GONE

    async def _load_pinned_once(self, site: Site, entry: Entry, version: Version) -> Resident | Corrupt | StoreError:
        """Load a pinned version from disk; whoever asks meanwhile waits for the same load."""
        which = (entry.tier_key, version.height)
        loading = self._pinning.get(which)
        if loading is None:
            loading = self._pinning[which] = spawn(self._load_pinned(site, entry, version), name="load")
            loading.add_done_callback(lambda _: self._pinning.pop(which, None))
        return await asyncio.shield(loading)

    async def _load_pinned(self, site: Site, entry: Entry, version: Version) -> Resident | Corrupt | StoreError:
        try:
            resident = await self.prove(site, entry, version)
        except Corrupt as error:
            await self.set_aside(entry, version, error)
            return error
        except StoreError as error:
            return error
        resident.pinned, resident.fresh_until = True, ALWAYS
        rule = self.rules.rolled_back(entry.site, entry.key)
        if rule is not None and self.version_at(entry, rule.to) is version:
            self.keep(entry, resident)
            self.on_resident(site, resident)
        return resident

    # --- judged and kept ---

    def judge(self, site: Site, entry: Entry, resident: Resident) -> Mark:
        """What the rules say of a resident now, and when it stops being fresh; kept until the rules change."""
        if resident.generation != self.rules.generation:
            resident.mark = self.rules.mark(
                Height(resident.floor - 1), site=site.name, url=entry.key, tags=resident.tags, groups=resident.groups
            )
            if not self.rules.rollbacks or not self._is_overruled(entry):
                # While a rollback overrules it, no answer of it is ever ready.
                resident.generation = self.rules.generation
        mark = resident.mark if resident.mark.value >= entry.held.value else entry.held
        if mark is not Mark.NONE:
            resident.fresh_until = Instant(0)
        return mark

    def describe(self, entry: Entry, resident: Resident, policy: Policy) -> None:
        """Fill in what follows from the stored head under a site's policy."""
        stored = resident.stored
        if entry.selecting and (stored.height is None or (entry.versions and stored.height == entry.versions[-1].height)):
            entry.fields = stored.fields
        resident.tags = tags.tags(stored.fields, policy)
        resident.groups = tags.cache_groups(stored.fields)
        resident.fresh_until = freshness.fresh_until(stored, policy)

    def redescribe(self, sites: Mapping[str, Site]) -> None:
        """Judge everything in memory anew: the policies of the sites have changed."""
        for entry in self.index.entries():
            resident = entry.pending or self.tier.get(entry.tier_key)
            if resident is not None and entry.site in sites:
                self.describe(entry, resident, sites[entry.site].policy)
                if resident.pinned:
                    resident.fresh_until = ALWAYS
                resident.generation = -1
                resident.unjudge()

    def keep(self, entry: Entry, resident: Resident) -> None:
        """Put a resident into the memory tier, under its budget; the newest version only where no rollback overrules it."""
        if entry.tier_key != entry.key:
            # Once there are variants nothing may be found under the bare key any more.
            self.tier.remove(entry.key)
        resident.tier_key = entry.tier_key
        if self.rules.rollbacks and not resident.pinned and self._is_overruled(entry):
            return
        stored_text = sum(len(name) + len(value) for name, value in resident.stored.fields.lines)
        body = resident.body.value if resident.body else b""
        resident.injected_size = resident.injected.size if resident.injected else 0
        resident.size = len(body) + 3 * stored_text + 1024 + resident.injected_size
        self.tier.put(resident.tier_key, resident, resident.size)

    async def _load_once(self, site: Site, entry: Entry) -> Resident | None:
        """Load `entry` from disk; whoever asks meanwhile waits for the same load."""
        loading = self._loading.get(entry.tier_key)
        if loading is None:
            loading = self._loading[entry.tier_key] = spawn(self._load(site, entry), name="load")
            loading.add_done_callback(lambda _: self._loading.pop(entry.tier_key, None))
        return await asyncio.shield(loading)

    async def _load(self, site: Site, entry: Entry) -> Resident | None:
        while entry.versions:
            version = entry.versions[-1]
            try:
                resident = await self.prove(site, entry, version)
            except Corrupt as error:
                await self.set_aside(entry, version, error)
                continue
            except StoreError as error:
                log.error("cannot read block %d: %s", version.height, error)
                return None
            if entry.pending is None and entry.versions and entry.versions[-1] is version:
                self.keep(entry, resident)
                self.on_resident(site, resident)
            return entry.pending or resident
        return None

    async def prove(self, site: Site, entry: Entry, version: Version) -> Resident:
        """Read one version and prove block, head and body against each other; the memory tier is not touched.

        Raises Corrupt, with the field `digest` when it is the body; StoreError.
        """
        with (current_span() or Span()).child(
            names.VERIFY, {names.BODY_LENGTH: version.body.length, names.BLOCK_HEIGHT: version.height}
        ):
            return await self._proved(site, entry, version)

    async def _proved(self, site: Site, entry: Entry, version: Version) -> Resident:
        row = await self.db.load(version.height)
        stored = verify_stored(row.raw, version.leaf, row.head, version.url, version.selecting, self.salt(version.site)).value
        body: Verified[bytes] | None = None
        if version.body.length <= site.memory_object:
            body = verify_body(version.body, await self.bodies.read(version.body))
        elif not self.bodies.exists(version.body.digest):
            raise Corrupt("body is missing", digest=version.body.digest.hex())
        resident = Resident(entry.tier_key, stored, version.body, body)
        resident.floor = version.height + 1
        self.describe(entry, resident, site.policy)
        return resident

    async def set_aside(self, entry: Entry, version: Version, error: Corrupt) -> None:
        """Quarantine what failed its proof. The version before it may be used, but only as a stale one."""
        self.on_corrupt(entry, version, error)
        if "digest" in error.fields:
            await self.bodies.quarantine(version.body.digest)
        if entry.versions and entry.versions[-1] is version:
            entry.held = Mark.SOFT
        self.index.drop(entry, version)

    async def body_failed(self, entry: Entry, resident: Resident, error: Corrupt) -> None:
        """A body failed its proof while it was being streamed."""
        self.tier.remove(resident.tier_key)
        for version in [v for v in entry.versions if v.body.digest == resident.ref.digest]:
            await self.set_aside(entry, version, error)


def _height(version: Version) -> Height:
    return version.height


def _say_corrupt(entry: Entry, version: Version, error: Corrupt) -> None:
    log.error("block %d of %s failed its proof and is set aside: %s", version.height, entry.key, error)
