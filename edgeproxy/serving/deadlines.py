"""What of a connection is overdue. Decides; the connection acts.

Owns: which time-out belongs to which state. Pure: the time is passed in, as monotonic seconds.
"""

from enum import Enum, auto

from edgeproxy.serving.settings import Timeouts
from edgeproxy.serving.states import State


class Overdue(Enum):
    """What the client did not do in time."""

    REQUEST = auto()
    """Ask for anything."""
    HEAD = auto()
    """End the head that it began."""
    BODY = auto()
    """Send more of the body that an exchange waits for."""
    UNREAD_BODY = auto()
    """Send the rest of a body that nobody waits for."""
    TUNNEL = auto()
    """Move a byte through the tunnel, nor did the other end."""
    FAREWELL = auto()
    """Close after the last answer."""


def overdue(state: State, waited: float, timeouts: Timeouts, *, fresh: bool, body_due: bool) -> Overdue | None:
    """What is overdue after `waited` seconds in `state` without the progress that counts there.

    `fresh`: nothing has ever been received. `body_due`: the exchange's body has not ended, and the client is free to send it.
    """
    match state:
        case State.IDLE if waited > (min(timeouts.head, timeouts.idle) if fresh else timeouts.idle):
            return Overdue.REQUEST
        case State.HEAD if waited > timeouts.head:
            return Overdue.HEAD
        case State.EXCHANGE if body_due and waited > timeouts.body:
            return Overdue.BODY
        case State.SKIPPING if waited > timeouts.body:
            return Overdue.UNREAD_BODY
        case State.TUNNEL if waited > timeouts.tunnel:
            return Overdue.TUNNEL
        case State.LINGERING if waited > timeouts.linger:
            return Overdue.FAREWELL
        case _:
            return None


def progress_counts(state: State) -> bool:
    """Whether bytes that move start the time anew. A head and a farewell have one time for the whole, against slow trickles."""
    return state not in (State.HEAD, State.LINGERING)


class UnreadWatch:
    """Whether a client has stopped reading, told from the size of what waits for it. Growth is bounded; it counts too."""

    __slots__ = ("_since", "_size")

    def __init__(self, now: float) -> None:
        self._size = 0
        self._since = now

    def is_stuck(self, size: int, now: float, limit: float) -> bool:
        """Whether `size` unsent bytes have not changed for more than `limit` seconds."""
        if size == 0 or size != self._size:
            self._size = size
            self._since = now
            return False
        return now - self._since > limit
