"""What connections ask for answers: at once for a hot hit, else as an exchange.

Owns: the hot path, and what is counted and logged of every exchange. Must not decide how an exchange is answered: a ready
answer is the memory of a decision that `caching.plan` made for this shape of request, and it is dropped with the rules, the
response or its freshness that it was made under.

A hot hit costs: the site and key out of the request's memo, one look into the memory tier, two comparisons (fresh? same
rules?), one look for the shape, one write. Everything else was done when the answer was made, or a second ago.
"""

import ipaddress
import logging
from dataclasses import dataclass, field

from edgeproxy.caching.model import Mark, Reason, Serve
from edgeproxy.caching.plan import plan
from edgeproxy.caching.preconditions import NotModified, Whole
from edgeproxy.clock import Clock
from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.exchange import heads
from edgeproxy.exchange.answer import Answerer
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.deliver import choose
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.pages import error_page, whole_answer
from edgeproxy.exchange.resident import Answer, Resident
from edgeproxy.exchange.site import Site, Sites
from edgeproxy.serving import stream as serving
from edgeproxy.serving.stream import Peer, Stream
from edgeproxy.telemetry import names
from edgeproxy.telemetry.access_log import AccessLog, Entry, hit_suffix
from edgeproxy.telemetry.metrics import OUTCOME_LABEL, Metrics, SiteMetrics
from edgeproxy.telemetry.tracing import Tracing
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.http1 import encode_response_head
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.handler")

_COLD = frozenset(
    ("range", "if-range", "if-match", "if-unmodified-since", "cache-control", "pragma", "authorization", "expect", "max-forwards")
)
"""Fields that make the answer depend on more than the shape; such requests take the long way."""

Shape = tuple[str, str | None, str | None, str | None]


@dataclass(slots=True)
class Hot:
    """What of a request decides its ready answer; kept in the request's memo for as long as the sites stay the same.

    `prefix` with a target behind it is the key of any other target under the same fields; None when keys are not that simple.
    """

    sites: Sites
    site: Site
    metrics: SiteMetrics
    tier_key: str
    shape: Shape
    prefix: str | None


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where exchanges are counted and written down."""

    metrics: Metrics
    access_log: AccessLog
    tracing: Tracing


class EdgeHandler:
    """The `Handler` of all connections of one node."""

    def __init__(self, sites: Sites, cache: Cache, answerer: Answerer, reporting: Reporting, clock: Clock) -> None:
        self.sites = sites
        self._cache = cache
        self._answerer = answerer
        self._metrics = reporting.metrics
        self._log = reporting.access_log
        self._tracing = reporting.tracing
        self._clock = clock
        self._seconds = clock.seconds
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
        if hot.shape not in resident.answers:
            self._prepare(hot, request, resident)
        return self._ready(hot, resident, request, peer)

    def instant_like(self, known: Request, target: str, peer: Peer) -> serving.Answer | None:
        """The same for another target under the fields of `known`, when an answer of that shape was made before."""
        hot = known.memo.get("hot")
        if hot is None or hot.sites is not self.sites or hot.prefix is None or "%" in target:
            return None
        # A resident under a bare key answers all requests for it, whatever their fields.
        resident = self._tier_get(hot.prefix + target)
        return None if resident is None else self._ready(hot, resident, known, peer)

    def _ready(self, hot: Hot, resident: Resident, request: Request, peer: Peer) -> serving.Answer | None:
        """The ready answer of this shape if it still holds: same rules, and fresh."""
        if resident.generation != self._cache.rules.generation:
            return None
        now = self._seconds()
        if now * 1000 >= resident.fresh_until:
            return None
        answer = resident.answers.get(hot.shape)
        if answer is None or (self._tracing.enabled and self._tracing.samples_hit(request)):
            return None
        metrics = hot.metrics
        metrics.hits += 1
        metrics.bytes += len(answer.body)
        self._log.hit(peer.log_prefix, answer.log_suffix)
        return answer.at(int(now))

    def _warm(self, request: Request) -> Hot | None:
        """Whether requests with this head can be hot at all, and what decides their answer."""
        shape = _shape(request)
        site = self.sites.find(request.host)
        if shape is None or site is None or request.target.startswith("/.edge"):
            return None
        key = self._cache.key(site, request)
        slot = self._cache.index.slot(key)
        entry = None if slot is None else slot.only or slot.select(request)
        if slot is None or entry is None:
            return None
        prefix = None if site.keys.ignore_query else self._cache.key_prefix(request)
        hot = Hot(self.sites, site, self._metrics.site(site.name), entry.tier_key, shape, prefix)
        if slot.only is not None:
            # With variants the tier key may name another one tomorrow; those requests are looked up each time.
            request.memo["hot"] = hot
        return hot

    def _prepare(self, hot: Hot, request: Request, resident: Resident) -> None:
        """Decide once for this shape, by the same plan as any exchange, and keep the answer ready if there is one."""
        stored = resident.stored
        if resident.mark is not Mark.NONE or stored.height is None or resident.body is None:
            return
        entry_slot = self._cache.index.slot(self._cache.key(hot.site, request))
        entry = entry_slot.select(request) if entry_slot else None
        if entry is None or entry.tier_key != resident.tier_key or entry.held is not Mark.NONE:
            return
        decision = plan(request, stored, self._clock.now(), hot.site.policy, Mark.NONE)
        if not isinstance(decision, Serve) or decision.reason is not Reason.FRESH:
            return
        chosen = choose(request, resident, self._clock.now())
        fields = heads.from_store(stored, chosen.form, negotiated=resident.compressible)
        fields = fields.plus(("Server-Timing", "edge;dur=0"))
        match chosen.verdict:
            case Whole() if chosen.form.data is not None:
                status, body = stored.status, chosen.form.data
                fields = fields.plus(("Content-Length", str(len(body))))
            case NotModified():
                status, body, fields = 304, b"", heads.not_modified(fields)
            case _:
                return
        if request.method == "HEAD":
            body = b""
        lead = encode_response_head(status, fields)[:-2]
        answer = Answer(stored, lead, b";detail=fresh\r\n\r\n", body, resident.fresh_until)
        suffix = hit_suffix(
            site=hot.site.name,
            method=request.method,
            url=request.url,
            status=status,
            length=len(body),
            cache=Reason.FRESH,
            block=stored.height,
        )
        answer.log_suffix = suffix if suffix.startswith(b",") else b"," + suffix
        resident.keep_answer(hot.shape, answer)

    # --- exchanges ---

    async def answer(self, stream: Stream) -> None:
        """One exchange, with its span, its counters and its line in the log."""
        request = stream.request
        site = self.sites.find(request.host)
        if site is None:
            raise RequestRefused("no site is configured for this host", status=421, host=request.host[:255])
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

    def _report(self, exchange: Exchange) -> None:
        stream, metrics = exchange.stream, exchange.metrics
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
        self._metrics.refused_requests.add(str(error.status))
        page = error_page(error.status, proxy_error=error.proxy_error)
        if self._log.enabled:
            self._log.write(Entry(peer.address, "", "", "", error.status, len(page.body), 0.0, error.text))
        return whole_answer(page, date=format_http_date(self._clock.now() // 1000))


def _shape(request: Request) -> Shape | None:
    """What a ready answer is chosen by; None when more than that comes into it."""
    fields = request.fields
    if request.method not in ("GET", "HEAD") or request.upgrade is not None or not fields.names().isdisjoint(_COLD):
        return None
    return request.method, fields.get("accept-encoding"), fields.get("if-none-match"), fields.get("if-modified-since")


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
