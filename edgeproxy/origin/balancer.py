"""Which origin of a site is asked next.

Owns: the order of origins, and the seam where health checks and the breaker will come: they are balancers that answer
`choose` with what they know and learn from `report`. Must not connect.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

from edgeproxy.errors import (
    OriginConnectTimeout,
    OriginError,
    OriginMalformed,
    OriginRefused,
    OriginTimeout,
    OriginTruncated,
    OriginUnresolved,
    OriginUntrusted,
)
from edgeproxy.origin.messages import Origin


class Outcome(StrEnum):
    """What became of one try, as far as the choice of an origin is concerned."""

    ANSWERED = "answered"
    SERVER_ERROR = "server-error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    RESET = "reset"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"


class Balancer(Protocol):
    """Chooses, and is told how it went."""

    def choose(self, tried: Collection[Origin] = ()) -> Origin | None:
        """The origin to ask now, none of those in `tried`; None when no other is left."""
        ...

    def report(self, origin: Origin, outcome: Outcome) -> None:
        """Tell what came of a try at `origin`. Called once for each head or failure, and once more when a body breaks off."""
        ...


class RoundRobin:
    """Each origin in turn; failures are not remembered."""

    __slots__ = ("_next", "_origins")

    def __init__(self, origins: Sequence[Origin]) -> None:
        if not origins:
            raise ValueError("a site needs at least one origin")
        self._origins = tuple(origins)
        self._next = 0

    def choose(self, tried: Collection[Origin] = ()) -> Origin | None:
        count = len(self._origins)
        for _ in range(count):
            origin = self._origins[self._next]
            self._next = (self._next + 1) % count
            if origin not in tried:
                return origin
        return None

    def report(self, origin: Origin, outcome: Outcome) -> None:
        """Round robin has no memory."""


def outcome_of_status(status: int) -> Outcome:
    """The outcome that a response head stands for."""
    return Outcome.SERVER_ERROR if status >= 500 else Outcome.ANSWERED


def outcome_of_error(error: OriginError) -> Outcome:
    """The outcome that `error` stands for."""
    match error:
        case OriginRefused() | OriginUnresolved() | OriginUntrusted() | OriginConnectTimeout():
            return Outcome.UNREACHABLE
        case OriginTimeout():
            return Outcome.TIMEOUT
        case OriginTruncated():
            return Outcome.TRUNCATED
        case OriginMalformed():
            return Outcome.MALFORMED
    return Outcome.RESET
