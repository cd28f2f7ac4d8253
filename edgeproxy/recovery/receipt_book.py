"""Receipts on their way into the ledger: judged, recognised when they come again, gathered, and written as blocks.

Owns: which receipts are taken, and how many blocks they may become. Must not read a request's body or answer it
(`exchange.receipt_intake`).

A receipt costs a visitor nothing and stays in the ledger for good, so everything about it is bounded: who may send how many,
what they may say (only URLs of the site; a block only with a URL that it was stored for), how many blocks a minute come of it.
Equal ones (URL, source, cause, block) within `window` seconds are one block with their count.
"""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from edgeproxy.caching.key import KeyRules, primary_key
from edgeproxy.caching.model import Height
from edgeproxy.clock import Clock, Instant
from edgeproxy.errors import EdgeError, RequestRefused, StoreError
from edgeproxy.ledger.block import Block, Receipt, decode
from edgeproxy.ledger.drafts import ReceiptDraft, ReceiptNames, Source, decode_names
from edgeproxy.ledger.fold import Fold
from edgeproxy.recovery.rates import Limit, Rates
from edgeproxy.recovery.receipt_store import Seen, ensure_receipt_key
from edgeproxy.recovery.receipts import (
    Refusal,
    RegistrationReport,
    Reported,
    cause_label,
    check_token,
    host_of,
    identity_of,
    is_timely,
    make_token,
    outcome_label,
    parse_report,
    tells_of_a_lie,
)
from edgeproxy.recovery.saved import Saved
from edgeproxy.storage.ledger_rows import read_rows
from edgeproxy.tasks import spawn

log = logging.getLogger("edgeproxy.recovery")

T = TypeVar("T")

MAX_PENDING: Final = 1_000
"""Different receipts that wait for their block."""
RECENT_BLOCKS: Final = 50_000
"""Blocks looked through at the start for receipts of the last day."""
ONE_CLIENT: Final = Limit(burst=30, rate=0.5)
ALL_CLIENTS: Final = Limit(burst=500, rate=50)
BLOCKS: Final = Limit(burst=200, rate=1.0)
BLOCKS_OF_ONE: Final = Limit(burst=60, rate=0.2)
"""A page of sixty parts that were all recovered is one visitor's; nobody alone takes the place of all others."""


class Ledger(Protocol):
    """What is needed of the sequencer."""

    @property
    def fold(self) -> Fold: ...

    def append(self, draft: ReceiptDraft) -> asyncio.Future[Block]: ...


class Reader(Protocol):
    """What is needed of the ledger's database."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class _Sender:
    """Whose receipts these are, and where they were posted to."""

    address: str
    site: str
    host: str
    keys: KeyRules
    is_of_site: Callable[[str], bool]


@dataclass(slots=True)
class _Pending:
    """Receipts that will be one block."""

    served: Instant
    count: int = 0
    trace: str = ""


_Key = tuple[str, str, Source, str, Height | None]


class ReceiptBook:
    """The receipts of one node. `window` in seconds."""

    def __init__(self, folder: Path, clock: Clock, ledger: Ledger, *, window: float = 5.0) -> None:
        self.saved = Saved()
        self.on_taken: Callable[[str, Source, str], None] = lambda site, source, cause: None
        self.on_refused: Callable[[str], None] = lambda reason: None
        self.on_registration: Callable[[str, str], None] = lambda site, outcome: None
        self.takes_mirrored: Callable[[str], bool] = lambda site: False
        """Whether workers of a site may serve copies out of another log, whose heights are not ours."""
        self._folder = folder
        self._clock = clock
        self._ledger = ledger
        self._window = window
        self._key = b""
        self._seen = Seen(folder)
        self._rates = Rates(ONE_CLIENT, ALL_CLIENTS)
        self._blocks = Rates(BLOCKS_OF_ONE, BLOCKS)
        self._pending: dict[_Key, _Pending] = {}
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ReceiptBook pending={len(self._pending)} seen={len(self._seen)}>"

    # --- life

    def start(self) -> None:
        """Open the two files. Blocking. Raises StartError."""
        self._key = ensure_receipt_key(self._folder, secrets.token_bytes)
        self._seen.load(self._clock.now())

    async def recall(self, size: int, reader: Reader) -> None:
        """Count the receipts of the last day among the last blocks of `size`. A ledger that cannot be read is said, no more."""
        try:
            found = await reader.read(partial(_recent, max(0, size - RECENT_BLOCKS), size))
        except StoreError as error:
            log.warning("receipts of the last day could not be read: %s", error)
            return
        for site, entry in found:
            self.saved.add(site, entry.source, entry.cause, entry.time, entry.count)

    async def stop(self) -> None:
        """Hand what is pending to the ledger, which is still open."""
        self._hurry.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    # --- what comes in

    def token(self, host: str) -> str:
        """A new token for the workers of `host`."""
        return make_token(self._key, host, self._clock.now(), secrets.token_bytes(8))

    def wait(self, address: str) -> float:
        """Seconds that this client should wait before it posts again; 0 when it may go on. It counts as a post."""
        return self._rates.wait(address, self._clock.monotonic())

    def post(
        self, body: bytes, *, address: str, site: str, host: str, keys: KeyRules, is_of_site: Callable[[str], bool]
    ) -> dict[str, int] | None:
        """Take what the browser at `address` posted to `host` of `site`; `is_of_site` says whether a host is one of the site's.

        Answers {"accepted", "duplicate", "refused"}; None for a report of a registration. Raises RequestRefused: 400 or 413 for
        what cannot be read, 403 for a token that does not hold.
        """
        report = parse_report(body)
        if isinstance(report, RegistrationReport):
            self.on_registration(site, outcome_label(report.register))
            return None
        now, counts = self._clock.now(), {"accepted": 0, "duplicate": 0, "refused": 0}
        sender = _Sender(address, site, host, keys, is_of_site)
        try:
            check_token(report.token, self._key, host, now)
        except RequestRefused:
            self.on_refused("token")
            raise
        for receipt in report.receipts:
            counts[self._take(sender, receipt, now)] += 1
        return counts

    def _take(self, sender: _Sender, receipt: Reported, now: Instant) -> str:
        identity = identity_of(sender.host, receipt)
        if identity in self._seen:
            return "duplicate"
        refusal = self._judge(sender, receipt, now)
        if refusal is not None:
            self.on_refused(refusal)
            return "refused"
        self._seen.remember(identity, now)
        self.on_taken(sender.site, receipt.source, cause_label(receipt.cause))
        return "accepted"

    def _judge(self, sender: _Sender, receipt: Reported, now: Instant) -> Refusal | None:
        """Why a receipt is not taken; None when it was gathered."""
        host = host_of(receipt.url)
        if host is None:
            return "url"
        if not sender.is_of_site(host):
            return "site"
        if not is_timely(receipt, now):
            return "time"
        block = receipt.block
        url, known = self._stored_as(sender, receipt.url, block)
        if not known:
            if receipt.source != "mirror" or not self.takes_mirrored(sender.site):
                return "block"
            block = None
        is_lie = tells_of_a_lie(receipt.cause)
        if is_lie != (block is None) and receipt.source in ("cache", "edge"):
            return "block"
        return self._gather(sender.address, (sender.site, url, receipt.source, receipt.cause, block), receipt)

    def _stored_as(self, sender: _Sender, url: str, block: Height | None) -> tuple[str, bool]:
        """The URL as the block has it, and whether it has it: the key that the site's rules make of it, or, in blocks of an older
        edge, its own spelling."""
        key = primary_key(url, sender.keys)
        if block is None:
            return key, True
        for spelling in dict.fromkeys((key, url)):
            version = self._ledger.fold.version(spelling, block)
            if version is not None and version.site == sender.site:
                return spelling, True
        return key, False

    def _gather(self, address: str, key: _Key, receipt: Reported) -> Refusal | None:
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= MAX_PENDING or self._blocks.wait(address, self._clock.monotonic()):
                return "full"
            pending = self._pending[key] = _Pending(receipt.served)
            if self._writing is None or self._writing.done():
                self._hurry.clear()
                self._writing = spawn(self._write_soon(), name="receipts")
        pending.count += 1
        pending.served = max(pending.served, receipt.served)
        pending.trace = pending.trace or receipt.trace
        return None

    # --- what goes out

    async def _write_soon(self) -> None:
        """Wait for more of the same, then write.

        Crash before: what was accepted in the last `window` seconds is lost.
        """
        while self._pending:
            try:
                async with asyncio.timeout(self._window):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            gathered, self._pending = self._pending, {}
            futures = self._append(gathered)
            await self._remember()
            for future in futures:
                await asyncio.wait((future,))

    def _append(self, gathered: dict[_Key, _Pending]) -> Sequence[asyncio.Future[Block]]:
        now, futures = self._clock.now(), []
        for (site, url, source, cause, block), pending in gathered.items():
            draft = ReceiptDraft(site, url, source, cause, block, pending.served, pending.count, now, pending.trace)
            try:
                future = self._ledger.append(draft)
            except EdgeError as error:
                log.warning("receipts for %s are lost: %s", url, error)
                self.on_refused("ledger")
                continue
            future.add_done_callback(partial(self._settled, draft))
            futures.append(future)
        return futures

    def _settled(self, draft: ReceiptDraft, done: asyncio.Future[Block]) -> None:
        if done.cancelled() or done.exception() is not None:
            self.on_refused("ledger")
            return
        self.saved.add(draft.site, draft.source, draft.cause, done.result().time, draft.count)

    async def _remember(self) -> None:
        """Keep what was seen, so that it is recognised after a restart too."""
        everything, new = self._seen.snapshot(), self._seen.take_new()
        if everything is None and not new:
            return
        try:
            await asyncio.to_thread(self._seen.keep, new, everything)
        except StoreError as error:
            log.warning("receipts that were seen could not be kept: %s", error)


def _recent(start: int, stop: int, connection: sqlite3.Connection) -> list[tuple[str, Receipt]]:
    found = []
    for row in read_rows(connection, start, stop):
        if b'"op":"receipt"' not in row.raw or row.names is None:
            continue
        try:
            entry, names = decode(row.raw).entry, decode_names(row.names)
        except StoreError:
            continue  # damaged: an audit names it
        if isinstance(entry, Receipt) and isinstance(names, ReceiptNames):
            found.append((names.site, entry))
    return found
