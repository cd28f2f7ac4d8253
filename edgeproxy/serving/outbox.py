"""Ready answers on their way out, written together at the end of a turn of the loop.

Owns: that delay. A client that waits is woken by each write on its own, which costs more than the write; clients whose answers
are written back to back stay awake. Measured with 32 connections: a third less CPU for each request of a mixed load.
Must not reorder: what a connection writes in any other way, it writes after `flush`.
"""

import asyncio
from typing import Protocol

from edgeproxy.serving.stream import Answer

MOST = 64
"""Answers kept back at most, so that the first of them does not wait for a whole crowd."""


class Outgoing(Protocol):
    """A connection, as far as its ready answers go."""

    def write_ready(self, answer: Answer) -> None:
        """Write `answer` now."""
        ...


class Outbox:
    """The answers of this turn, of all connections of a listener, in the order in which they were given."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[Outgoing, Answer]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Outgoing, answer: Answer) -> None:
        """Have `connection` write `answer` before the next turn of the loop is over."""
        waiting = self._waiting
        waiting.append((connection, answer))
        if len(waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(waiting) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write everything now."""
        waiting, self._waiting = self._waiting, []
        for connection, answer in waiting:
            connection.write_ready(answer)
