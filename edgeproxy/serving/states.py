"""The life of an HTTP/1 connection on the server's side, as a table.

Owns: the states, the events, and which event is allowed in which state. What is not in the table is a bug and raises.

State        what holds in it                                                  what a sweep may find overdue
IDLE         nothing is buffered, nothing runs; ready answers are given here   idle
HEAD         a part of a head is buffered                                      head
QUEUED       whole heads may be buffered; they wait for the client to read     write
             earlier answers, or for other connections to have their turn
EXCHANGE     one exchange runs; its body may still be arriving                 body, write
SKIPPING     the answer is over, the rest of a short body is dropped           body, write
TUNNEL       upgraded: raw bytes both ways                                     tunnel, write
LINGERING    the last answer is written and our half closed; what comes is     linger
             dropped, so that a reset does not destroy that answer
CLOSING      what is written goes out, nothing is read                         write
CLOSED       the transport is gone
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """See the module."""

    IDLE = auto()
    HEAD = auto()
    QUEUED = auto()
    EXCHANGE = auto()
    SKIPPING = auto()
    TUNNEL = auto()
    LINGERING = auto()
    CLOSING = auto()
    CLOSED = auto()


class Event(Enum):
    """What moves a connection from one state to another."""

    EMPTY = auto()
    """All that was received is dealt with."""
    PART = auto()
    """The rest of a head has to come."""
    QUEUE = auto()
    """Heads have to wait for their turn."""
    BEGIN = auto()
    """A head became an exchange."""
    EARLY = auto()
    """The answer is over before its request's body."""
    UPGRADE = auto()
    """The answer was a 101, and its handler took the bytes over."""
    LAST = auto()
    """The last answer is written and the client may still be sending."""
    CLOSE = auto()
    """Nothing more will be read."""
    LOST = auto()
    """The transport is gone."""


_ENDS: Final = {Event.LAST: State.LINGERING, Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED}
_BETWEEN: Final = {
    Event.EMPTY: State.IDLE,
    Event.PART: State.HEAD,
    Event.QUEUE: State.QUEUED,
    Event.BEGIN: State.EXCHANGE,
    **_ENDS,
}

TABLE: Final[dict[State, dict[Event, State]]] = {
    State.IDLE: _BETWEEN,
    State.HEAD: _BETWEEN,
    State.QUEUED: _BETWEEN,
    State.EXCHANGE: {Event.QUEUE: State.QUEUED, Event.EARLY: State.SKIPPING, Event.UPGRADE: State.TUNNEL, **_ENDS},
    State.SKIPPING: {Event.QUEUE: State.QUEUED, **_ENDS},
    State.TUNNEL: {Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED},
    State.LINGERING: {Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED},
    State.CLOSING: {Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED},
    State.CLOSED: {},
}
