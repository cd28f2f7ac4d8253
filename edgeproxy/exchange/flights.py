"""One fetch, many waiting: requests for the same thing share one question to the origin.

Owns: the table of flights and what becomes of those who wait. A flight runs in a task of its own, so a client that leaves takes
nobody with it. When the answer cannot be shared, all who wait are told at once and go to the origin side by side, never in a row.
Must not judge a response; who started the flight does that (`exchange.refresh`).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgeproxy.caching.model import Mark, Reason, Selecting
from edgeproxy.errors import OriginError
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.resident import Resident
from edgeproxy.origin.messages import OriginResponse
from edgeproxy.storage.growing import BodyWriter
from edgeproxy.tasks import spawn
from edgeproxy.wire.fields import Fields


@dataclass(slots=True, eq=False)
class Incoming:
    """A storable response whose body is still arriving; everybody who waited may read it from its first byte.

    `done` ends with the resident, with None when it could not be kept, or with the error that cut it off. `withheld` are fields
    that are not stored: for the client that led the flight, and for no other.
    """

    status: int
    fields: Fields
    withheld: Fields
    selecting: Selecting
    writer: BodyWriter
    length: int | None
    origin_seconds: float
    done: asyncio.Future[Resident | None]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The origin confirmed the stored response (304)."""

    entry: Entry
    resident: Resident
    mark: Mark
    origin_seconds: float


@dataclass(frozen=True, slots=True)
class Alone:
    """Not to be shared. `response` is for who started the flight; the others fetch for themselves."""

    response: OriginResponse | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable answer. `status` is the origin's own, when it did answer, with a server error."""

    error: OriginError


Outcome = Incoming | Refreshed | Alone | Failed


class Flight:
    """One question to the origin, and those who wait for the head of its answer."""

    __slots__ = ("decided", "floor", "generation", "leader_present", "shared", "waiting")

    def __init__(self, *, shared: bool, floor: int, generation: int) -> None:
        self.floor = floor
        """Size of the ledger when it was asked."""
        self.generation = generation
        """Of the rules that it was last judged under."""
        self.decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.leader_present = True
        self.shared = shared
        self.waiting = 0

    async def wait(self, *, leader: bool) -> Outcome:
        """The outcome. A leader that is cancelled leaves the response to be closed."""
        self.waiting += 1
        try:
            outcome = await asyncio.shield(self.decided)
        except asyncio.CancelledError:
            if leader:
                self.leader_left()
            raise
        finally:
            self.waiting -= 1
        if isinstance(outcome, Alone) and not leader:
            return Alone(None, outcome.reason)
        return outcome

    def leader_left(self) -> None:
        """Nobody will take a response that cannot be shared."""
        self.leader_present = False
        if self.decided.done() and not self.decided.cancelled():
            outcome = self.decided.result()
            if isinstance(outcome, Alone) and outcome.response is not None:
                spawn(outcome.response.close(), name="close-unclaimed")

    def decide(self, outcome: Outcome) -> None:
        """Tell all who wait."""
        if self.decided.done():
            return
        if isinstance(outcome, Alone) and outcome.response is not None and not self.leader_present:
            spawn(outcome.response.close(), name="close-unclaimed")
            outcome = Alone(None, outcome.reason)
        self.decided.set_result(outcome)

    def __repr__(self) -> str:
        return f"Flight(waiting={self.waiting}, decided={self.decided.done()})"


class Flights:
    """The flights under way, by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}
        self._about: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.joined = 0
        """How many requests shared the fetch of another."""

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: str) -> Flight | None:
        """The flight for `key` that is still open to join, if there is one."""
        return self._by_key.get(key)

    def start(
        self, key: str | None, run: Callable[[Flight], Awaitable[None]], *, about: str, floor: int, generation: int
    ) -> Flight:
        """Start a flight `about` a primary key; under a key of its own others may join it until its body is complete, without
        one nobody can."""
        flight = Flight(shared=key is not None, floor=floor, generation=generation)
        if key is not None:
            self._by_key[key] = flight
        self._about[about] += 1
        task = spawn(self._fly(flight, key, about, run), name=f"fetch {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def settle(self, seconds: float) -> None:
        """Wait until no flight is under way, for `seconds` at most."""
        if self._tasks and seconds > 0:
            await asyncio.wait(self._tasks, timeout=seconds)

    def under_way(self, about: str) -> bool:
        """Whether anything of this primary key is being fetched."""
        return about in self._about

    async def _fly(self, flight: Flight, key: str | None, about: str, run: Callable[[Flight], Awaitable[None]]) -> None:
        try:
            await run(flight)
        finally:
            # However it ended, nobody may wait for ever: a crash of the leader's task frees the followers too.
            flight.decide(Alone(None, Reason.ORIGIN_FAILED))
            if key is not None and self._by_key.get(key) is flight:
                del self._by_key[key]
            self._about[about] -= 1
            if not self._about[about]:
                del self._about[about]
