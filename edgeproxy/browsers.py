"""The edge's side of the service worker: its parts, joined, and their life.

Owns: wiring of orders, receipts, the relay of spans, and the paths that browsers ask for. Must not decide what those
decide.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeproxy.clock import Clock
from edgeproxy.config import Config
from edgeproxy.exchange.browser_paths import BrowserPaths
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.mirror_paths import MirrorPaths, UrlDigests
from edgeproxy.exchange.receipt_intake import ReceiptIntake
from edgeproxy.exchange.service_worker import WorkerFiles, load_scripts
from edgeproxy.exchange.site import Sites
from edgeproxy.ledger.drafts import StoreDraft
from edgeproxy.recovery.rates import Limit, Rates
from edgeproxy.recovery.receipt_book import ReceiptBook
from edgeproxy.recovery.service_workers import ServiceWorkers
from edgeproxy.sequencer.sequencer import Committed, Sequencer
from edgeproxy.tasks import spawn
from edgeproxy.telemetry import names
from edgeproxy.telemetry.browser_counts import BrowserCounts
from edgeproxy.telemetry.metrics import Metrics
from edgeproxy.telemetry.relay import Relay
from edgeproxy.telemetry.trace_settings import TracingSettings

log = logging.getLogger("edgeproxy")

SPANS_OF_ONE = Limit(burst=20, rate=1.0)
SPANS_OF_ALL = Limit(burst=200, rate=50)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the edge is needed here. `sites`: as the handler has them now; `is_published`: the ledger, now."""

    data: Path
    clock: Clock
    sequencer: Sequencer
    cache: Cache
    metrics: Metrics
    tracing: TracingSettings
    sites: Callable[[], Sites]
    is_published: Callable[[], bool]


class Browsers:
    """Of one node."""

    def __init__(self, around: Surroundings) -> None:
        clock = around.clock
        self._around = around
        self.workers = ServiceWorkers(around.data, clock, around.sequencer, around.cache.salt)
        self.receipts = ReceiptBook(around.data, clock, around.sequencer)
        rates = Rates(SPANS_OF_ONE, SPANS_OF_ALL)
        self.relay = Relay(around.tracing, clock, lambda address: rates.wait(address, clock.monotonic()))
        self.digests = UrlDigests(self._urls, around.cache.salt)
        self.paths = BrowserPaths(
            files=WorkerFiles(self.workers, self.receipts.token, load_scripts()),
            intake=ReceiptIntake(self.receipts, self.relay, around.sites),
            mirror=MirrorPaths(self.digests, self.workers.control, around.sites, around.is_published),
            saw_own=self.workers.saw_own,
        )
        self._recalling: asyncio.Task[None] | None = None
        self._count(BrowserCounts(around.metrics))

    def _count(self, counts: BrowserCounts) -> None:
        self.receipts.on_taken = counts.receipt
        self.receipts.on_refused = counts.refused
        self.receipts.on_registration = counts.registration
        self.receipts.takes_mirrored = self.workers.takes_mirrored
        self.relay.on_spans = counts.spans
        self._around.metrics.gauge(names.WORKER_MODE, self._modes)

    def _modes(self) -> dict[tuple[str, ...], float]:
        status = self.workers.status([site.name for site in self._around.sites().sites])
        return {(each["site"], each["mode"]): 1.0 for each in status}

    def _urls(self) -> list[tuple[str, str]]:
        versions = self._around.sequencer.fold.by_url.items()
        return [(url, next(iter(variants.values()))[0].site) for url, variants in versions if variants]

    async def start(self, config: Config) -> None:
        """Be ready. Raises StartError."""
        if self.paths.files.missing and any(site.service_worker.mode != "off" for site in config.sites):
            missing = ", ".join(self.paths.files.missing)
            log.error("service workers cannot be served; build them, or install a release: %s", missing)
        await asyncio.to_thread(self.workers.start, config.sites)
        await asyncio.to_thread(self.receipts.start)
        self.relay.start()
        sequencer = self._around.sequencer
        told = sequencer.on_commit

        def committed(batch: Sequence[Committed]) -> None:
            told(batch)
            self.committed(batch)

        sequencer.on_commit = committed
        self._recalling = spawn(self.receipts.recall(sequencer.head().size, self._around.cache.db), name="receipts.recall")

    async def stop(self) -> None:
        """Hand over what is pending; the sequencer still runs."""
        if self._recalling is not None:
            self._recalling.cancel()
            await asyncio.wait((self._recalling,))
        await self.receipts.stop()
        await self.relay.stop()
        await self.workers.sweep()

    async def apply(self, config: Config) -> None:
        """The configuration was reloaded."""
        await self.workers.apply(config.sites)

    def committed(self, committed: Sequence[Committed]) -> None:
        """To be told of every batch."""
        for each in committed:
            if isinstance(each.draft, StoreDraft):
                self.digests.note(each.draft.url, each.draft.site)

    # --- for the operator

    async def order(self, site: str | None, order: str) -> dict[str, Any]:
        """Order the workers of a site (its name or one of its hosts), or of all; answers as `status`. Raises RequestRefused."""
        found = self._around.sites().find(site.lower()) if site is not None else None
        await self.workers.order(found.name if found is not None else site, order)
        return self.status()

    def status(self) -> dict[str, Any]:
        """{"serial", "sites": [as `ServiceWorkers.status`, and "receipts": as `Saved.view`]}"""
        now = self._around.clock.now()
        sites = self.workers.status([site.name for site in self._around.sites().sites])
        return {
            "serial": self.workers.serial,
            "sites": [{**each, "receipts": self.receipts.saved.view(each["site"], now)} for each in sites],
        }
