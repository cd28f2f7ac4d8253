"""What a checkpoint of a remote log is worth: against the one that was seen before, and by who cosigned it and when.

Owns: the judgement. Must not fetch or keep a checkpoint; the time is told. A refusal is a `Finding`.
"""

from dataclasses import dataclass

from edgeproxy.ledger.checkpoint import Checkpoint, Opened
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.policy import Policy

MAX_AHEAD = 30
"""Seconds by which the clock of one who cosigns may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """Who cosigned, by the names of the policy. `oldest`: POSIX seconds of the oldest cosignature among those that count."""

    names: tuple[str, ...]
    oldest: int | None


def judge_growth(seen: Checkpoint, stated: Checkpoint) -> bool:
    """Whether the log grew since `seen`, which is still to be proved. Raises `Finding` for what no growth explains."""
    if stated.size < seen.size:
        raise Finding(FindingKind.ROLLBACK, "ledger has become smaller", size=stated.size, seen=seen.size)
    if stated.size == seen.size and stated.root != seen.root:
        raise Finding(FindingKind.FORK, "two signed roots for the same number of blocks", size=stated.size)
    return stated.size > seen.size


def has_quorum(policy: Policy, opened: Opened) -> bool:
    """Whether enough cosignatures are there, of whatever time."""
    return policy.is_met(_times(policy, opened).keys())


def judge_quorum(policy: Policy, opened: Opened, now: int, max_age: int | None) -> Quorum:
    """Who made the checkpoint final. `now` in POSIX seconds; `max_age` in seconds, None for any. Raises `Finding`.

    Only cosignatures that are neither too old nor from the future count, or an old checkpoint could be shown for ever.
    """
    times = _times(policy, opened)
    size = opened.checkpoint.size
    if not policy.is_met(times.keys()):
        named = ",".join(times) or "nobody"
        raise Finding(FindingKind.QUORUM, "checkpoint has not the cosignatures of a quorum", size=size, cosigned=named)
    least = now - max_age if max_age is not None else 0
    counted = {name: each for name, each in times.items() if least <= each <= now + MAX_AHEAD}
    if not policy.is_met(counted.keys()):
        age = now - max(times.values(), default=0)
        if age < -MAX_AHEAD:
            raise Finding(FindingKind.STALE, "cosignatures are from the future, a clock is wrong", size=size, ahead=-age)
        raise Finding(FindingKind.STALE, "cosignatures are older than is allowed", size=size, age=age, max_age=max_age)
    return Quorum(tuple(counted), min(counted.values(), default=None))


def _times(policy: Policy, opened: Opened) -> dict[str, int]:
    named = {each.verifier: name for name, each in policy.witnesses.items()}
    return {named[each.verifier]: each.timestamp or 0 for each in opened.cosigned if each.verifier in named}
