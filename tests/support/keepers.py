"""A keeper on a manual clock, with what it said and served, and the means to let days pass."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.entries import Entry
from edgeproxy.tls.events import CertificateEvent, Kind
from edgeproxy.tls.keeper import IssuerLike, Keeper, KeeperSettings, Wanted
from edgeproxy.tls.vault import Vault
from tests.support.local_authority import DAY, LocalAuthority
from tests.support.time_lapse import TimeLapse, until

NAME = "www.example.com"


class Lab:
    """One process's worth of keeping, on `lapse`."""

    def __init__(self, folder: Path, issuers: Sequence[IssuerLike], lapse: TimeLapse | None = None, **settings: object) -> None:
        self.lapse = lapse or TimeLapse()
        self.clock = self.lapse.clock
        self.vault = Vault(folder, self.clock)
        defaults = KeeperSettings(sleep=self.lapse.sleep, draw=lambda: 0.5, scan_seconds=6 * 3600.0, watch_seconds=6 * 3600.0)
        self.keeper = Keeper(self.vault, issuers, self.clock, replace(defaults, **settings))  # type: ignore[arg-type]
        self.events: list[CertificateEvent] = []
        self.changes: list[Certificate] = []
        self.keeper.on_event = self.events.append
        self.keeper.on_change = self.changes.append

    def want(self, *sets: Sequence[str] | str) -> None:
        self.keeper.want([Wanted((names,) if isinstance(names, str) else tuple(names)) for names in sets])

    async def start(self, *sets: Sequence[str] | str) -> None:
        """Start, lead, and come to rest."""
        self.want(*sets)
        await self.keeper.start()
        await until(lambda: self.keeper.leads)
        await self.rest()

    async def stop(self) -> None:
        await self.keeper.stop()

    async def rest(self) -> None:
        """Until nothing runs and the loop sleeps: the keeper waits for the clock, or for somebody."""
        turns = 0
        while turns < 3:
            await until(lambda: self.keeper.is_resting)
            await asyncio.sleep(0)  # the loop's timer, and whoever was woken, have their turn
            turns = turns + 1 if self.keeper.is_resting else 0

    async def pass_time(self, seconds: float, watch: Callable[[], None] | None = None) -> None:
        """Let time pass, from one wake-up to the next; `watch` looks at the state between them."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 1e-6:
            wake = self.lapse.next_wake()
            self.lapse.move(min(left, max(wake, 0.001)) if wake is not None else left)
            await self.rest()
            if watch is not None:
                watch()

    def entry(self, *names: str) -> Entry:
        return self.keeper._entries[tuple(sorted(names))]

    def kinds(self) -> list[Kind]:
        return [event.kind for event in self.events]


Start = Callable[..., Lab]
"""Makes a lab whose keeper is not started yet; `tests/unit/tls/keeper` has it as a fixture."""


def days(authority: LocalAuthority) -> list[float]:
    """When orders came, in days since the first."""
    return [round((at - authority.orders[0][0]) / DAY, 3) for at, *_ in authority.orders]
