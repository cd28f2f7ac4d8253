"""What connections ask for answers: at once for a hot hit, else as an exchange.

Owns: the hot path, and what is counted and logged of every exchange. Must not decide how an exchange is answered: a ready
answer is the memory of a decision that `caching.plan` made for this shape of request, and it is dropped with the rules, the
response or its freshness that it was made under.

A hot hit costs: the site and key out of the request's memo, one look into the memory tier, two comparisons (fresh? same
rules?), one look for the shape, one write. Everything else was done when the answer was made, or a second ago.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edgeproxy.clock import Clock
from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.exchange.answer import Answerer
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.pages import Page, error_page, whole_answer
from edgeproxy.exchange.ready import PLAIN_GET, PLAIN_SHAPE, answer_key, kind_of, make_answer, ranking, shape_of
from edgeproxy.exchange.resident import Answer, Resident
from edgeproxy.exchange.site import Site, Sites
from edgeproxy.serving import stream as serving
from edgeproxy.serving.stream import Peer, Stream
from edgeproxy.telemetry import names
from edgeproxy.telemetry.access_log import AccessLog, Entry
from edgeproxy.telemetry.metrics import OUTCOME_LABEL, Metrics, SiteMetrics
from edgeproxy.telemetry.tracing import Tracing
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from edgeproxy.wire.well_known import is_challenge, token_of

log = logging.getLogger("edgeproxy.handler")


@dataclass(slots=True)
class Hot:
    """What of a request decides its ready answer; kept in the request's memo for as long as the sites stay the same.

    `prefix` with a target behind it is the key of any other target under the same fields; None when keys are not that simple.
    """

    sites: Sites
    site: Site
    metrics: SiteMetrics
    tier_key: str
    shape: str
    ranked: tuple[str, ...]
    kind: str
    prefix: str | None


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where exchanges are counted and written down."""

    metrics: Metrics
    access_log: AccessLog
    tracing: Tracing


Challenge = Callable[[str, str], Awaitable[bytes | None]]
"""(token, authority of the request): the answer, None for an unknown token."""


class EdgeHandler:
    """The `Handler` of all connections of one node."""

    def __init__(self, sites: Sites, cache: Cache, answerer: Answerer, reporting: Reporting, clock: Clock) -> None:
        self.sites = sites
        self._cache = cache
        self._answerer = answerer
        self._metrics = reporting.metrics
        self._log = reporting.access_log
        self._log_hit = self._log.hit
        self._tracing = reporting.tracing
        self.challenge: Challenge | None = None
        """Who knows the answers to challenges of certificate authorities."""
        self.look: Callable[[Exchange], None] = lambda exchange: None
        """Shown each exchange that asks for the script of a service worker, once it is answered."""
        self._clock = clock
        self._seconds = clock.seconds
        self._rules = cache.rules
        self._tier_get = cache.tier.get
        self._trusted = _Trusted()

    # --- the hot path ---

    def instant(self, request: Request, peer: Peer) -> serving.Answer | None:
        """A fresh hit out of memory, ready to be written; None for everything else."""
        hot = request.memo.get("hot")
        if hot is None or hot.sites is not self.sites:
            hot = self._warm(request)
            if hot is None:
                return None
        resident = self._tier_get(hot.tier_key)
        if resident is None:
            return None
        now = self._seconds()
        answer = self._ready(hot, resident, request, request.target, peer, now)
        return None if answer is None else answer.at(int(now))

    def instant_like(self, known: Request, target: str, peer: Peer) -> serving.Answer | None:
        """The same for another target under fields like those of `known`."""
        hot = known.memo.get("hot")
        if hot is None or hot.sites is not self.sites or hot.prefix is None or "%" in target:
            return None
        # A resident under a bare key answers all requests for it, whatever their fields.
        resident = self._tier_get(hot.prefix + target)
        if resident is None:
            return None
        now = self._seconds()
        answer = self._ready(hot, resident, known, target, peer, now)
        return None if answer is None else answer.at(int(now))

    def instant_parts(self, request: Request, peer: Peer) -> serving.ReadyParts | None:
        """`instant` in parts: the same decision, the head as a field block."""
        hot = request.memo.get("hot")
        if hot is None or hot.sites is not self.sites:
            hot = self._warm(request)
            if hot is None:
                return None
        resident = self._tier_get(hot.tier_key)
        if resident is None:
            return None
        now = self._seconds()
        answer = self._ready(hot, resident, request, request.target, peer, now)
        return None if answer is None else serving.ReadyParts(answer.block_at(int(now)), answer.body)

    def _ready(self, hot: Hot, resident: Resident, request: Request, target: str, peer: Peer, now: float) -> Answer | None:
        """The answer for this kind of request, made if need be, while it holds: same rules, and fresh. It counts as sent."""
        if now * 1000 >= resident.fresh_until or resident.generation != self._rules.generation:
            return None
        if peer.tls and peer.tls_scope != hot.site.name and not self.sites.may_share(peer.tls_scope, hot.site):
            return None
        answer = resident.answers.get(hot.kind)
        if answer is None:
            answer = self._prepare(hot, resident, request, target)
        if answer is None or (self._tracing.enabled and self._tracing.samples_hit(request)):
            return None
        metrics = hot.metrics
        metrics.hits += 1
        metrics.bytes += answer.length
        self._log_hit(peer.log_prefix, answer.log_suffix)
        return answer

    def _warm(self, request: Request) -> Hot | None:
        """Whether requests with this head can be hot at all, and what decides their answer."""
        site = self.sites.find(request.host)
        if site is None or request.target.startswith("/.edge") or (request.scheme == "http" and site.redirects):
            return None
        key = self._cache.key(site, request)
        slot = self._cache.index.slot(key)
        entry = self._cache.select(site, key, request)
        shape = shape_of(request, own_target=key != request.url)
        if slot is None or entry is None or shape is None:
            return None
        prefix = self._cache.key_prefix(request) if key == request.url and not site.keys.ignore_query else None
        ranked = ranking(request.fields.get("accept-encoding"))
        metrics = self._metrics.site(site.name)
        hot = Hot(self.sites, site, metrics, entry.tier_key, shape, ranked, kind_of(shape, ranked), prefix)
        if slot.only is not None:
            # With variants the tier key may name another one tomorrow; those requests are looked up each time.
            request.memo["hot"] = hot
        return hot

    def _prepare(self, hot: Hot, resident: Resident, request: Request, target: str) -> Answer | None:
        """Decide once for this shape, and keep the answer ready if there is one."""
        key = answer_key(hot.shape, hot.ranked, resident)
        answer = resident.answers.get(key)
        if answer is None:
            url = f"{request.scheme}://{request.authority}{target}"
            answer = make_answer(resident, request, url, hot.site, self._clock.now())
        if answer is not None:
            resident.keep_answer(key, answer)
            resident.keep_answer(hot.kind, answer)
        return answer

    def make_ready(self, site: Site, resident: Resident) -> None:
        """Have the answer that most will ask for ready before the first of them does."""
        answer = make_answer(resident, PLAIN_GET, resident.stored.url, site, self._clock.now())
        if answer is not None:
            resident.keep_answer(PLAIN_SHAPE, answer)

    # --- exchanges ---

    async def answer(self, stream: Stream) -> None:
        """One exchange, with its span, its counters and its line in the log."""
        request = stream.request
        if self.challenge is not None and is_challenge(request) and await self._answer_challenge(stream, self.challenge):
            return
        site = self.sites.find(request.host)
        if site is None:
            raise RequestRefused("no site is configured for this host", status=421, host=request.host[:255])
        if stream.peer.tls and not self.sites.may_share(stream.peer.tls_scope, site):
            raise RequestRefused("this connection was made for another site", status=421, host=request.host[:255])
        metrics = self._metrics.site(site.name)
        span = self._tracing.server_span(request, stream.peer, site.name)
        trusted = self._trusted.includes(site.trusted_proxies, stream.peer.address)
        exchange = Exchange(stream, request, site, span, metrics, trusted)
        try:
            await self._answerer.answer(exchange)
        except ClientGone as error:
            span.fail(error)
            exchange.status = exchange.status or 499
            raise
        except RequestRefused as error:
            exchange.outcome, exchange.status, exchange.reason = "refused", error.status, "request-refused"
            raise
        finally:
            self._report(exchange)

    async def _answer_challenge(self, stream: Stream, challenge: Challenge) -> bool:
        """Answer a certificate authority (RFC 8555 section 8.3); False for a token that nobody knows."""
        body = await challenge(token_of(stream.request), stream.request.authority)
        if body is None:
            return False
        await stream.send_head(200, Fields((("Content-Type", "text/plain"), ("Cache-Control", "no-store"))), len(body))
        await stream.send(body)
        await stream.finish()
        return True

    def _report(self, exchange: Exchange) -> None:
        stream, metrics = exchange.stream, exchange.metrics
        if "service-worker" in exchange.request.fields:
            self.look(exchange)
        seconds = self._clock.monotonic() - stream.started
        setattr(metrics, exchange.outcome, getattr(metrics, exchange.outcome) + 1)
        metrics.bytes += stream.bytes_sent
        metrics.duration.observe(seconds)
        if exchange.origin_seconds is not None:
            metrics.origin_duration.observe(exchange.origin_seconds)
        span = exchange.span
        span.update({names.REASON: exchange.reason, names.CACHE_STATUS: OUTCOME_LABEL[exchange.outcome]})
        if exchange.collapsed:
            span.set(names.COALESCED, True)
        if exchange.block is not None:
            span.set(names.BLOCK_HEIGHT, exchange.block)
        span.end(exchange.status, size=stream.bytes_sent)
        if self._log.enabled:
            self._log.write(
                Entry(
                    client=stream.peer.address,
                    site=exchange.site.name,
                    method=exchange.request.method,
                    url=exchange.request.url,
                    status=exchange.status,
                    bytes=stream.bytes_sent,
                    duration_ms=seconds * 1000,
                    cache=exchange.reason,
                    block=exchange.block,
                    trace=span.trace_id,
                    origin_ms=None if exchange.origin_seconds is None else exchange.origin_seconds * 1000,
                )
            )

    def refuse(self, error: RequestRefused, peer: Peer) -> bytes:
        """The whole answer to what could not be understood or is over a limit."""
        return whole_answer(self._refusal(error, peer), date=format_http_date(self._clock.now() // 1000))

    def refuse_parts(self, error: RequestRefused, peer: Peer) -> serving.RefusalParts:
        """The same in values."""
        page = self._refusal(error, peer)
        date = format_http_date(self._clock.now() // 1000)
        return serving.RefusalParts(page.status, page.fields.plus(("Date", date)), page.body)

    def _refusal(self, error: RequestRefused, peer: Peer) -> Page:
        self._metrics.refused_requests.add(str(error.status))
        page = error_page(error.status, proxy_error=error.proxy_error)
        if self._log.enabled:
            self._log.write(Entry(peer.address, "", "", "", error.status, len(page.body), 0.0, error.text))
        return page


@dataclass(slots=True)
class _Trusted:
    """Which peers may speak for others (`edge.trusted_proxies`)."""

    _networks: dict[tuple[str, ...], tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = field(default_factory=dict)

    def includes(self, networks: tuple[str, ...], address: str) -> bool:
        if not networks:
            return False
        parsed = self._networks.get(networks)
        if parsed is None:
            parsed = self._networks[networks] = tuple(ipaddress.ip_network(text, strict=False) for text in networks)
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in parsed)
