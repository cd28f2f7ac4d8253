"""Years in seconds: a clock that is moved from one wake-up to the next, with a `sleep` that ends when the clock gets there."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from edgeproxy.clock import ManualClock

DEADLINE = 30.0
"""Real seconds that anything may take; never waited for."""


class TimeLapse:
    """A manual clock and the sleepers on it."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """To be passed where `asyncio.sleep` is meant."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.clock.monotonic() + seconds, next(self._numbers), future))
        await future

    def next_wake(self) -> float | None:
        """Seconds until the next sleeper wakes; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self.clock.monotonic() if self._sleepers else None

    def move(self, seconds: float) -> None:
        """Move the clock, and wake who is due."""
        self.clock.advance(seconds)
        while (left := self.next_wake()) is not None and left <= 1e-6:
            heapq.heappop(self._sleepers)[2].set_result(None)


async def until(condition: Callable[[], object]) -> None:
    """Wait, in real time, until `condition` holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.001)
