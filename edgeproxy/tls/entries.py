"""One certificate while the edge runs: what is wanted, what is held, what is remembered, and what of it is shown.

Owns: `Entry`, and the settings and status types of the keeper. Nothing here waits, stores or asks.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.decisions import Situation, renewal_of, suggestion_of
from edgeproxy.tls.records import Failure, Record
from edgeproxy.tls.schedule import Suggestion
from edgeproxy.tls.states import BUSY, TABLE, Event, State

_system_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate that the configuration asks for."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What the self check found."""

    is_good: bool
    """An authority would probably reach this edge under all of the names."""
    text: str


class Probe(Protocol):
    """Looks whether names lead to this edge (`tls.self_check.SelfCheck`)."""

    async def look(self, names: Sequence[str]) -> Advice:
        """What it finds now; raises nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """How a keeper works. Times in seconds."""

    chosen_directories: tuple[str, ...] = ()
    """Directory URLs that the operator wrote down, without those that hold by default: see `tls.self_signed.signs_itself`."""
    self_check: Probe | None = None
    """None: authorities are asked without looking first. Only used before the well known public ones."""
    patience: float = 120.0
    """How long in all a bad self check may defer the first attempt for a name set."""
    look_again: float = 10.0
    """How long after a bad self check the next one is made."""
    most_orders: int = 4
    """Attempts that run at the same time."""
    attempt_seconds: float = 600.0
    """How long one authority may take in one attempt."""
    scan_seconds: float = 60.0
    """How often everything is looked at when nothing happens, for clocks that jump and files that vanish."""
    watch_seconds: float = 1.0
    """How often a change in the vault by another process is looked for."""
    most_on_demand: int = 10_000
    """Certificates obtained on demand that are kept in mind; the vault keeps all."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = _system_random.random


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """How it stands with one certificate. Times are Unix seconds."""

    names: tuple[str, ...]
    state: State
    not_after: float | None
    """Of what is served under these names now, a placeholder too; None when nothing is."""
    issuer: str
    directory: str
    """Where what is served came from: see `Certificate.directory`."""
    fingerprint: str
    last_success: float | None
    last_failure: Failure | None
    next_attempt: float | None
    """None when no attempt is foreseen; a time in the past means as soon as possible."""
    failures: int
    suggestion: Suggestion | None
    """The window that the authority suggests, and the instant chosen in it."""
    advice: str
    """What the self check last found, when it was bad."""


@dataclass(slots=True, eq=False)
class Entry:
    """One certificate; changed by the keeper and its orders only, on the event loop."""

    names: tuple[str, ...]
    is_local: bool = False
    """This edge signs it itself."""
    is_on_demand: bool = False
    state: State = State.MISSING
    held: Certificate | None = None
    """The newest of an authority or of the operator, good or expired."""
    shown: Certificate | None = None
    """What was last given out for serving: `held`, or a self-signed one."""
    parts: tuple[Certificate, ...] = ()
    """While a placeholder is shown: what serves for some of the names instead."""
    record: Record = field(default_factory=Record)
    is_unsaved: bool = False
    """`held` is not in the vault yet."""
    is_forced: bool = False
    """The operator asked for it."""
    is_asked: bool = False
    """A client wants it (on demand)."""
    advice: str = ""
    warned: set[tuple[str, str]] = field(default_factory=set)
    """Events that are told once for each certificate: kind and fingerprint."""
    task: asyncio.Task[None] | None = None
    waiters: list[asyncio.Future[Certificate]] = field(default_factory=list)

    def move(self, event: Event) -> None:
        """Take the transition; raises KeyError for one that is not in the table."""
        self.state = TABLE[self.state][event]

    @property
    def is_busy(self) -> bool:
        """An attempt runs."""
        return self.state in BUSY

    def situation(self, directories: Sequence[str], failed: Mapping[str, Sequence[float]]) -> Situation:
        """What `tls.decisions` needs to know."""
        return Situation(
            self.names, self.held, self.record, failed, directories, self.is_forced, not self.is_on_demand or self.is_asked
        )

    def settle(self, certificate: Certificate | None, error: Exception | None = None) -> None:
        """Tell those who wait for this certificate."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if certificate is not None:
                waiter.set_result(certificate)
            else:
                waiter.set_exception(error or RuntimeError("nothing to tell"))

    def status(self, record: Record, has_issuers: bool) -> CertificateStatus:
        """For people; `record` may be fresher than the one in memory, when another process leads."""
        shown, held = self.shown, self.held
        upcoming: float | None = None
        if has_issuers and not self.is_local:
            upcoming = max(record.next_attempt, renewal_of(held, record).at if held is not None else 0.0)
        return CertificateStatus(
            names=self.names,
            state=self.state,
            not_after=shown.not_after if shown is not None else None,
            issuer=shown.issuer if shown is not None else "",
            directory=shown.directory if shown is not None else "",
            fingerprint=shown.fingerprint if shown is not None else "",
            last_success=record.last_success,
            last_failure=record.last_failure,
            next_attempt=upcoming,
            failures=record.failures,
            suggestion=suggestion_of(held, record) if held is not None else None,
            advice=self.advice,
        )
