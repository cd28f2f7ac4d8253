"""Connections on their way in: accepted, and not yet in the registry.

Owns: what is known of one, and the rooms in which they wait: how many there may be, from where, and for how long.
Must not read from them or judge what they say.

A room that is full gives up the guest that has been in it longest, if that one has had a fair time; otherwise the newcomer
goes. So a crowd that only holds places loses them, and a burst of quick clients does not push out those before it.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.clock import Clock
from edgeproxy.serving.stream import Peer
from edgeproxy.wire.clients import client_of


class Arrival:
    """One accepted connection."""

    __slots__ = ("held", "network", "peer", "seen", "socket")

    def __init__(self, accepted: socket.socket, peer: Peer) -> None:
        self.socket = accepted
        self.peer = peer
        self.network = client_of(peer.address)
        self.seen = 0
        """Bytes without which another look shows nothing new; 0 before the first look was in vain."""
        self.held: asyncio.TimerHandle | None = None
        """A later look that was agreed on, instead of a reader."""

    def cut(self) -> None:
        """End both ways, whoever has the socket by now: its reader finds the end."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed, or reset by the client

    def close(self) -> None:
        """Close the socket, which nobody else has."""
        if self.held is not None:
            self.held.cancel()
            self.held = None
        self.socket.close()


@dataclass(frozen=True, slots=True)
class RoomBounds:
    """Seconds and numbers for one room."""

    deadline: float
    """Seconds a guest may stay."""
    total: int
    per_client: int | None
    """Guests of one IPv4 address or IPv6 /64; None for no limit."""
    fair: float = 2.0
    """Seconds a guest has even when the room is full."""


class Room:
    """Guests in the order in which they came."""

    def __init__(self, bounds: RoomBounds, clock: Clock, turn_out: Callable[[Arrival], None]) -> None:
        self._bounds = bounds
        self._clock = clock
        self._turn_out = turn_out
        self._since: dict[Arrival, float] = {}
        self._per_client: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self.refused = 0
        """Newcomers for whom there was no place."""
        self.overdue = 0
        """Guests turned out, at their deadline or for a newcomer."""

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, arrival: Arrival) -> bool:
        return arrival in self._since

    def enter(self, arrival: Arrival) -> bool:
        """Let `arrival` in, and say whether there was a place for it."""
        bounds, now = self._bounds, self._clock.monotonic()
        if bounds.per_client is not None and self._per_client[arrival.network] >= bounds.per_client:
            self.refused += 1
            return False
        if len(self._since) >= bounds.total and not self._make_place(now):
            self.refused += 1
            return False
        self._since[arrival] = now
        self._per_client[arrival.network] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(bounds.deadline, self._on_time)
        return True

    def leave(self, arrival: Arrival) -> bool:
        """`arrival` goes by itself; whether it was here."""
        if self._since.pop(arrival, None) is None:
            return False
        self._per_client[arrival.network] -= 1
        if self._per_client[arrival.network] <= 0:
            del self._per_client[arrival.network]
        return True

    def empty(self) -> int:
        """Turn everybody out; returns how many."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        guests = tuple(self._since)
        for guest in guests:
            self._show_out(guest)
        return len(guests)

    def _make_place(self, now: float) -> bool:
        longest = next(iter(self._since))
        if now - self._since[longest] < self._bounds.fair:
            return False
        self._show_out(longest)
        return True

    def _show_out(self, guest: Arrival) -> None:
        self.leave(guest)
        self.overdue += 1
        self._turn_out(guest)

    def _on_time(self) -> None:
        """Turn out who is overdue; come back when the next one is. Nobody has to wait longer than the one before."""
        self._timer = None
        now = self._clock.monotonic()
        while self._since:
            guest = next(iter(self._since))
            rest = self._since[guest] + self._bounds.deadline - now
            if rest > 0:
                self._timer = asyncio.get_running_loop().call_later(rest, self._on_time)
                return
            self._show_out(guest)
