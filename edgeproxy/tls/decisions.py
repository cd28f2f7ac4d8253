"""What to do about one certificate now. Pure: the caller passes what it knows and carries out what comes back.

Owns: the decision between doing nothing, asking the authority for its suggestion, and beginning an attempt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgeproxy.tls import backoff, schedule
from edgeproxy.tls.attempt import is_welcome
from edgeproxy.tls.certificate import Certificate, is_staging
from edgeproxy.tls.health import RED_SHARE
from edgeproxy.tls.records import Record
from edgeproxy.tls.schedule import Renewal, Suggestion

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known about one certificate."""

    names: tuple[str, ...]
    held: Certificate | None
    """What serves, when an authority or the operator gave it."""
    record: Record
    failed: Mapping[str, Sequence[float]]
    """Failed validations by name."""
    directories: Sequence[str]
    """Of the authorities that are configured, in their order."""
    is_forced: bool = False
    """The operator asked for it: waits do not count, the budget of failed validations does."""
    renews_itself: bool = True
    """False for one obtained on demand: it is obtained and renewed when a client asks for it, not before."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until` (Unix seconds)."""

    until: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the authority of `held` for its suggestion."""

    directory: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin an attempt. The lower `urgency`, the sooner, when not all can begin: what share of its life is left, -1 with none."""

    urgency: float
    reason: str


def suggestion_of(held: Certificate, record: Record) -> Suggestion | None:
    """What was suggested for just this certificate."""
    return record.suggestion if record.suggestion_for == held.fingerprint else None


def is_unwanted(held: Certificate, directories: Sequence[str]) -> bool:
    """`held` is for trials, and an authority for real ones is configured now: as good as none."""
    return held.is_trial and any(not is_staging(directory) for directory in directories)


def renewal_of(held: Certificate, record: Record) -> Renewal:
    """When `held` is due, by the rules of `tls.schedule`."""
    return schedule.renewal(held, suggestion_of(held, record))


def decide(situation: Situation, now: float) -> Rest | Ask | Begin:
    """The next step for one certificate."""
    held, record = situation.held, situation.record
    directories = [directory for directory in situation.directories if is_welcome(directory, held, now)]
    if not directories:
        return Rest(held.not_after if held is not None and held.not_after > now else NEVER)
    within_budget = backoff.free_at(situation.failed, situation.names, now)
    if situation.is_forced:
        return Begin(-1.0, "asked for") if within_budget <= now else Rest(within_budget)
    if not situation.renews_itself:
        return Rest(NEVER)
    unblocked = min(record.blocked.get(directory, 0.0) for directory in directories)
    free = max(within_budget, unblocked)
    if held is None or is_unwanted(held, situation.directories):
        at = max(free, record.next_attempt)
        return Begin(-1.0, "missing") if at <= now else Rest(at)
    if may_ask(situation, now):
        return Ask(held.directory)
    due = renewal_of(held, record)
    at = max(free, due.at, _not_past_last_resort(held, record))
    if at <= now:
        return Begin((held.not_after - now) / held.lifetime, due.reason)
    return Rest(min(at, _next_look(situation, now)))


def may_ask(situation: Situation, now: float) -> bool:
    """Its authority is configured and may be asked for a suggestion."""
    held, record = situation.held, situation.record
    if held is None or held.directory not in situation.directories:
        return False
    return schedule.may_ask(held, record.ask_after if record.suggestion_for == held.fingerprint else 0.0, now)


def _not_past_last_resort(held: Certificate, record: Record) -> float:
    """The wait after failures, but it does not sleep through the last resort: one attempt is made there whatever it says."""
    latest = schedule.last_resort(held)
    failed = record.last_failure.time if record.last_failure else 0.0
    return latest if failed < latest < record.next_attempt else record.next_attempt


def _next_look(situation: Situation, now: float) -> float:
    """The next moment at which something else than the renewal changes: a suggestion, a warning, the end."""
    held, record = situation.held, situation.record
    assert held is not None
    times = [held.not_after - held.lifetime * RED_SHARE, held.not_after]
    if held.directory in situation.directories and record.suggestion_for == held.fingerprint:
        times.append(record.ask_after)
    return min((time for time in times if time > now), default=NEVER)
