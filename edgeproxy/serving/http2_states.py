"""The life of an HTTP/2 connection on the server's side, as a table. The states of streams are `http2_engine`'s.

State      what holds in it                                                     what a sweep may find overdue
OPEN       requests are answered                                                idle, body, write, field block
DRAINING   told to go, with a last stream that leaves room for what is on       the same; the next sweep settles the last stream
           its way (RFC 9113 section 6.8)
LEAVING    the last stream is said; what runs is finished, newer streams are    body, write
           refused
LINGERING  the last frame is written, what comes is dropped, so that a reset    linger
           of the socket does not destroy that frame
CLOSING    what is written goes out, nothing is read                            write
CLOSED     the transport is gone
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """See the module."""

    OPEN = auto()
    DRAINING = auto()
    LEAVING = auto()
    LINGERING = auto()
    CLOSING = auto()
    CLOSED = auto()


class Event(Enum):
    """What moves a connection from one state to another."""

    DRAIN = auto()
    """We are going away."""
    SETTLE = auto()
    """No request is on its way to us any more, or none shall be answered."""
    FAULT = auto()
    """The client broke the connection's rules."""
    CLOSE = auto()
    """Nothing more will be read."""
    LOST = auto()
    """The transport is gone."""


_ENDS: Final = {Event.FAULT: State.LINGERING, Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED}

TABLE: Final[dict[State, dict[Event, State]]] = {
    State.OPEN: {Event.DRAIN: State.DRAINING, Event.SETTLE: State.LEAVING, **_ENDS},
    State.DRAINING: {Event.DRAIN: State.DRAINING, Event.SETTLE: State.LEAVING, **_ENDS},
    State.LEAVING: {Event.DRAIN: State.LEAVING, Event.SETTLE: State.LEAVING, **_ENDS},
    State.LINGERING: {Event.DRAIN: State.LINGERING, Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED},
    State.CLOSING: {Event.DRAIN: State.CLOSING, Event.CLOSE: State.CLOSING, Event.LOST: State.CLOSED},
    State.CLOSED: {Event.DRAIN: State.CLOSED},
}
