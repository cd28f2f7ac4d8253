"""The two clocks, passed in wherever time matters, so that every rule about time can be tested without waiting.

Owns: `Instant` and the clock interface. The core never asks a clock; it is told the time.
"""

import time
from typing import NewType, Protocol

Instant = NewType("Instant", int)
"""Milliseconds since the POSIX epoch: the unit of a block's `time`."""


class Clock(Protocol):
    """Wall time for meaning, monotonic time for waiting."""

    def now(self) -> Instant:
        """The wall clock, in milliseconds since the POSIX epoch."""
        ...

    def seconds(self) -> float:
        """The wall clock, in seconds since the POSIX epoch: the cheapest way to ask, for the hot path."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    seconds = staticmethod(time.time)

    def now(self) -> Instant:
        return Instant(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, now: Instant = Instant(1_764_000_000_000)) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> Instant:
        return self._now

    def seconds(self) -> float:
        return self._now / 1000

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._now = Instant(self._now + round(seconds * 1000))
        self._monotonic += seconds
