"""Which answers get the tag, and what goes out instead of the page that is stored.

Owns: the judgement of stored and of passing responses by `inject`, the forms with the tag, and what is counted and told of both.
Must not store anything with a tag in it: what is kept, and what its block names, is the page as it came from the origin.

A stored page is judged once, when it is ready to be served or first asked for, and again after `forget`: an operator's order, a
site's own service worker, a reload. A body that is not in memory is looked through by `exchange.deliver`, which alone reads it.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from edgeproxy.exchange import heads
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.heads import IDENTITY
from edgeproxy.exchange.injected import Injected
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.site import Site
from edgeproxy.inject import csp, qualify
from edgeproxy.inject.csp import Amended, Change
from edgeproxy.inject.injector import Injector, tag
from edgeproxy.inject.reasons import INJECTED, Skip
from edgeproxy.inject.scanner import Scanner, Verdict
from edgeproxy.ledger.digests import sha256
from edgeproxy.storage.forms import FormMaker
from edgeproxy.telemetry import names
from edgeproxy.telemetry.metrics import Metrics
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.injection")

MAX_CHALLENGED = 256
BETWEEN_SIGHTS = 5.0
"""Seconds between two walks through the memory that strangers cause: whoever finds a page behind a password finds many."""
_ASKS_THE_USER = ("basic", "digest", "negotiate", "ntlm")
_NO_PAGE = (Skip.NOT_HTML, Skip.STATUS)


class WorkerOrders(Protocol):
    """Who knows which hosts get our service worker: by configuration, by the operator's word, and unless they have their own."""

    def is_injected(self, site: str, host: str) -> bool:
        """Whether pages of `host` get the tag."""
        ...


@dataclass(frozen=True, slots=True)
class Passing:
    """A page on its way from the origin. `fields` are those of the page as it came, `amended` those of the page with the tag."""

    fields: Fields
    amended: Fields
    injector: Injector
    changes: tuple[Change, ...]


class Injections:
    """Of one node."""

    def __init__(self, orders: WorkerOrders, cache: Cache, forms: FormMaker, metrics: Metrics) -> None:
        self.orders = orders
        self.on_forget: Callable[[], None] = lambda: None
        """Told when it is to be found out anew which requests ask for a page with the tag."""
        self._cache = cache
        self._forms = forms
        self._metrics = metrics
        self._challenged: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._told: set[tuple[str, str, tuple[Change, ...]]] = set()
        self._next_forget = 0.0
        self._forgetting: asyncio.TimerHandle | None = None

    def applies(self, site: Site, request: Request) -> bool:
        """Whether answers to `request` get the tag where the response has nothing against it."""
        return self.orders.is_injected(site.name, request.host) and qualify.of_request(request) is None

    # --- stored responses

    def of(self, site: Site, resident: Resident) -> Injected | None:
        """What is known of a stored response; None for what is no page, and where there is no injection at all."""
        if not resident.is_judged:
            resident.is_judged = True
            resident.injected = self._judge(site, resident)
        return resident.injected

    def wanted(self, exchange: Exchange, resident: Resident) -> Injected | None:
        """The same for one exchange: None when this answer is to be the page as it came."""
        injected = self.of(exchange.site, resident)
        if injected is None:
            return None
        skip = qualify.of_request(exchange.request)
        if skip is not None:
            exchange.span.set(names.INJECTION, skip)
            return None
        return injected

    def placed(self, resident: Resident, injected: Injected, verdict: Verdict) -> None:
        """The place in the body is known, or that there is none."""
        if isinstance(verdict, Skip):
            injected.outcome = verdict
            return
        stored, inserted, splice = resident.stored, injected.tag, (verdict, injected.tag)
        injected.outcome = INJECTED
        if resident.body is None:
            injected.forms[IDENTITY] = heads.injected_form(stored, IDENTITY, None, stored.length + len(inserted), None, splice)
            return
        page = resident.body.value
        data = b"".join((page[:verdict], inserted, page[verdict:]))
        digest = sha256(data)
        injected.forms[IDENTITY] = heads.injected_form(stored, IDENTITY, data, len(data), digest, splice)
        if not self._inherit(resident, injected) and resident.compressible:
            content_type = stored.fields.get("content-type") or ""
            self._forms.request(digest, data, content_type, partial(self._coded, resident, injected))
        self._grown(resident, injected)

    def _judge(self, site: Site, resident: Resident) -> Injected | None:
        stored = resident.stored
        if not self.orders.is_injected(site.name, host_of(stored.url)):
            return None
        skip = qualify.of_response(stored.status, stored.fields, coded="content-encoding" in stored.fields)
        if skip in _NO_PAGE:
            return None
        if skip is None and self._challenge_over(stored.url) is not None:
            skip = Skip.CHALLENGED
        amended = self.amended(site, stored.url, stored.fields) if skip is None else Amended(stored.fields, skip=skip)
        injected = Injected(amended.fields, tag(amended.nonce), amended.changes, amended.skip)
        if amended.skip is None and resident.body is not None:
            scanner = Scanner()
            scanner.feed(resident.body.value)
            self.placed(resident, injected, scanner.finish())
        return injected

    def _inherit(self, resident: Resident, injected: Injected) -> bool:
        """Take the coded forms over from the response that this one confirms; True when they are of the very same page."""
        before, resident.heir_of = resident.heir_of, None
        if before is None or before.forms.get(IDENTITY, None) is None:
            return False
        if before.forms[IDENTITY].digest != injected.forms[IDENTITY].digest:
            return False
        for coding, form in before.forms.items():
            if coding != IDENTITY:
                injected.forms[coding] = heads.injected_form(
                    resident.stored, coding, form.data, form.length, form.digest, injected.forms[IDENTITY].splice
                )
        return len(injected.forms) > 1

    def _coded(self, resident: Resident, injected: Injected, made: dict[str, bytes]) -> None:
        """The coded forms are ready."""
        if resident.injected is not injected:
            return
        splice = injected.forms[IDENTITY].splice
        for coding, data in made.items():
            injected.forms[coding] = heads.injected_form(resident.stored, coding, data, len(data), sha256(data), splice)
        resident.answers.clear()
        self._grown(resident, injected)

    def _grown(self, resident: Resident, injected: Injected) -> None:
        """The memory tier counts what was made."""
        tier = self._cache.tier
        if tier.get(resident.tier_key) is resident:
            resident.size += injected.size - resident.injected_size
            resident.injected_size = injected.size
            tier.put(resident.tier_key, resident, resident.size)

    # --- responses that pass by

    def passing(self, exchange: Exchange, status: int, fields: Fields, *, coded: bool) -> Passing | None:
        """How to inject into a response while it goes by; None when it goes as it came. A None is told in the span."""
        site, request = exchange.site, exchange.request
        if not self.orders.is_injected(site.name, request.host):
            return None
        skip = qualify.of_response(status, fields, coded=coded)
        if skip in _NO_PAGE:
            return None
        if skip is None and self._challenge_over(request.url) is not None:
            skip = Skip.CHALLENGED
        by_request = qualify.of_request(request)
        if by_request is not None:
            exchange.span.set(names.INJECTION, by_request)
            return None
        amended = Amended(fields, skip=skip)
        if skip is None:
            amended = self.amended(site, request.url, fields)
        if amended.skip is not None:
            self.tell(exchange, amended.skip)
            return None
        return Passing(fields, heads.of_injected(amended.fields), Injector(tag(amended.nonce)), amended.changes)

    def varies(self, site: Site, request: Request, status: int, fields: Fields, *, coded: bool) -> bool:
        """Whether others who ask for what this is the answer to may get it with the tag."""
        return (
            self.orders.is_injected(site.name, request.host)
            and request.method in ("GET", "HEAD")
            and qualify.of_response(status, fields, coded=coded) is None
        )

    def tell(self, exchange: Exchange, outcome: str | None, changes: tuple[Change, ...] = ()) -> None:
        """Into span and metrics: what became of a page that was asked for as one. `None`: its place is still open."""
        if outcome is None:
            return
        exchange.span.set(names.INJECTION, outcome)
        if outcome == INJECTED and changes:
            exchange.span.set(names.CSP_CHANGES, ",".join(changes))
        exchange.metrics.count_page(outcome)

    def amended(self, site: Site, url: str, fields: Fields) -> Amended:
        """The policies of a page, amended; each kind of change is counted, and each change of a policy written down once."""
        origin = csp.origin_of(url)
        amended = csp.amend(fields, origin, site.csp)
        counted = self._metrics.site(site.name).csp_changes
        for change in amended.changes:
            counted.add(change)
        if any(change is not Change.NONCE for change in amended.changes):
            self._audit(origin, fields, amended)
        return amended

    def _audit(self, origin: str, fields: Fields, amended: Amended) -> None:
        """One line for each kind of policy that is changed; without its nonce it would be a new one for each answer."""
        key = (origin, amended.fields.get(csp.ENFORCED) or "", amended.changes)
        policy = key[1].replace(amended.nonce, "…") if amended.nonce else key[1]
        mark = (origin, policy, amended.changes)
        if mark in self._told or len(self._told) >= 1024:
            return
        self._told.add(mark)
        log.info("policy of %s extended (%s): %s", origin, ", ".join(amended.changes), policy[:2048])

    # --- what speaks against a whole host

    def saw_answer(self, exchange: Exchange, status: int, fields: Fields) -> None:
        """A page that asks for a password (RFC 7617 section 2.2) keeps our worker from itself and all below its folder."""
        asked = (fields.get("www-authenticate") or "").lower()
        if status != 401 or not any(scheme in asked for scheme in _ASKS_THE_USER):
            return
        if not qualify.wants_document(exchange.request.fields.get("sec-fetch-dest"), exchange.request.fields.get("accept")):
            return
        covering = self._challenge_over(exchange.request.url)
        if covering is not None:
            self._challenged.move_to_end(covering)
            return
        self._challenged[exchange.request.host, exchange.request.path.rpartition("/")[0] + "/"] = None
        if len(self._challenged) > MAX_CHALLENGED:
            self._challenged.popitem(last=False)
        self._forget_soon()

    def _challenge_over(self, url: str) -> tuple[str, str] | None:
        """Host and folder of a page that asked for a password, when `url` is below it."""
        if not self._challenged:
            return None
        host, path = host_of(url), urlsplit(url).path
        return next((key for key in self._challenged if key[0] == host and path.startswith(key[1])), None)

    def _forget_soon(self) -> None:
        """At once, if that was not done lately."""
        if self._forgetting is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_forget:
            self._forgetting = loop.call_at(self._next_forget, self.forget)
            return
        self._next_forget = loop.time() + BETWEEN_SIGHTS
        self.forget()

    def forget(self) -> None:
        """Judge anew what is in memory: who gets the tag has changed."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
            self._next_forget = asyncio.get_running_loop().time() + BETWEEN_SIGHTS
        for entry in self._cache.index.entries():
            resident = entry.pending or self._cache.tier.get(entry.tier_key)
            if resident is not None:
                resident.unjudge()
        self.on_forget()


def host_of(url: str) -> str:
    """As `Request.host` writes it: lower case, without port, IPv6 in brackets."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host
