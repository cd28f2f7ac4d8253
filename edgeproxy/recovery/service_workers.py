"""What the service workers of each site are to do, and how they are told: the mode by host, the serial, the control document.

Owns: the operator's orders over the configuration, which hosts have a service worker of their own, and the values that go in
front of our scripts. Must not answer requests (`exchange.service_worker`).

The mode of a host, in order:
 1. it has a service worker of its own, and the site yields to those: `kill`, so that ours goes away
 2. the operator's order for the site, then the one for all sites (`edgeproxy sw …`); both outlive restarts
 3. `service_worker.mode` of the configuration; `off` is `kill` to those who still have ours

The text of a control document follows from serial and host alone, and everything that changes it raises the serial. A serial is
never below the clock's milliseconds at its making, so that one that a crash kept from the disk is not given out twice.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from edgeproxy.clock import Clock, Instant
from edgeproxy.config import Site
from edgeproxy.errors import RequestRefused, StoreError
from edgeproxy.ledger.control import Control, Mode, Quorum, statement_of
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.recovery.rates import Bucket, Limit
from edgeproxy.recovery.worker_state import Kept, Orders, load_state, save_state
from edgeproxy.wire.clients import client_of

log = logging.getLogger("edgeproxy.recovery")

ORDERS: Final[dict[str, Mode | None]] = {"on": "on", "observe": "observe", "bypass": "bypass", "kill": "kill", "config": None}
"""What an operator says; `config` takes the last order back."""

ALL_SITES: Final = ""

MAX_OWN: Final = 256
"""Hosts with a service worker of their own that are remembered, and as many that may have one; the one not seen for longest makes
room."""
OWN_MILLISECONDS: Final = 30 * 86_400_000
"""Browsers look for a new version of a script once a day at least: who was not seen for so long is gone."""
OWN_CLIENTS: Final = 3
"""Clients that have to agree that a host has one, within `AGREE_SECONDS`: each of them can be a stranger who says so, and what
follows is that ours leaves all visitors of that host. Until then ours yields in the page, in each browser that has the other."""
AGREE_SECONDS: Final = 86_400
KEY_MILLISECONDS: Final = 30 * 86_400_000
"""How long a key that was rotated away stays in the script: copies on mirrors are proved with it."""
MAX_NOTES: Final = 256
_SEEN_AGAIN: Final = 3_600_000
SIGHTS: Final = Limit(burst=16, rate=1 / 60)
"""Hosts that are newly seen with a service worker of their own: each changes the orders of all, and a site for any host has as
many as somebody likes to name."""


class Log(Protocol):
    """What is needed of the sequencer: the log's public key, and its signature."""

    @property
    def log(self) -> Verifier: ...

    def statement(self, kind: str, text: str) -> bytes: ...


def host_mode(kept: Kept, site: str, host: str) -> Mode:
    """What the workers of `host` are to do."""
    orders = kept.orders.get(site)
    return "kill" if orders is None or host in kept.own else orders.mode


def control_of(kept: Kept, site: str, host: str, salt: bytes) -> Control | None:
    """The control document of a host of `site`; None for a site that has no orders (it is not configured)."""
    orders = kept.orders.get(site)
    if orders is None:
        return None
    return Control(
        serial=kept.serial,
        issued=kept.issued,
        mode=host_mode(kept, site, host),
        percent=orders.percent,
        site=host,
        salt=salt,
        max_stale=orders.max_stale,
        mirrors=orders.mirrors,
        validators=orders.validators,
    )


class ServiceWorkers:
    """The orders of one node. `salt`: of a site's URL digests, by its name. `validators` is asked at each change."""

    def __init__(self, folder: Path, clock: Clock, ledger: Log, salt: Callable[[str], bytes]) -> None:
        self.validators: Callable[[], Quorum | None] = lambda: None
        self.on_change: Callable[[], None] = lambda: None
        """Told when orders may have become others, and with them who gets the worker."""
        self._folder = folder
        self._clock = clock
        self._log = ledger
        self._salt = salt
        self._sites: dict[str, Site] = {}
        self._kept = Kept()
        self._dirty = False
        self._notes: dict[tuple[int, str, str, str], bytes] = {}
        self._saving = asyncio.Lock()
        self._sights = Bucket(SIGHTS.burst, SIGHTS.rate, SIGHTS.burst, clock.monotonic())
        self._sighted: OrderedDict[str, dict[str, float]] = OrderedDict()
        """Hosts that are not believed yet: which clients said so, and when, in monotonic seconds."""

    def __repr__(self) -> str:
        return f"<ServiceWorkers serial={self.serial} sites={len(self._sites)} own={len(self._kept.own)}>"

    # --- life

    def start(self, sites: Iterable[Site]) -> None:
        """Read what was kept, and begin a new serial. Blocking; a disk that cannot be written is told and lived with."""
        self._kept = load_state(self._folder)
        self._sites = {site.name: site for site in sites}
        self._note_key()
        self._change()
        self._save_blocking()

    async def apply(self, sites: Iterable[Site]) -> None:
        """The configuration was reloaded."""
        self._sites = {site.name: site for site in sites}
        if self._orders() != self._kept.orders:
            self._change()
        await self.sweep()

    async def sweep(self) -> None:
        """To be called from time to time: forget what is over, and keep what changed. Raises nothing."""
        now = self._clock.now()
        self._note_key()
        own = {host: seen for host, seen in self._kept.own.items() if now - seen < OWN_MILLISECONDS}
        if own != self._kept.own:
            self._change(own=own)
        elif self._orders() != self._kept.orders:
            self._change()  # the validators are others
        if self._dirty:
            try:
                await self._save()
            except StoreError as error:
                log.error("orders to service workers could not be kept, a restart will forget them: %s", error)

    def _save_blocking(self) -> None:
        try:
            save_state(self._folder, self._kept)
            self._dirty = False
        except StoreError as error:
            log.error("orders to service workers could not be kept, a restart will forget them: %s", error)

    async def _save(self) -> None:
        """Raises StoreError."""
        async with self._saving:
            kept = self._kept
            await asyncio.to_thread(save_state, self._folder, kept)
            self._dirty = self._kept is not kept

    def _change(self, **changed: Any) -> None:
        """Something that a control document says is different now."""
        now = self._clock.now()
        kept = msgspec.structs.replace(self._kept, **changed)
        serial = max(kept.serial + 1, now)
        self._kept = msgspec.structs.replace(kept, serial=serial, issued=now, orders=self._orders(kept.overrides))
        self._dirty = True
        self.on_change()

    def _orders(self, overrides: Mapping[str, Mode] | None = None) -> dict[str, Orders]:
        overrides = self._kept.overrides if overrides is None else overrides
        validators = self.validators()
        made = {}
        for name, site in self._sites.items():
            settings = site.service_worker
            configured: Mode = "on" if settings.mode == "on" else "observe" if settings.mode == "observe" else "kill"
            made[name] = Orders(
                hosts=site.hosts,
                mode=overrides.get(name) or overrides.get(ALL_SITES) or configured,
                percent=settings.percent,
                max_stale=int(settings.max_stale),
                mirrors=settings.mirrors,
                tag_fields=site.policy().tag_fields,
                ignore_query=site.cache.ignore_query,
                override=site.recovery.override,
                validators=validators,
            )
        return made

    def _note_key(self) -> None:
        """Remember the log's key, and for a while the one before it."""
        present, now = str(self._log.log), self._clock.now()
        kept = self._kept.keys
        if not kept or kept[0][0] != present:
            # The moment beside a key is that of its end; the present one has none yet.
            ended = tuple((key, now if at == 0 else at) for key, at in kept if key != present)
            kept = ((present, Instant(0)), *ended)
        alive = tuple((key, at) for key, at in kept if at == 0 or now - at < KEY_MILLISECONDS)[:3]
        if alive != self._kept.keys:
            self._kept = msgspec.structs.replace(self._kept, keys=alive)
            self._dirty = True

    # --- what is ordered

    @property
    def serial(self) -> int:
        return self._kept.serial

    def mode(self, site: str, host: str) -> Mode:
        """What the workers of `host` are to do."""
        return host_mode(self._kept, site, host)

    def has_own(self, host: str) -> bool:
        """Whether the site at `host` has a service worker of its own, so that ours stays away."""
        return host in self._kept.own

    def is_injected(self, site: str, host: str) -> bool:
        """Whether pages of `host` get the script that registers our worker."""
        return self.mode(site, host) in ("on", "observe")

    async def order(self, site: str | None, order: str) -> None:
        """An operator's order, for one site by its name or for all; durable when this returns. Raises RequestRefused, StoreError.

        It also forgets which hosts had a service worker of their own, and who said so: who orders has looked.
        """
        if order not in ORDERS:
            raise RequestRefused(f"mode must be one of {', '.join(ORDERS)}", mode=order)
        if site is not None and site not in self._sites:
            raise RequestRefused("no such site is configured", status=404, site=site)
        overrides = dict(self._kept.overrides)
        if site is None:
            overrides.clear()
        mode = ORDERS[order]
        if mode is None:
            overrides.pop(site or ALL_SITES, None)
        else:
            overrides[site or ALL_SITES] = mode
        hosts = None if site is None else self._sites[site].hosts
        own = {} if hosts is None else {host: at for host, at in self._kept.own.items() if not is_of(host, hosts)}
        self._sighted.clear()
        self._change(overrides=overrides, own=own)
        await self._save()

    def saw_own(self, site: str, host: str, address: str) -> None:
        """A browser at `address` fetched a service worker's script at `host` that is not ours (Service Workers, "Update").

        Once `OWN_CLIENTS` did, ours yields.
        """
        configured = self._sites.get(site)
        if configured is None or configured.service_worker.own == "ignore":
            return
        now, own = self._clock.now(), self._kept.own
        seen = own.get(host)
        if seen is not None:
            if now - seen > _SEEN_AGAIN:
                self._kept = msgspec.structs.replace(self._kept, own={**own, host: now})
                self._dirty = True
            return
        if not self._agreed(host, address) or self._sights.take(self._clock.monotonic()):
            return  # browsers ask for the script again
        del self._sighted[host]
        kept = dict(sorted(own.items(), key=lambda item: item[1])[-MAX_OWN + 1 :])
        log.warning("%s has a service worker of its own: ours yields there (service_worker.own)", host)
        self._change(own={**kept, host: now})

    def _agreed(self, host: str, address: str) -> bool:
        """Whether enough clients said by now that `host` has a service worker of its own, the one at `address` included."""
        now = self._clock.monotonic()
        known = self._sighted.pop(host, {})
        said = {client: at for client, at in known.items() if now - at < AGREE_SECONDS}
        if len(said) < OWN_CLIENTS:
            said[client_of(address)] = now
        self._sighted[host] = said
        if len(self._sighted) > MAX_OWN:
            self._sighted.popitem(last=False)
        return len(said) >= OWN_CLIENTS

    # --- what browsers are told

    def control(self, site: str, host: str) -> bytes | None:
        """The signed control document for `host`; None for a site that is not configured."""
        # The text follows from serial and host, and the signature from text and key: nothing need be signed twice.
        key = (self._kept.serial, str(self._log.log), site, host)
        note = self._notes.get(key)
        if note is None:
            control = control_of(self._kept, site, host, self._salt(site))
            if control is None:
                return None
            if len(self._notes) >= MAX_NOTES:
                self._notes.clear()
            note = self._notes[key] = self._log.statement("control", statement_of(control))
        return note

    def worker_values(self, site: str, host: str, version: str) -> dict[str, Any] | None:
        """What goes in front of the worker's script; None when the script is to be the one that removes it."""
        configured, mode = self._sites.get(site), self.mode(site, host)
        if configured is None or mode == "kill":
            return None
        self._note_key()
        settings, orders = configured.service_worker, self._kept.orders[site]
        keys = [key for key, _ in self._kept.keys]
        return {
            "keys": [*keys, *(key for key in settings.mirror_keys if key not in keys)],
            "origin": self._log.log.name,
            "site": host,
            "salt": msgspec.to_builtins(self._salt(site)),
            "version": version,
            "mode": mode,
            "percent": orders.percent,
            "max_stale": orders.max_stale,
            "mirrors": list(orders.mirrors),
            "validators": msgspec.to_builtins(orders.validators),
            "ignore": list(configured.cache.ignore_query),
            "override": configured.recovery.override,
            "csp": settings.csp,
            "limits": {"bytes": settings.cache_bytes, "navigation": round(settings.navigation_timeout * 1000)},
        }

    def page_values(self, site: str, host: str) -> dict[str, Any]:
        """What goes in front of the script that registers the worker, or removes it."""
        orders = self._kept.orders.get(site)
        return {"mode": self.mode(site, host), "percent": orders.percent if orders else 0}

    def takes_mirrored(self, site: str) -> bool:
        """Whether workers of `site` may serve copies out of another log, whose heights are not ours."""
        configured = self._sites.get(site)
        return configured is not None and bool(configured.service_worker.mirror_keys)

    def status(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One object for each site, for the operator."""
        kept = self._kept
        return [
            {
                "site": name,
                "mode": orders.mode if (orders := kept.orders.get(name)) else "kill",
                "configured": self._sites[name].service_worker.mode if name in self._sites else "off",
                "ordered": kept.overrides.get(name) or kept.overrides.get(ALL_SITES),
                "percent": orders.percent if orders else 0,
                "mirrors": list(orders.mirrors) if orders else [],
                "own": sorted(host for host in kept.own if orders and is_of(host, orders.hosts)),
                "serial": kept.serial,
            }
            for name in names
        ]


def is_of(host: str, patterns: Iterable[str]) -> bool:
    """Whether one of a site's host patterns covers `host`."""
    return any(
        pattern in ("*", host) or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]) for pattern in patterns
    )
