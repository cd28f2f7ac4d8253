"""Carries out what was decided for one certificate: one attempt from beginning to end, or one question for a suggestion.

Owns: the order of the steps, and what is on disk after each. It runs in the leading process only; what it decides is only what an
answer means for the record (`tls.attempt`). It must not choose when.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from edgeproxy.clock import Clock
from edgeproxy.errors import CertificateFault, IssuanceFailed, StoreError
from edgeproxy.tls import attempt, backoff, schedule
from edgeproxy.tls.attempt import IssuerLike, Outcome
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.decisions import is_unwanted, renewal_of, suggestion_of
from edgeproxy.tls.entries import Entry, KeeperSettings
from edgeproxy.tls.events import Kind
from edgeproxy.tls.records import Failed, Record, decode, decode_failed, encode, encode_failed
from edgeproxy.tls.self_signed import is_public_authority
from edgeproxy.tls.states import SERVING, Event
from edgeproxy.tls.vault import Vault

log = logging.getLogger("edgeproxy.tls.keeper")

ASK_SECONDS: Final = 60.0
_FAILED: Final = "failed-validations"

Tell = Callable[[Kind, Entry, str], None]
Take = Callable[[Entry, Certificate], None]


class Orders:
    """The steps of attempts. `tell`, `take` and `show` are the keeper's."""

    def __init__(self, vault: Vault, issuers: Sequence[IssuerLike], clock: Clock, settings: KeeperSettings) -> None:
        self.directories = tuple(issuer.directory for issuer in issuers)
        self.tell: Tell = lambda kind, entry, detail: None
        self.take: Take = lambda entry, certificate: None
        """The vault has this one."""
        self.show: Take = lambda entry, certificate: None
        """This one is to be served."""
        self.failed: Failed = {}
        """Failed validations by name."""
        self._vault = vault
        self._issuers = tuple(issuers)
        self._clock = clock
        self._settings = settings

    async def run(self, entry: Entry) -> None:
        """One attempt. `entry` is in a busy state when this begins, and in another one when it ends, however it ends."""
        try:
            if not await self._is_found(entry) and await self._may_begin(entry):
                await self._ask(entry)
        finally:
            entry.is_asked = False
            if entry.is_busy:
                entry.move(Event.PAUSE)
                entry.settle(None, IssuanceFailed("stopped", "the attempt was broken off"))
            self._adopt_meanwhile(entry)

    async def ask_suggestion(self, entry: Entry) -> None:
        """Ask the authority of what is held when it should be renewed, and keep the answer; without one, ask again later."""
        held, now = entry.held, self._clock.seconds()
        issuer = next((one for one in self._issuers if held is not None and one.directory == held.directory), None)
        if held is None or issuer is None:
            return
        window: schedule.Window | None = None
        try:
            async with asyncio.timeout(ASK_SECONDS):
                window = await issuer.renewal_info(held.chain)
        except (IssuanceFailed, TimeoutError) as error:
            log.info("no suggestion when to renew %s: %s", held.names[0], error)
        except Exception:  # a bug in the driver of one authority must not end renewals; the local schedule holds
            log.exception("asking when to renew %s failed", held.names[0])
        known = suggestion_of(held, entry.record)
        kept = schedule.take_suggestion(window, known, now, self._settings.draw())
        if kept is not None and kept != known and (known is None or kept.chosen != known.chosen) and kept.explanation_url:
            log.warning("the authority explains when to renew %s: %s", held.names[0], kept.explanation_url)
        if entry.held is not held:
            return  # renewed meanwhile
        ask_after = kept.check_after if kept is not None else now + schedule.ASK_AGAIN
        record = msgspec.structs.replace(entry.record, suggestion=kept, suggestion_for=held.fingerprint, ask_after=ask_after)
        if kept is None:
            entry.record = record  # nothing worth a write; after a restart it is asked again
        else:
            await self.keep(entry, record)

    async def keep(self, entry: Entry, record: Record) -> None:
        """Remember `record`. When the disk does not take it, memory does."""
        entry.record = record
        try:
            await self._vault.save_state(entry.names, encode(record))
        except StoreError as error:
            log.warning("the state of %s could not be saved: %s", entry.names[0], error)

    def recall(self, entry: Entry) -> Record:
        """The record on disk."""
        return decode(self._vault.load_state(entry.names))

    def recall_failed(self) -> None:
        """Take the failed validations from disk."""
        self.failed = decode_failed(self._vault.load_note(_FAILED))

    async def _count_failed(self, outcome: Outcome) -> None:
        if not outcome.failed_names:
            return
        self.failed = backoff.count_failed(self.failed, outcome.failed_names, self._clock.seconds())
        try:
            await self._vault.save_note(_FAILED, encode_failed(self.failed))
        except StoreError as error:
            log.warning("the failed validations could not be saved: %s", error)

    async def save(self, entry: Entry) -> bool:
        """Put what is held into the vault; False when that failed. No authority is asked for what could not be stored."""
        held = entry.held
        assert held is not None
        try:
            await self._vault.store(held)
        except (StoreError, CertificateFault) as error:
            entry.is_unsaved = True
            if (Kind.UNSAVED, held.fingerprint) not in entry.warned:
                entry.warned.add((Kind.UNSAVED, held.fingerprint))
                self.tell(Kind.UNSAVED, entry, str(error))
            return False
        entry.is_unsaved = False
        return True

    # -- the steps, in their order --------------------------------------------------------------------------------------------

    async def _is_found(self, entry: Entry) -> bool:
        """Another process put a certificate into the vault since this one looked: it is taken, and nobody is asked."""
        if entry.is_forced or entry.is_unsaved:
            return False
        snapshot = await asyncio.to_thread(self._vault.read)
        found, now = snapshot.find(entry.names, self._clock.seconds()), self._clock.seconds()
        if found is None or found == entry.held or is_unwanted(found, self.directories):
            return False
        if not found.is_valid(now) or renewal_of(found, entry.record).at <= now:
            return False
        self.take(entry, found)
        return True

    async def _may_begin(self, entry: Entry) -> bool:
        """Our own side is ready: there is room for the result, and the names seem to lead here."""
        try:
            await self._vault.check_room()
        except StoreError as error:
            entry.record = attempt.store_failed(entry.record, str(error), self._clock.seconds())
            self._fail(entry, str(error), StoreError("the vault cannot be written", error=str(error)))
            return False
        return not await self._is_deferred(entry)

    async def _is_deferred(self, entry: Entry) -> bool:
        """A bad self check defers the first attempt, for a bounded time in all; it never decides about a later one.

        Only before public authorities: a company's or a test's own may resolve names, and look at ports, that we know nothing of.
        """
        if not all(is_public_authority(directory) for directory in self.directories):
            return False
        probe, record, now = self._settings.self_check, entry.record, self._clock.seconds()
        if probe is None or entry.held is not None or entry.is_forced or entry.is_on_demand or record.failures:
            return False
        advice = await probe.look(entry.names)
        entry.advice = "" if advice.is_good else advice.text
        since = record.waiting_since if record.waiting_since is not None else now
        if advice.is_good or now - since >= self._settings.patience:
            return False
        if record.waiting_since is None:
            self.tell(Kind.DEFERRED, entry, advice.text)
        await self.keep(entry, msgspec.structs.replace(record, waiting_since=since, next_attempt=now + self._settings.look_again))
        entry.move(Event.FAIL)
        return True

    async def _ask(self, entry: Entry) -> None:
        draw, held = self._settings.draw, entry.held
        # A crash after this, and before the answer is kept, leaves an unfinished attempt: see `attempt.begun`.
        await self.keep(entry, attempt.begun(entry.record, self._clock.seconds(), draw()))
        entry.is_forced, was_forced = False, entry.is_forced
        record = msgspec.structs.replace(entry.record, blocked={}) if was_forced else entry.record
        seconds = self._settings.attempt_seconds
        outcome = await attempt.ask_in_turn(entry.names, self._issuers, held, record, self.failed, self._clock, seconds)
        await self._count_failed(outcome)
        if outcome.certificate is not None:
            await self._succeed(entry, outcome.certificate)
            return
        now = self._clock.seconds()
        failed = attempt.failed_attempt(record, outcome.failures, self.directories, entry.held, now, draw())
        await self.keep(entry, failed)
        self._fail(entry, outcome.words, outcome.error)

    async def _succeed(self, entry: Entry, certificate: Certificate) -> None:
        """Store, then serve. A crash between the answer and the storing loses the certificate, and it is obtained again."""
        is_first = entry.held is None
        entry.held, entry.is_unsaved = certificate, True  # what the vault has until then is older, and must not be taken for news
        await self.save(entry)
        await self.keep(entry, attempt.succeeded(entry.record, self._clock.seconds()))
        entry.move(Event.OBTAIN)
        entry.advice = ""
        self.show(entry, certificate)
        entry.settle(certificate)
        self.tell(Kind.OBTAINED if is_first else Kind.RENEWED, entry, f"by {certificate.source}")

    def _fail(self, entry: Entry, detail: str, error: Exception) -> None:
        entry.move(Event.FAIL)
        held = entry.held
        if held is not None and held.not_after < self._clock.seconds():
            detail = f"an expired certificate is served; {detail}"
        self.tell(Kind.FAILED, entry, detail)
        entry.settle(None, error)

    def _adopt_meanwhile(self, entry: Entry) -> None:
        """What the operator imported while the attempt ran is served already; the state follows now."""
        if entry.held is not None and entry.state not in SERVING:
            self.take(entry, entry.held)
