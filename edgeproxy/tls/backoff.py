"""How long to wait after a failed attempt. Pure: times in Unix seconds and a random number are passed in.

Owns: the table of waits, and the budget of failed validations. Where it is kept is `tls.records`.

failures in a row    wait before the next attempt (Let's Encrypt's integration guide, "Retrying failures")
1                    1 minute
2                    10 minutes
3                    100 minutes
4 and more           a day

Each is lengthened by up to a fifth by chance, never shortened, so that many edges which failed together do not return
together. What the authority asked for with Retry-After counts when it is later, but no more than eight days, longer than any
rate limit known.

A certificate that lives less than an hour would be dead before the second try, so its waits are capped: a quarter of what is
left of its life, at least a twentieth of the whole; half of the whole when it has expired. One of 20 seconds that is due at
its half is tried again after 2.5, 1.9, 1.4 ... seconds. The budget below is not loosened for it.

At most five validations of one name may fail within an hour: that is where authorities stop answering for an hour.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edgeproxy.tls.schedule import DAY, Life

STEPS: Final = (60.0, 600.0, 6_000.0, DAY)
JITTER: Final = 0.2
LONGEST_REQUEST: Final = 8 * DAY
SHORT_LIVED: Final = 3_600.0
HOUR: Final = 3_600.0
FAILED_VALIDATIONS: Final = 5


def wait_after(failures: int, draw: float, *, pointless: bool = False) -> float:
    """Seconds after the `failures`-th failure in a row (from 1), with `draw` an even random number in [0, 1).

    `pointless`: nothing will change until somebody acts (an account refused, a name forbidden), so once a day is enough.
    """
    step = STEPS[-1] if pointless else STEPS[min(max(failures, 1), len(STEPS)) - 1]
    return step * (1 + JITTER * draw)


def cap(life: Life | None, now: float) -> float | None:
    """The longest wait that a very short-lived certificate can afford; None when its life is not short, or not known."""
    if life is None or (length := life.not_after - life.not_before) >= SHORT_LIVED:
        return None
    left = life.not_after - now
    return length / 2 if left <= 0 else max(left / 4, length / 20)


def next_attempt(now: float, wait: float, *, life: Life | None = None, not_before: float = 0.0) -> float:
    """When to try again: `wait` seconds after `now`, sooner where `life` is short, not before the authority's `not_before`."""
    limit = cap(life, now)
    own = now + (wait if limit is None else min(wait, limit))
    return max(own, min(not_before, now + LONGEST_REQUEST))


def keep_recent(failed: Mapping[str, Sequence[float]], now: float) -> dict[str, tuple[float, ...]]:
    """The failed validations of the last hour, by name. Times in the future (the clock was set back) are counted as of now."""
    kept = {name: tuple(min(time, now) for time in times if time > now - HOUR) for name, times in failed.items()}
    return {name: times for name, times in kept.items() if times}


def count_failed(failed: Mapping[str, Sequence[float]], names: Iterable[str], now: float) -> dict[str, tuple[float, ...]]:
    """`failed` with one more failed validation for each of `names`; a name given twice failed twice."""
    counted = keep_recent(failed, now)
    for name in names:
        counted[name] = (*counted.get(name, ()), now)[-FAILED_VALIDATIONS:]
    return counted


def free_at(failed: Mapping[str, Sequence[float]], names: Iterable[str], now: float) -> float:
    """The first time, not before `now`, at which one more failure of any of `names` would stay within the budget."""
    recent = keep_recent(failed, now)
    full = [times[0] + HOUR for name in names if len(times := recent.get(name, ())) >= FAILED_VALIDATIONS]
    return max([now, *full])
