"""Writes down what changed: every cache mutation becomes a draft for the sequencer, and a version once its block is there.

Owns: the step from a received response to its block, and what happens to it in between. A response is served from memory from the
moment it is whole; if its block cannot be committed (disk full), it is dropped again, and what was stored before stays.
"""

import asyncio
import logging
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from edgeproxy.caching.model import Height, Mark, Selecting, StoredResponse
from edgeproxy.clock import Clock, Instant
from edgeproxy.errors import EdgeError
from edgeproxy.exchange import heads
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.block import Block
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.drafts import BodyRef, PurgeDraft, PurgeNames, ReleaseDraft, RollbackDraft, StoreDraft
from edgeproxy.ledger.verify import Verified
from edgeproxy.sequencer.sequencer import Sequencer
from edgeproxy.storage.forms import FormMaker
from edgeproxy.tasks import spawn
from edgeproxy.telemetry.tracing import Span, Tracing, current_span
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_stored_head

log = logging.getLogger("edgeproxy.recorder")


@dataclass(frozen=True, slots=True)
class Received:
    """A whole response as it will be kept. `fields` are those of the stored head, `Age` and `Date` already set right."""

    url: str
    """The primary key, which the block is of: who knows the page's URL can compute it, whoever asked first."""
    status: int
    fields: Fields
    selecting: Selecting
    response_time: Instant
    initial_age: int
    ref: BodyRef
    body: Verified[bytes] | None
    floor: int
    """Size of the ledger when the request went out: what was purged since then is not kept."""
    trace: str


class Recorder:
    """Admits responses and purges, and follows them until their block is committed."""

    def __init__(self, cache: Cache, sequencer: Sequencer, forms: FormMaker, clock: Clock, tracing: Tracing) -> None:
        self._cache = cache
        self._tracing = tracing
        self._sequencer = sequencer
        self._forms = forms
        self._clock = clock
        self.failure: EdgeError | None = None
        """Why the last response could not be recorded; None once one was again."""
        self.on_ready: Callable[[Site, Resident], None] = lambda site, resident: None
        """Told when a resident may be served as a hit: it has its block, or came from disk, or has another form."""
        cache.on_resident = self._loaded

    def note(self, error: EdgeError) -> None:
        """Remember why something could not be kept. A copy: the error itself holds on to the frames it went through, and so to
        the temporary file of a body, whose space would then never come free."""
        self.failure = copy(error)

    @property
    def floor(self) -> int:
        """Height of the next block: rules that are appended from now on lie at or above it."""
        return self._sequencer.next_height

    def store(self, site: Site, key: str, received: Received) -> Resident | None:
        """Admit a new response; None when a purge that came meanwhile covers it."""
        entry = self._cache.index.entry(site.name, key, received.selecting)
        return self._admit(site, entry, received, "store")

    def refresh(self, site: Site, entry: Entry, received: Received) -> Resident | None:
        """The origin confirmed a stored response; its head is new, its body the same."""
        return self._admit(site, entry, received, "refresh")

    def _admit(self, site: Site, entry: Entry, received: Received, op: Literal["store", "refresh"]) -> Resident | None:
        stored = StoredResponse(
            url=received.url,
            status=received.status,
            fields=received.fields,
            response_time=received.response_time,
            initial_age=received.initial_age,
            body=received.ref.digest,
            length=received.ref.length,
            selecting=received.selecting,
        )
        resident = Resident(entry.tier_key, stored, received.ref, received.body)
        resident.floor = received.floor
        self._cache.describe(entry, resident, site.policy)
        held, entry.held = entry.held, Mark.NONE
        if self._cache.judge(site, entry, resident) is not Mark.NONE:
            entry.held = held
            self._cache.index.forget_if_empty(entry)
            return None
        draft = StoreDraft(
            op=op,
            site=site.name,
            url=received.url,
            selecting=received.selecting,
            status=received.status,
            head=encode_stored_head(received.status, received.fields),
            body=received.ref,
            time=received.response_time,
            trace=received.trace,
        )
        try:
            block = self._append(draft)
        except EdgeError as error:
            self._give_up(site, entry, resident, error)
            return None
        entry.pending = resident
        entry.used = self._clock.now()
        self._cache.keep(entry, resident)
        block.add_done_callback(partial(self._settled, site, entry, resident, draft))
        self.make_forms(site, resident)
        return resident

    def _append(self, draft: StoreDraft | PurgeDraft | RollbackDraft | ReleaseDraft) -> "asyncio.Future[Block]":
        """Hand a draft to the sequencer, under a span of the exchange that runs here. Raises StoreError."""
        span = self._tracing.append_span(current_span() or Span(), draft)
        try:
            block = self._sequencer.append(draft)
        except EdgeError as error:
            span.fail(error)
            span.end()
            raise
        span.follow(block)
        return block

    def _settled(self, site: Site, entry: Entry, resident: Resident, draft: StoreDraft, done: "asyncio.Future[Block]") -> None:
        """Its block is committed, or never will be."""
        if done.cancelled() or (error := done.exception()) is not None:
            failure = None if done.cancelled() else error
            known = failure if isinstance(failure, EdgeError) else EdgeError("block was not committed")
            self._give_up(site, entry, resident, known)
            return
        block = done.result()
        self.failure = None
        # The fold took the block before the future was resolved; the index shares its version.
        kept = self._sequencer.fold.by_url[draft.url][draft.selecting]
        version = next(version for version in reversed(kept) if version.height == block.height)
        self._cache.index.add(entry, version)
        resident.committed(replace(resident.stored, height=Height(block.height), response_time=block.time))
        self.on_ready(site, resident)
        if entry.pending is resident:
            entry.pending = None
            if self._cache.tier.get(entry.tier_key) is not resident:
                self._cache.keep(entry, resident)

    def _give_up(self, site: Site, entry: Entry, resident: Resident, error: EdgeError) -> None:
        log.error("response for %s could not be recorded and is not kept: %s", entry.key, error)
        self.note(error)
        if entry.pending is resident:
            entry.pending = None
        if self._cache.tier.get(entry.tier_key) is resident:
            self._cache.tier.remove(entry.tier_key)
        self._cache.index.forget_if_empty(entry)

    def _loaded(self, site: Site, resident: Resident) -> None:
        """A version came back into memory, proved."""
        self.make_forms(site, resident)
        self.on_ready(site, resident)

    def make_forms(self, site: Site, resident: Resident) -> None:
        """Ask for the coded forms of a body; they are served from when they are ready."""
        fields = resident.stored.fields
        content_type = fields.get("content-type") or ""
        if not site.compress or resident.body is None or "content-encoding" in fields or resident.stored.status == 206:
            return
        if "no-transform" in (fields.get("cache-control") or "").lower():
            return
        resident.compressible = self._forms.is_wanted(content_type, resident.stored.length)
        if resident.compressible:
            ready = partial(self._forms_ready, site, resident)
            self._forms.request(resident.stored.body, resident.body.value, content_type, ready)

    def _forms_ready(self, site: Site, resident: Resident, made: dict[str, bytes]) -> None:
        if self._cache.tier.get(resident.tier_key) is not resident:
            return
        for coding, data in made.items():
            resident.add_form(heads.coded_form(resident.stored, coding, data, sha256(data)))
        self._cache.tier.put(resident.tier_key, resident, resident.size)
        self.on_ready(site, resident)

    def invalidate(self, site: Site, key: str, trace: str, *, under_way: bool) -> None:
        """An unsafe request succeeded (RFC 9111 section 4.4): nothing stored under `key` is sent again without validation.

        In force at once; the block follows. Writes none when nothing is stored there, nor (`under_way`) being fetched.
        """
        slot = self._cache.index.slot(key)
        if slot is None and not under_way:
            return
        for entry in slot.entries if slot else ():
            entry.held = Mark.MUST_VALIDATE
            resident = entry.pending or self._cache.tier.get(entry.tier_key)
            if resident is not None and not resident.pinned:
                resident.fresh_until = Instant(0)
        self._enact_behind(PurgeDraft(site.name, "url", key, "invalidate", self._clock.now(), trace))

    def invalidate_group(self, site: Site, group: str, trace: str) -> None:
        """RFC 9875 section 3: everything of this origin in `group` needs validation."""
        self._enact_behind(PurgeDraft(site.name, "group", group, "invalidate", self._clock.now(), trace))

    def _enact(self, draft: PurgeDraft) -> "asyncio.Future[Block]":
        """Append a rule. It is in force from here on, so that what was asked for before is not admitted behind it; should its
        block fail, it holds until the restart. Raises StoreError when it is not even taken."""
        height = self._sequencer.next_height
        block = self._append(draft)
        self._cache.rules.add(height, PurgeNames(draft.site, draft.kind, draft.value, draft.mode))
        return block

    def _enact_behind(self, draft: PurgeDraft) -> None:
        """Append a rule that nobody waits for."""

        async def recorded() -> None:
            try:
                await block
            except EdgeError as error:
                log.error("rule could not be recorded, it holds until restart only: %s", error)

        try:
            block = self._enact(draft)
        except EdgeError as error:
            self._cache.rules.add(self._sequencer.next_height, PurgeNames(draft.site, draft.kind, draft.value, draft.mode))
            log.error("rule could not be recorded, it holds until restart only: %s", error)
            return
        spawn(recorded(), name="rule")

    async def purge(self, draft: PurgeDraft) -> Block:
        """Write a purge rule and wait until it is durable and in force; raises StoreError."""
        return await self._enact(draft)

    async def set_rollbacks(self, *drafts: RollbackDraft | ReleaseDraft) -> list[Block]:
        """Write the rules and wait until they are durable and in force, which is at one moment; raises StoreError.

        While they are on their way no body is evicted: what they pin is known to who evicts.
        """
        async with self._cache.keeping:
            return await asyncio.gather(*[self._append(draft) for draft in drafts])
