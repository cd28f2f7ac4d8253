"""How an origin does, by what the last tries at it came to: for its operator.

Owns: that account, and what the log says of it. Nothing is asked of an origin for it, and nothing follows from it: which origin
is asked is the balancer's.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgeproxy.clock import Instant
from edgeproxy.origin.balancer import Outcome

log = logging.getLogger("edgeproxy.origin")

BETWEEN: Final = 60_000
"""Milliseconds between two lines of the log, at least: an origin can fail and answer in turns, many times a second."""


class State(StrEnum):
    """What the last try says."""

    UNTRIED = "untried"
    UP = "up"
    ERRING = "erring"
    """It answers, with a status of 500 or more."""
    DOWN = "down"
    """No usable answer."""


@dataclass(slots=True)
class Health:
    """`url` is the origin's. `since`: the first of the tries that came to `state` one after the other; None as long as there was
    none. `why`: what the last of them came to, in words; empty while it is up."""

    url: str
    state: State = State.UNTRIED
    since: Instant | None = None
    why: str = ""
    _told: State = State.UP
    _told_at: Instant | None = None

    def note(self, outcome: Outcome, now: Instant, why: str = "") -> None:
        """A try came to `outcome`."""
        state = State.UP if outcome is Outcome.ANSWERED else State.ERRING if outcome is Outcome.SERVER_ERROR else State.DOWN
        self.why = why
        if state is not self.state:
            self.state, self.since = state, now
        if (state is State.DOWN) != (self._told is State.DOWN) and (self._told_at is None or now - self._told_at >= BETWEEN):
            self._told, self._told_at = state, now
            if state is State.DOWN:
                log.warning("origin %s is down: %s", self.url, why)
            else:
                log.warning("origin %s answers again", self.url)
