"""The connections of one listener together: what they share, how many there may be, and the sweep that judges their age.

Owns: the registry and its counts. Must not know a protocol; a connection judges itself when it is swept.
"""

import logging
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from edgeproxy.clock import Clock
from edgeproxy.serving.heads import HeadMemo
from edgeproxy.serving.http2_budget import WindowPool
from edgeproxy.serving.outbox import Outbox
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler, Peer
from edgeproxy.serving.transports import UNIX_ADDRESS

log = logging.getLogger("edgeproxy.serving")


class Connection(Protocol):
    """What the registry asks of a connection."""

    peer: Peer

    @property
    def state_name(self) -> str: ...
    def sweep(self, now: float) -> None: ...
    def drain(self) -> None: ...
    def kill(self) -> None: ...


class Admission(Enum):
    """What becomes of a new connection."""

    SERVED = auto()
    TOLD = auto()
    """Over a limit: it gets a 503 and is closed."""
    DROPPED = auto()
    """So far over the limit that even telling would cost too much."""


class Connections:
    """All open connections of a listener, those included that are only being told that there are too many."""

    def __init__(self, handler: Handler, settings: ServingSettings, clock: Clock, *, scheme: str = "http") -> None:
        self.handler = handler
        self.settings = settings
        self.clock = clock
        self.scheme = scheme
        self.outbox = Outbox()
        self.memo = HeadMemo(settings.bounds.memo_entries, settings.bounds.memo_bytes, settings.limits)
        self.http2_memo = HeadMemo(settings.bounds.memo_entries, settings.bounds.memo_bytes, settings.limits)
        """Its keys are no bytes of HTTP/1, and must never be taken for such."""
        self.windows = WindowPool(settings.bounds.spare_window_bytes)
        self.draining = False
        self.accepted = 0
        """Connections served since the start."""
        self.rejected = 0
        """Connections over a limit since the start."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last connection is gone."""
        self._open: set[Connection] = set()
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def counts(self) -> dict[str, int]:
        """Open connections by state; states without any are absent."""
        return dict(Counter(connection.state_name for connection in self._open))

    def admit(self, connection: Connection) -> Admission:
        """Enter a new connection, and say what becomes of it."""
        bounds = self.settings.bounds
        address = connection.peer.address
        per_address = bounds.connections_per_address
        limit = bounds.connections
        self._open.add(connection)
        self._per_address[address] += 1
        if len(self._open) > limit + limit // 10 + 16:
            self.rejected += 1
            return Admission.DROPPED
        crowded = per_address is not None and address != UNIX_ADDRESS and self._per_address[address] > per_address
        if crowded or len(self._open) > limit:
            self.rejected += 1
            return Admission.TOLD
        self.accepted += 1
        return Admission.SERVED

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        address = connection.peer.address
        self._per_address[address] -= 1
        if self._per_address[address] <= 0:
            del self._per_address[address]
        if not self._open and self.on_empty is not None:
            self.on_empty()

    def sweep(self) -> None:
        """Let every connection find out what is overdue. Called about once a second."""
        now = self.clock.monotonic()
        for connection in tuple(self._open):
            try:
                connection.sweep(now)
            except Exception:  # one connection's bug must not keep all others from their time-outs; it is closed
                log.exception("sweep of a connection failed")
                connection.kill()

    def drain(self) -> None:
        """Every connection closes after the answer it is busy with, idle ones now."""
        self.draining = True
        for connection in tuple(self._open):
            connection.drain()

    def kill(self) -> int:
        """Break every connection that is left; returns how many."""
        left = tuple(self._open)
        for connection in left:
            connection.kill()
        return len(left)
