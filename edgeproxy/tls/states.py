"""The life of one certificate, as a table.

Owns: the states, the events, and which event is allowed in which state. What is not in the table is a bug and raises.

State        what holds in it
MISSING      nothing covers these names, and no attempt was made yet; a placeholder serves
OBTAINING    an attempt runs; a placeholder serves
WAITING      an attempt failed, the next one has a time; a placeholder serves
LOCAL        signed by this edge, for names that no authority knows, until the operator brings a certificate
SERVED       a certificate of an authority serves, and is not known to be due
HELD         an imported certificate serves, and the operator answers for it until it is due
RENEWING     an attempt runs; the old certificate serves, even if it has expired
OVERDUE      the last attempt to renew failed, the next one has a time; the old certificate serves
EXPIRED      as OVERDUE or SERVED, but the old certificate is past its end; it serves all the same
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """See the module."""

    MISSING = auto()
    OBTAINING = auto()
    WAITING = auto()
    LOCAL = auto()
    SERVED = auto()
    HELD = auto()
    RENEWING = auto()
    OVERDUE = auto()
    EXPIRED = auto()


class Event(Enum):
    """What moves a certificate from one state to another."""

    SIGN = auto()
    """This edge signed it itself."""
    FIND = auto()
    """The vault has one of an authority: at the start, or because another process put it there."""
    FIND_IMPORTED = auto()
    """The vault has one that the operator imported."""
    BEGIN = auto()
    """An attempt begins."""
    OBTAIN = auto()
    """The attempt brought a certificate."""
    FAIL = auto()
    """The attempt brought none."""
    PAUSE = auto()
    """The attempt ended before an authority was asked, and left no trace: another process leads, or this one stops."""
    EXPIRE = auto()
    """The certificate that serves is past its end."""


_FOUND: Final = {Event.FIND: State.SERVED, Event.FIND_IMPORTED: State.HELD}

TABLE: Final[dict[State, dict[Event, State]]] = {
    State.MISSING: {**_FOUND, Event.SIGN: State.LOCAL, Event.BEGIN: State.OBTAINING},
    State.OBTAINING: {**_FOUND, Event.OBTAIN: State.SERVED, Event.FAIL: State.WAITING, Event.PAUSE: State.MISSING},
    State.WAITING: {**_FOUND, Event.BEGIN: State.OBTAINING},
    State.LOCAL: {Event.FIND_IMPORTED: State.HELD, Event.SIGN: State.LOCAL},
    State.SERVED: {**_FOUND, Event.BEGIN: State.RENEWING, Event.EXPIRE: State.EXPIRED},
    State.HELD: {**_FOUND, Event.BEGIN: State.RENEWING, Event.EXPIRE: State.EXPIRED},
    State.RENEWING: {
        **_FOUND,
        Event.OBTAIN: State.SERVED,
        Event.FAIL: State.OVERDUE,
        Event.PAUSE: State.SERVED,
        Event.EXPIRE: State.RENEWING,
    },
    State.OVERDUE: {**_FOUND, Event.BEGIN: State.RENEWING, Event.EXPIRE: State.EXPIRED},
    State.EXPIRED: {**_FOUND, Event.BEGIN: State.RENEWING, Event.EXPIRE: State.EXPIRED},
}

SERVING: Final = frozenset((State.SERVED, State.HELD, State.RENEWING, State.OVERDUE, State.EXPIRED))
"""States in which a certificate that an authority signed serves, good or expired."""
BUSY: Final = frozenset((State.OBTAINING, State.RENEWING))
"""States in which an attempt runs."""
