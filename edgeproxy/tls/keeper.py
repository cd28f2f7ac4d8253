"""Keeps the certificates: what is wanted, what serves, when something is done about it.

Owns: the entries, the one loop that looks at all of them, leadership, and what is told to who serves. The decisions are pure
functions (`tls.decisions`), their carrying out is `tls.orders`. Serving never waits for any of it: `start` gives out what the
vault has, or a placeholder, before it returns.

One round: look at the vault if it changed; decide about each entry; begin as many attempts as may run, the most urgent first;
sleep until the next thing is due. Only the leading process decides and begins; the others look, and serve what it stored.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from edgeproxy.clock import Clock
from edgeproxy.errors import CertificateFault, IssuanceFailed, Retry, StoreError
from edgeproxy.tasks import spawn
from edgeproxy.tls import backoff
from edgeproxy.tls.attempt import IssuerLike
from edgeproxy.tls.certificate import IMPORTED, Certificate, canonical_name, canonical_names
from edgeproxy.tls.decisions import Ask, Begin, Rest, decide, renewal_of
from edgeproxy.tls.display import Display, served, serving
from edgeproxy.tls.entries import Advice, CertificateStatus, Entry, KeeperSettings, Probe, Wanted
from edgeproxy.tls.events import CertificateEvent, Kind
from edgeproxy.tls.health import RED_SHARE, Served
from edgeproxy.tls.leader import Leadership
from edgeproxy.tls.orders import Orders
from edgeproxy.tls.self_signed import SelfSigned, signs_itself
from edgeproxy.tls.snapshot import Snapshot
from edgeproxy.tls.states import SERVING, Event
from edgeproxy.tls.vault import Vault, slug

__all__ = ["Advice", "CertificateStatus", "IssuerLike", "Keeper", "KeeperSettings", "Probe", "Wanted"]

log = logging.getLogger("edgeproxy.tls.keeper")

T = TypeVar("T")

MOST_QUESTIONS: Final = 8
"""Questions for suggestions that run at the same time."""


def _ignore(_: object) -> None:
    """What is told to nobody."""


async def _nothing() -> None:
    """What is done for nobody."""


class Keeper:
    """All certificates of one edge. Everything but the orders runs on one event loop."""

    def __init__(self, vault: Vault, issuers: Sequence[IssuerLike], clock: Clock, settings: KeeperSettings) -> None:
        self.on_change: Callable[[Certificate], None] = _ignore
        """A certificate that should be served from now on, instead of what was served under its names before."""
        self.on_event: Callable[[CertificateEvent], None] = _ignore
        """Called in the leading process only, so that each event is told once."""
        self.on_lead: Callable[[], Awaitable[None]] = _nothing
        """Called when this process begins to lead, before its first attempt (`Challenges.clear`)."""
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._local = SelfSigned(vault.folder, clock)
        self._display = Display(self._local, lambda certificate: self._call(self.on_change, certificate), self._spawn)
        self._orders = Orders(vault, issuers, clock, settings)
        self._orders.tell, self._orders.take, self._orders.show = self._tell, self._take, self._display.show
        self._leadership = Leadership(vault.folder)
        self._entries: dict[tuple[str, ...], Entry] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: set[asyncio.Task[None]] = set()
        self._stamp = -1
        self._looked = 0.0
        self._is_ready = False
        """The vault was looked at since this process leads."""
        self._is_open = False
        self._is_asleep = False
        self._act_at = 0.0
        """On the monotonic clock."""
        self._reported: set[tuple[Path, str]] = set()
        self.round_errors = 0
        """Rounds of the loop that a bug ended early; each was logged, and the next one came nevertheless."""

    def __repr__(self) -> str:
        busy = sum(entry.is_busy for entry in self._entries.values())
        return f"<Keeper {len(self._entries)} certificates, {busy} attempts, {'leads' if self.leads else 'follows'}>"

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Give out what the vault has, and begin to keep it. Asks no authority before it returns. Raises StartError."""
        self._vault.open()
        self._local.open()
        self._is_open = True
        self._look(self._vault.read())
        self._loops = {self._spawn(self._lead(), "certificates-lead"), self._spawn(self._run(), "certificates")}

    async def stop(self) -> None:
        """Stop, in the middle of attempts too; what they left is taken up at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._leadership.release()

    @property
    def leads(self) -> bool:
        """This process is the one that asks authorities."""
        return self._is_ready and self._leadership.is_held

    @property
    def is_resting(self) -> bool:
        """Nothing runs, and nothing will before some time has passed or somebody asks for something."""
        work = any(not task.done() for task in self._tasks - self._loops)
        return self._is_asleep and not self._wake.is_set() and not work

    # -- what the others say --------------------------------------------------------------------------------------------------

    def want(self, wanted: Sequence[Wanted]) -> None:
        """The whole list of what the configuration asks for; may be called again. What is not in it any more stays in the vault.

        Names that this edge signs itself are taken out of sets with others: no authority would issue for the whole.
        """
        before, self._entries = self._entries, {}
        for names in dict.fromkeys(part for one in wanted for part in self._parts(one.names)):
            known = before.pop(names, None)
            entry = known or self._new_entry(names)
            entry.is_on_demand = False
            self._entries[names] = entry
        self._entries |= {names: entry for names, entry in before.items() if entry.is_on_demand}
        for entry in before.values():
            if entry.task is not None and not entry.is_on_demand:
                entry.task.cancel()
        if self._is_open:
            self._look(self._vault.read())
        self._nudge()

    def status(self) -> list[CertificateStatus]:
        """One for each certificate, in the order of the configuration. Reads small files when another process leads."""
        has_issuers = bool(self._orders.directories)
        fresh = self.leads
        return [
            entry.status(entry.record if fresh else self._orders.recall(entry), has_issuers) for entry in self._entries.values()
        ]

    def serving(self) -> Mapping[str, Certificate]:
        """What is served under each name that is wanted: the same that `on_change` told one by one."""
        return serving(self._entries.values())

    def served(self) -> list[Served]:
        """What is shown to clients, for `tls.health.judge`."""
        return served(self._entries.values())

    async def renew_now(self, name: str) -> None:
        """Renew the certificates for `name` as soon as possible, whatever their waits say; returns before it is done.

        Raises `CertificateFault` for a name that no certificate is kept for, without any authority, or with too many failed
        validations in the last hour; `StoreError` when another process leads and cannot be told.
        """
        asked, now = canonical_name(name), self._clock.seconds()
        entries = [entry for entry in self._entries.values() if asked in entry.names]
        if not entries:
            raise CertificateFault("no certificate is kept for this name", name=name)
        for entry in entries:
            if entry.is_local and entry.held is None:
                self._display.show_own(entry, self._local.renew(entry.names))
            elif entry.is_local:
                raise CertificateFault("no authority is asked for this name; import the next certificate", name=name)
            elif not self._orders.directories:
                raise CertificateFault("no authority is configured", name=name)
            elif not self.leads:
                await self._vault.request(entry.names)
            elif (free := backoff.free_at(self._orders.failed, entry.names, now)) > now:
                raise CertificateFault("too many validations failed in the last hour", name=name, wait_seconds=round(free - now))
            else:
                entry.is_forced = True
        self._nudge()

    def find(self, name: str) -> Certificate | None:
        """The certificate that was obtained on demand for `name` and is in the vault, good or expired. Reads one small folder."""
        names = (canonical_name(name),)
        entry = self._entries.get(names)
        return entry.held if entry is not None and entry.held is not None else self._vault.load(names)

    async def obtain(self, name: str) -> Certificate:
        """A certificate for `name` that a client asked for: the one held, unless it is due, or a new one. For `tls.on_demand`.

        Waits as long as it takes; to be cancelled by the caller, which ends the wait and not the attempt. Raises `IssuanceFailed`
        when the attempt fails, or an earlier one did and its wait is not over, and `StoreError`.
        """
        names, now = (canonical_name(name),), self._clock.seconds()
        entry = self._entries.get(names)
        if entry is None:
            self._forget_unused()
            entry = self._entries[names] = Entry(names, is_on_demand=True)
            entry.record = await asyncio.to_thread(self._orders.recall, entry)
            if found := (await asyncio.to_thread(self._vault.read)).find(names, now):
                self._take(entry, found)
        if entry.held is not None and entry.held.is_valid(now) and renewal_of(entry.held, entry.record).at > now:
            return entry.held
        if not entry.is_busy and entry.record.next_attempt > now and entry.record.failures:
            failure = entry.record.last_failure
            raise IssuanceFailed(
                failure.problem if failure else "waiting",
                failure.detail if failure else "",
                retry=Retry.NOT_BEFORE,
                not_before=entry.record.next_attempt,
            )
        entry.is_asked = True
        waiter: asyncio.Future[Certificate] = asyncio.get_running_loop().create_future()
        entry.waiters.append(waiter)
        if not self.leads:
            await self._vault.request(names)
        self._nudge()
        return await waiter

    # -- the loop -------------------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Wait until this process leads, get ready, and again when somebody removed the lock."""
        while True:
            try:
                await self._leadership.take()
                await self._call_on_lead()
                await asyncio.to_thread(self._orders.recall_failed)
                for entry in tuple(self._entries.values()):
                    entry.record = await asyncio.to_thread(self._orders.recall, entry)
                await self._look_fresh()
                self._is_ready = True
                self._report_damages()
                self._nudge()
                while self._leadership.is_held:
                    await self._settings.sleep(self._settings.scan_seconds)
                log.error("the leader's lock was removed; waiting for it again")
            except StoreError as error:
                log.error("this process cannot lead: %s", error)
                await self._settings.sleep(self._settings.scan_seconds)
            finally:
                self._is_ready = False

    async def _call_on_lead(self) -> None:
        try:
            await self.on_lead()
        except Exception:  # a bug in who prepares must not leave this edge without a leader
            log.exception("preparing to lead failed")

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._round()
            except Exception:  # a bug in one round must not end the renewals of all certificates; the next round tries again
                self.round_errors += 1
                log.exception("looking after the certificates failed")
                self._act_at = self._clock.monotonic() + self._settings.scan_seconds
            delay = min(self._act_at - self._clock.monotonic(), self._settings.watch_seconds)
            timer = spawn(self._ring(delay), name="certificates-timer")
            self._is_asleep = True
            try:
                await self._wake.wait()
            finally:
                self._is_asleep = False
                timer.cancel()

    async def _ring(self, seconds: float) -> None:
        await self._settings.sleep(max(seconds, 0.0))
        self._wake.set()

    def _nudge(self) -> None:
        """Something changed: decide again."""
        self._act_at = 0.0
        self._wake.set()

    async def _round(self) -> None:
        now = self._clock.monotonic()
        age = now - self._looked
        # A look costs in proportion to all certificates, so a hundred that arrive at once are looked at together.
        is_news = age >= self._settings.watch_seconds and self._vault.stamp() != self._stamp
        if is_news or age >= self._settings.scan_seconds:
            self._act_at = 0.0
            snapshot = await self._look_fresh()
            if self.leads:
                self._take_requests()
                await self._put_back(snapshot)
        if now < self._act_at:
            return
        for entry in self._entries.values():
            self._warn(entry, self._clock.seconds())
        delay = self._act() if self.leads else self._settings.scan_seconds
        self._act_at = now + min(delay, self._settings.scan_seconds)

    def _act(self) -> float:
        """Decide about every entry, begin what may begin, and say for how many seconds there is nothing to do."""
        now, until = self._clock.seconds(), float("inf")
        orders: list[tuple[float, Entry]] = []
        questions: list[Entry] = []
        for entry in self._entries.values():
            if entry.is_local or entry.task is not None:
                continue
            match decide(entry.situation(self._orders.directories, self._orders.failed), now):
                case Begin(urgency):
                    orders.append((urgency, entry))
                case Ask():
                    questions.append(entry)
                case Rest(time):
                    until = min(until, time)
                    self._refuse_waiters(entry, time)
        running = sum(entry.is_busy for entry in self._entries.values())
        asking = sum(entry.task is not None for entry in self._entries.values()) - running
        orders.sort(key=lambda one: one[0])
        for _, entry in orders[: max(self._settings.most_orders - running, 0)]:
            entry.move(Event.BEGIN)
            self._work(entry, self._orders.run(entry), "order")
        for entry in questions[: max(MOST_QUESTIONS - asking, 0)]:
            self._work(entry, self._orders.ask_suggestion(entry), "question")
        return max(until - now, 0.0)  # what could not begin is decided again when something ends

    def _work(self, entry: Entry, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._spawn(work, f"certificate-{what} {entry.names[0]}")
        entry.task = task
        task.add_done_callback(partial(self._ended, entry))

    def _ended(self, entry: Entry, task: asyncio.Task[None]) -> None:
        entry.task = None
        if not task.cancelled() and task.exception() is not None:  # a bug; `spawn` reports it, and it must not run in a circle
            wait = backoff.wait_after(entry.record.failures + 1, self._settings.draw())
            entry.record = msgspec.structs.replace(
                entry.record, failures=entry.record.failures + 1, next_attempt=self._clock.seconds() + wait
            )
            entry.settle(None, IssuanceFailed("internal", "see the log"))
        self._nudge()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = spawn(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _refuse_waiters(self, entry: Entry, until: float) -> None:
        if entry.is_asked:
            entry.is_asked = False
            entry.settle(
                None, IssuanceFailed("waiting", "no authority may be asked now", retry=Retry.NOT_BEFORE, not_before=until)
            )

    # -- the vault ------------------------------------------------------------------------------------------------------------

    async def _look_fresh(self) -> Snapshot:
        """Look at what the vault has; once more if it changed while it was read, so that nothing older is taken for news."""
        while True:
            stamp = self._vault.stamp()
            snapshot = await asyncio.to_thread(self._vault.read)
            if stamp == self._vault.stamp():
                self._stamp, self._looked = stamp, self._clock.monotonic()
                self._look(snapshot)
                return snapshot

    def _look(self, snapshot: Snapshot) -> None:
        """Take what is new, and give everyone something to serve."""
        now = self._clock.seconds()
        for entry in self._entries.values():
            found = snapshot.find(entry.names, now)
            if entry.is_local and (found is None or found.directory != IMPORTED):
                if entry.held is None:  # what the operator brought is better than what this edge signs
                    self._display.show_own(entry, self._local.get(entry.names))
            elif found is not None and found != entry.held and not entry.is_unsaved:
                is_import = found.directory == IMPORTED and self._is_ready
                self._take(entry, found)
                if is_import:
                    self._tell(Kind.IMPORTED, entry, f"issued by {found.issuer}")
            elif entry.held is None and not entry.is_on_demand:
                self._display.show_placeholder(entry, snapshot.find_parts(entry.names, now))
        self._report_damages()

    def _take(self, entry: Entry, found: Certificate) -> None:
        """The vault has `found`. During an attempt it is served at once, and the state follows when the attempt ends."""
        entry.held = found
        if not entry.is_busy:
            entry.move(Event.FIND_IMPORTED if found.directory == IMPORTED else Event.FIND)
        self._display.show(entry, found)
        if found.is_valid(self._clock.seconds()):
            entry.settle(found)

    async def _put_back(self, snapshot: Snapshot) -> None:
        """Store what the vault should have and has not: a full disk kept it out, or somebody removed it. Nobody is asked."""
        now = self._clock.seconds()
        for entry in tuple(self._entries.values()):
            if entry.is_local or entry.is_busy or entry.held is None or not entry.held.is_valid(now):
                continue
            is_lost = not entry.is_unsaved and snapshot.find(entry.names, now) is None
            if (entry.is_unsaved or is_lost) and await self._orders.save(entry) and is_lost:
                self._tell(Kind.RESTORED, entry, "it had vanished from the vault")

    def _take_requests(self) -> None:
        for names in self._vault.take_requests():
            entry = self._entries.get(names)
            if entry is None:
                entry = self._entries[names] = Entry(names, is_on_demand=True)
                entry.record = self._orders.recall(entry)
            if entry.is_on_demand:
                entry.is_asked = True
            else:
                entry.is_forced = True
            self._nudge()

    def _forget_unused(self) -> None:
        unused = [entry for entry in self._entries.values() if entry.is_on_demand and entry.task is None and not entry.waiters]
        for entry in unused[: max(len(unused) - self._settings.most_on_demand + 1, 0)]:
            del self._entries[entry.names]

    def _new_entry(self, names: tuple[str, ...]) -> Entry:
        entry = Entry(names, is_local=signs_itself(names[0], self._settings.chosen_directories))
        if self._is_open:  # else everything is recalled when this process begins to lead
            entry.record = self._orders.recall(entry)
        return entry

    def _parts(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        ordered = canonical_names(names)
        own = tuple(name for name in ordered if signs_itself(name, self._settings.chosen_directories))
        rest = tuple(name for name in ordered if name not in own)
        return [part for part in (rest, own) if part]

    # -- what is told ---------------------------------------------------------------------------------------------------------

    def _warn(self, entry: Entry, now: float) -> None:
        """Say it once for each certificate when it nears its end, and when it is past it."""
        held = entry.held
        if held is None or now <= held.not_after - held.lifetime * RED_SHARE:
            return
        kind, detail = Kind.EXPIRING, "under a tenth of its life is left"
        if now > held.not_after:
            kind, detail = Kind.EXPIRED, "clients refuse it; it is served until a new one arrives"
            if entry.state in SERVING:
                entry.move(Event.EXPIRE)
        if self.leads and (kind, held.fingerprint) not in entry.warned:
            entry.warned = {(kind, held.fingerprint), *(one for one in entry.warned if one[1] == held.fingerprint)}
            self._tell(kind, entry, detail)

    def _report_damages(self) -> None:
        damages = {(damage.path, damage.what) for damage in self._vault.damages.values()}
        if not self.leads:
            return
        for path, what in sorted(damages - self._reported):
            entry = next((one for one in self._entries.values() if slug(one.names) == path.parent.name), None)
            self._tell(Kind.DAMAGED, entry or Entry(()), f"{path.parent.name}/{path.name}: {what}")
        self._reported = damages

    def _tell(self, kind: Kind, entry: Entry, detail: str) -> None:
        event = CertificateEvent(
            kind=kind,
            names=entry.names,
            time=self._clock.seconds(),
            detail=detail,
            certificate=entry.shown,
            next_attempt=entry.record.next_attempt if entry.record.next_attempt > self._clock.seconds() else None,
        )
        log.log(_LEVELS.get(kind, logging.INFO), "certificate %s: %s: %s", kind.value, ", ".join(entry.names[:10]), detail)
        if self.leads:
            self._call(self.on_event, event)

    def _call(self, listener: Callable[[T], None], news: T) -> None:
        try:
            listener(news)
        except Exception:  # a bug in who listens must not end renewals
            log.exception("a listener failed")


_LEVELS: Final = {
    Kind.EXPIRED: logging.ERROR,
    Kind.EXPIRING: logging.ERROR,
    Kind.FAILED: logging.WARNING,
    Kind.UNSAVED: logging.ERROR,
    Kind.DAMAGED: logging.WARNING,
    Kind.DEFERRED: logging.WARNING,
    Kind.RESTORED: logging.WARNING,
}
