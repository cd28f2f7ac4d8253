"""How much work without a purpose one HTTP/2 client may cause, and when that becomes a flood.

Owns: the kinds of such work, what each client may spend on them, and what earns more. Pure: the clock is passed in, and asked
only when something runs out. Must not end anything: who spends ends the connection with ENHANCE_YOUR_CALM.

A kind is a bucket: it starts full, is refilled by the second, and what a client does on purpose (taking data, asking) fills those
that go along with it. Each is wide enough for a browser that closes a page full of images, and for a peer that acknowledges every
frame; a flood is a hundred times that.

Kind       what spends it                                               why it costs
RESET      the client resets a stream                                   rapid reset (CVE-2023-44487): begun and thrown away
FAULT      we have to reset or refuse a stream that the client broke    made-you-reset (CVE-2025-8671): the same, but by us
REFUSED    a request beyond those that may be under way                 read and thrown away
SETTINGS   SETTINGS, also acknowledgements                              each is acknowledged, and may touch every stream
PING       PING, also acknowledgements                                  each is answered
WINDOW     WINDOW_UPDATE                                                each may wake a writer; one is due for what was sent
PRIORITY   PRIORITY, PRIORITY_UPDATE                                    read and dropped
UNKNOWN    a frame of a type that is not known                          read and dropped
EMPTY      DATA, HEADERS or CONTINUATION without content or end         carries nothing (CVE-2019-9518)
LATE       frames for streams that are over                             read, counted for the connection's window, dropped
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple


class Spent(IntEnum):
    """See the module."""

    RESET = 0
    FAULT = 1
    SETTINGS = 2
    PING = 3
    WINDOW = 4
    PRIORITY = 5
    UNKNOWN = 6
    EMPTY = 7
    LATE = 8
    REFUSED = 9


class Allowance(NamedTuple):
    """`most` at once, and `each_second` more for later."""

    most: int
    each_second: float


ALLOWANCES: Final[dict[Spent, Allowance]] = {
    Spent.RESET: Allowance(400, 20),
    Spent.FAULT: Allowance(100, 5),
    Spent.SETTINGS: Allowance(40, 1),
    Spent.PING: Allowance(500, 20),
    Spent.WINDOW: Allowance(4000, 200),
    Spent.PRIORITY: Allowance(1000, 50),
    Spent.UNKNOWN: Allowance(200, 10),
    Spent.EMPTY: Allowance(100, 5),
    Spent.LATE: Allowance(2000, 100),
    Spent.REFUSED: Allowance(400, 20),
}

WINDOWS_PER_FRAME: Final = 4
"""WINDOW_UPDATEs that one DATA frame of ours earns: one for its stream and one for the connection, twice over."""

PRIORITIES_PER_REQUEST: Final = 4
RESETS_PER_ANSWER: Final = 0.5
"""A client that takes answers may now and then change its mind."""


class Flooded(Exception):
    """A client has spent all it had of `kind`."""

    def __init__(self, kind: Spent) -> None:
        super().__init__(kind.name.lower())
        self.kind = kind


class Budget:
    """What one connection has left."""

    __slots__ = ("_left", "_monotonic", "_since")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left = [float(ALLOWANCES[kind].most) for kind in Spent]
        self._since = [monotonic()] * len(Spent)

    def spend(self, kind: Spent, amount: float = 1) -> None:
        """Take `amount` out of the bucket of `kind`. Raises Flooded when that much is not in it."""
        left = self._left[kind] - amount
        if left < 0:
            left = self._refilled(kind) - amount
        if left < 0:
            raise Flooded(kind)
        self._left[kind] = left

    def earn(self, kind: Spent, amount: float) -> None:
        """Put `amount` into the bucket of `kind`, as far as there is room."""
        most = ALLOWANCES[kind].most
        left = self._left[kind] + amount
        self._left[kind] = left if left < most else most

    def left(self, kind: Spent) -> int:
        """How often `kind` may be spent now."""
        return int(self._refilled(kind))

    def _refilled(self, kind: Spent) -> float:
        now = self._monotonic()
        allowance = ALLOWANCES[kind]
        left = min(allowance.most, self._left[kind] + (now - self._since[kind]) * allowance.each_second)
        self._since[kind] = now
        self._left[kind] = left
        return left


class WindowPool:
    """Bytes that all connections together may offer their clients beyond what the protocol gives each of them anyway."""

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> int:
        """Up to `size` bytes, as many as are left."""
        given = min(size, self.left)
        self.left -= given
        return given

    def give_back(self, size: int) -> None:
        """What `take` gave is no longer offered."""
        self.left += size
