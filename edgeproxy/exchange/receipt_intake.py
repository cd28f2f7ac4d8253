"""What browsers post to the edge: receipts of their service workers, outcomes of registrations, and spans.

Owns: the two paths, who may post to them, and how much is read. Must not judge a receipt (`recovery.receipt_book`) or a span
(`telemetry.relay`).
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from edgeproxy.caching.key import KeyRules
from edgeproxy.errors import RequestRefused
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.own_api import (
    allowing,
    asking_host,
    client_address,
    content_type,
    json_page,
    preflight,
    read_body,
    refusal,
    too_many,
)
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.site import Sites
from edgeproxy.wire.fields import Fields

RECEIPTS_PATH: Final = "/.edge/api/v1/receipts"
TRACES_PATH: Final = "/.edge/otlp/v1/traces"
MAX_RECEIPTS_BODY: Final = 16 << 10
MAX_TRACES_BODY: Final = 64 << 10

# `sendBeacon` sends text as text/plain and anything else after a preflight (Beacon standard, Fetch standard).
_TYPES: Final = {RECEIPTS_PATH: ("application/json", "text/plain"), TRACES_PATH: ("application/json",)}
_is_origin = re.compile(r"https?://[!-~]{1,255}", re.ASCII).fullmatch

CorsLines = tuple[tuple[str, str], ...]


class Receipts(Protocol):
    """Where receipts go."""

    def wait(self, address: str) -> float: ...

    def post(
        self, body: bytes, *, address: str, site: str, host: str, keys: KeyRules, is_of_site: Callable[[str], bool]
    ) -> dict[str, int] | None: ...


class Spans(Protocol):
    """Where spans go. `is_open` is False where nobody collects any."""

    @property
    def is_open(self) -> bool: ...

    def wait(self, address: str) -> float: ...

    def post(self, body: bytes, *, site: str, host: str) -> int:
        """Take an OTLP request; answers how many of its spans were not taken. Raises RequestRefused."""
        ...


class ReceiptIntake:
    """`sites` finds the site of a host, as the handler does now."""

    def __init__(self, receipts: Receipts, spans: Spans, sites: Callable[[], Sites]) -> None:
        self._receipts = receipts
        self._spans = spans
        self._sites = sites

    async def answer(self, exchange: Exchange) -> Page | None:
        """The whole answer; None for any other path. Raises ClientGone."""
        request, path = exchange.request, exchange.request.path
        if path not in _TYPES:
            return None
        cors: CorsLines = ()
        try:
            cors = self._cors(exchange)
            if request.method == "OPTIONS":
                return preflight("POST", "content-type, traceparent", *cors)
            if request.method != "POST":
                return allowing(("POST", "OPTIONS"), *cors)
            if content_type(request) not in _TYPES[path]:
                raise RequestRefused("request body is of a type that is not taken", status=415, takes=" ".join(_TYPES[path]))
            take = self._take_receipts if path == RECEIPTS_PATH else self._take_spans
            return await take(exchange, cors)
        except RequestRefused as error:
            exchange.reason = "request-refused"
            return refusal(error, *cors)

    def _cors(self, exchange: Exchange) -> CorsLines:
        """What lets the page read the answer. Raises RequestRefused for a page of another site: it has nothing to report here."""
        asking = asking_host(exchange.request)
        if asking is None:
            return ()
        if not self._is_of_site(exchange)(asking):
            raise RequestRefused("the page that asks is of another site", status=403)
        origin = exchange.request.fields.get("origin") or ""
        vary = ("Vary", "Origin")
        return (("Access-Control-Allow-Origin", origin), vary) if _is_origin(origin) else (vary,)

    def _is_of_site(self, exchange: Exchange) -> Callable[[str], bool]:
        """Whether a host is one of the site that was asked; under a site for any host, only the very host that was."""
        asked, site = exchange.request.host, exchange.site

        def is_of_site(host: str) -> bool:
            if host == asked:
                return True
            return site.hosts != ("*",) and host != "" and self._named(host, site.hosts) and self._sites().find(host) is site

        return is_of_site

    @staticmethod
    def _named(host: str, patterns: tuple[str, ...]) -> bool:
        """Whether a pattern other than "*" covers `host`: that one covers everybody's."""
        return any(pattern == host or (pattern[:2] == "*." and pattern[2:] == host.partition(".")[2]) for pattern in patterns)

    async def _take_receipts(self, exchange: Exchange, cors: CorsLines) -> Page:
        address = client_address(exchange)
        if wait := self._receipts.wait(address):
            return too_many(wait, *cors)
        body = await read_body(exchange, MAX_RECEIPTS_BODY)
        counts = self._receipts.post(
            body,
            address=address,
            site=exchange.site.name,
            host=exchange.request.host,
            keys=exchange.site.keys,
            is_of_site=self._is_of_site(exchange),
        )
        if counts is None:
            return Page(204, Fields((("Cache-Control", "no-store"), *cors)), b"")
        return json_page(202, counts, *cors)

    async def _take_spans(self, exchange: Exchange, cors: CorsLines) -> Page:
        if wait := self._spans.wait(client_address(exchange)):
            return too_many(wait, *cors)
        body = await read_body(exchange, MAX_TRACES_BODY)
        if not self._spans.is_open:
            return Page(204, Fields((("Cache-Control", "no-store"), *cors)), b"")
        dropped = self._spans.post(body, site=exchange.site.name, host=exchange.request.host)
        # OTLP/HTTP, "Partial Success": 200, and how many were not taken.
        told = {"partialSuccess": {"rejectedSpans": str(dropped), "errorMessage": "not taken by this edge"}} if dropped else {}
        return json_page(200, told, *cors)
