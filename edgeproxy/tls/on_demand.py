"""Certificates for names that nobody configured, obtained in the handshake of the first client that asks; only with an `ask` URL.

Owns: who may make this edge ask an authority, and for how long a handshake is held. Without bounds anybody could, with a
wildcard in the DNS and a loop, use up what an authority allows. In this order, each cheaper than the next:

1. The name must be one that a public authority could certify: no address, no single label, no private name.
2. What was refused or failed lately is refused again without asking (negative cache).
3. No more than so many handshakes are held at a time.
4. A name that is being asked for already is joined (single flight).
5. A new name costs from two budgets: that of the client's address, and that of all together.
6. The operator's own service is asked: GET URL?domain=NAME&client=ADDRESS. A status of 2xx is yes; anything else, a redirect, or
   no answer in time is no.
   What the vault has already, from before a restart, is served without all that, and renewed only after another yes.
7. The keeper obtains, with all its waits. The handshake is held for a bounded time; what arrives later serves the next one.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp
from yarl import URL

from edgeproxy.clock import Clock
from edgeproxy.errors import IssuanceFailed, StoreError
from edgeproxy.tasks import spawn
from edgeproxy.tls.certificate import Certificate, is_address
from edgeproxy.tls.schedule import local_renewal
from edgeproxy.tls.self_signed import is_private
from edgeproxy.wire.clients import client_of

log = logging.getLogger("edgeproxy.tls.on_demand")

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_NAME: Final = 253
LONGEST_HOLD: Final = 29.0
"""Seconds; clients give up on a handshake at about 30."""


class Refusal(StrEnum):
    """Why a handshake gets no certificate; for metrics and logs."""

    NAME = "not a name for a certificate"
    RECENT = "refused or failed lately"
    BUSY = "too many handshakes are held"
    CLIENT_BUDGET = "too many new names from this address"
    BUDGET = "too many new names"
    DENIED = "the ask URL said no"
    UNREACHABLE = "the ask URL did not answer"
    FAILED = "no authority issued"
    SLOW = "not there in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemandSettings:
    """Bounds. Times in seconds."""

    ask: str
    """URL of the operator's service."""
    ask_seconds: float = 5.0
    hold_seconds: float = 25.0
    """How long a handshake waits; never more than 29."""
    most_held: int = 100
    client_names: int = 5
    """New names for one client address (an IPv6 client: for its /64) within `budget_seconds`."""
    all_names: int = 50
    budget_seconds: float = 3_600.0
    denied_seconds: float = 300.0
    """How long a no is remembered."""
    failed_seconds: float = 60.0
    """How long a failure is remembered; the keeper's own waits come on top."""
    most_remembered: int = 10_000


class Budget:
    """So many in so many seconds, in all and for each client; the oldest are forgotten as time goes on. Pure."""

    def __init__(self, for_one: int, for_all: int, seconds: float) -> None:
        self._for_one = for_one
        self._for_all = for_all
        self._seconds = seconds
        self._spent: list[tuple[float, str]] = []

    def spend(self, client: str, now: float) -> Refusal | None:
        """Take one for `client` (see `wire.clients`) at `now` (monotonic seconds), or say why there is none left."""
        self._spent = [one for one in self._spent if one[0] > now - self._seconds]
        if len(self._spent) >= self._for_all:
            return Refusal.BUDGET
        if sum(by == client for _, by in self._spent) >= self._for_one:
            return Refusal.CLIENT_BUDGET
        self._spent.append((now, client))
        return None


def is_possible(name: str) -> bool:
    """`name` (lower case, no final dot) is one that a public authority could certify: at least two LDH labels, not private."""
    labels = name.split(".")
    if len(name) > LONGEST_NAME or len(labels) < 2 or is_address(name):
        return False
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit() and not is_private(name)


class OnDemand:
    """Finds a certificate for a handshake whose name is not configured."""

    def __init__(
        self,
        find: Callable[[str], Certificate | None],
        obtain: Callable[[str], Awaitable[Certificate]],
        clock: Clock,
        settings: OnDemandSettings,
    ) -> None:
        """`find` and `obtain`: `Keeper.find` and `Keeper.obtain`."""
        self._find = find
        self._obtain = obtain
        self._clock = clock
        self._settings = settings
        self._budget = Budget(settings.client_names, settings.all_names, settings.budget_seconds)
        self._known: OrderedDict[str, Certificate] = OrderedDict()
        self._refused: OrderedDict[str, tuple[float, Refusal]] = OrderedDict()
        """By name: until when (monotonic), and why."""
        self._flights: dict[str, asyncio.Task[Certificate | Refusal]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.held = 0
        """Handshakes that wait now."""
        self.refusals: dict[Refusal, int] = dict.fromkeys(Refusal, 0)

    def __repr__(self) -> str:
        return f"<OnDemand known={len(self._known)} flights={len(self._flights)} held={self.held}>"

    async def certificate(self, name: str, client: str) -> Certificate | None:
        """The certificate for `name`, or None, which ends the handshake. `client`: its address. Waits up to `hold_seconds`."""
        name = name.lower().removesuffix(".")
        known = self._known.get(name)
        if known is None and name not in self._flights and self._refusal(name) is None:
            known = self._find(name)
        if known is not None and known.is_valid(self._clock.seconds()):
            self._keep(name, known)
            self._renew_behind(name, known, client)
            return known
        answer = await self._hold(name, client)
        if isinstance(answer, Certificate):
            return answer
        self.refusals[answer] += 1
        log.info("no certificate on demand for %s: %s", name[:LONGEST_NAME], answer.value)
        return None

    async def stop(self) -> None:
        """End all flights."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _hold(self, name: str, client: str) -> Certificate | Refusal:
        flight = self._flights.get(name)
        if flight is None and (refusal := self._refusal(name)):
            return refusal
        if self.held >= self._settings.most_held:
            return Refusal.BUSY
        if flight is None:
            if refusal := self._budget.spend(client_of(client), self._clock.monotonic()):
                return refusal
            flight = self._start(name, client)
        self.held += 1
        try:
            await asyncio.wait((flight,), timeout=min(self._settings.hold_seconds, LONGEST_HOLD))
        finally:
            self.held -= 1
        if not flight.done():
            return Refusal.SLOW
        return Refusal.FAILED if flight.cancelled() else flight.result()

    def _refusal(self, name: str) -> Refusal | None:
        if not is_possible(name):
            return Refusal.NAME
        until, _ = self._refused.get(name, (0.0, Refusal.RECENT))
        if until > self._clock.monotonic():
            return Refusal.RECENT
        self._refused.pop(name, None)
        return None

    def _renew_behind(self, name: str, known: Certificate, client: str) -> None:
        """A client still uses this name and its certificate is due: ask again, and renew, while the old one serves."""
        if name in self._flights or self._clock.seconds() < local_renewal(known) or self._refusal(name):
            return
        self._start(name, client)

    def _start(self, name: str, client: str) -> asyncio.Task[Certificate | Refusal]:
        flight = self._flights[name] = spawn(self._fly(name, client), name=f"on-demand {name}")
        flight.add_done_callback(lambda _: self._flights.pop(name, None))
        return flight

    async def _fly(self, name: str, client: str) -> Certificate | Refusal:
        if refusal := await self._ask(name, client):
            self._remember_refusal(name, refusal, self._settings.denied_seconds)
            return refusal
        try:
            certificate = await self._obtain(name)
        except (IssuanceFailed, StoreError) as error:
            log.warning("no certificate on demand for %s: %s", name, error)
            self._remember_refusal(name, Refusal.FAILED, self._settings.failed_seconds)
            return Refusal.FAILED
        self._keep(name, certificate)
        return certificate

    def _keep(self, name: str, certificate: Certificate) -> None:
        self._known[name] = certificate
        self._known.move_to_end(name)
        while len(self._known) > self._settings.most_remembered:
            self._known.popitem(last=False)

    async def _ask(self, name: str, client: str) -> Refusal | None:
        """None when the operator's service says yes."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.ask_seconds), cookie_jar=aiohttp.DummyCookieJar()
            )
        url = URL(self._settings.ask).update_query(domain=name, client=client)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                return None if 200 <= response.status < 300 else Refusal.DENIED
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.error("the ask URL did not answer for %s: %r", name, error)
            return Refusal.UNREACHABLE

    def _remember_refusal(self, name: str, refusal: Refusal, seconds: float) -> None:
        self._refused[name] = (self._clock.monotonic() + seconds, refusal)
        self._refused.move_to_end(name)
        while len(self._refused) > self._settings.most_remembered:
            self._refused.popitem(last=False)
