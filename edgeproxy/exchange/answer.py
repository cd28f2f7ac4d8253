"""Answers one request: lookup, plan, and whatever the plan says.

Owns: the order of the steps of an exchange, and which room does each. The decisions are in `caching`, the fetch in `fetcher`, the
sending in `deliver`. Must not hold state between exchanges.

The ways through, in order:
 1. the edge's own paths, upgrades, methods that are not for the cache;
 2. out of the store: fresh, or stale with a refresh behind it;
 3. the origin, shared with whoever asks the same meanwhile;
 4. the origin failed: the last good copy if the rules allow, else a page that says so.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from edgeproxy.caching import status, validation, vary
from edgeproxy.caching.model import (
    Failure,
    Fetch,
    Pass,
    Reason,
    Refuse,
    Revalidate,
    Serve,
    ServeStale,
)
from edgeproxy.caching.plan import after_failure, plan
from edgeproxy.clock import Clock
from edgeproxy.errors import Corrupt, EdgeError, OriginError, OriginFailing, OriginTimeout
from edgeproxy.exchange import ask, heads
from edgeproxy.exchange.ahead import ReadAhead
from edgeproxy.exchange.between import body_of, interim_to
from edgeproxy.exchange.block_api import BlockApi
from edgeproxy.exchange.browser_paths import BrowserPaths
from edgeproxy.exchange.cache import Cache, Found
from edgeproxy.exchange.consequences import Consequences
from edgeproxy.exchange.deliver import Delivery
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.failures import failure_of
from edgeproxy.exchange.fetcher import FAILING, Fetcher, Question
from edgeproxy.exchange.flights import Alone, Failed, Flight, Incoming, Outcome, Refreshed
from edgeproxy.exchange.injection import Injections
from edgeproxy.exchange.ledger_files import LedgerFiles
from edgeproxy.exchange.memento import Mementos
from edgeproxy.exchange.own import OwnAnswers
from edgeproxy.exchange.passing import pass_page
from edgeproxy.exchange.recorder import Recorder
from edgeproxy.exchange.upgrade import open_upgrade
from edgeproxy.origin.messages import OriginResponse
from edgeproxy.tasks import spawn
from edgeproxy.telemetry import names
from edgeproxy.telemetry.tracing import Tracing
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.forwarding import end_to_end, max_forwards, via_loops
from edgeproxy.wire.well_known import is_challenge

log = logging.getLogger("edgeproxy.exchange")

FAR_RANGE = 4 << 20
"""A range that starts further in than this, of something not stored, is asked of the origin as it is: the wait would be long."""


_STALE_FORWARDS = (Reason.STALE, Reason.PURGED, Reason.INVALIDATED, Reason.NO_CACHE, Reason.REQUEST_DIRECTIVE)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the steps of an exchange work with."""

    cache: Cache
    fetcher: Fetcher
    recorder: Recorder
    delivery: Delivery
    clock: Clock
    tracing: Tracing
    ledger: LedgerFiles
    blocks: BlockApi
    browser: BrowserPaths
    injections: Injections


class Answerer:
    """Carries one exchange through its steps."""

    def __init__(self, parts: Parts) -> None:
        self._cache = parts.cache
        self._fetcher = parts.fetcher
        self._delivery = parts.delivery
        self._own = OwnAnswers(parts.delivery, parts.ledger, parts.blocks, parts.browser)
        self._mementos = Mementos(parts.cache, parts.delivery, self._own)
        self._consequences = Consequences(parts.cache, parts.fetcher, parts.recorder)
        self._clock = parts.clock
        self._tracing = parts.tracing
        self._injections = parts.injections

    async def answer(self, exchange: Exchange) -> None:
        """Answer to the end of the message, or break the connection off. Raises ClientGone, RequestRefused."""
        try:
            await self._route(exchange)
        except OriginError as error:
            exchange.span.fail(error)
            exchange.metrics.origin_errors.add(error.proxy_error)
            if exchange.stream.head_sent:
                # Part of the answer is out; the client must not take it for the whole.
                exchange.stream.abort()
            else:
                await self._error_page(exchange, error)
        except Corrupt as error:
            exchange.span.fail(error)
            if exchange.stream.head_sent:
                exchange.stream.abort()
            else:
                await self._error_page(exchange, error)

    async def _route(self, exchange: Exchange) -> None:
        request = exchange.request
        secure = exchange.site.secure
        if secure is not None and secure.redirect and not exchange.is_secure and not is_challenge(request):
            exchange.outcome, exchange.reason = "own", "redirect"
            await self._own.redirect(exchange, secure.location(request.host, request.target))
        elif exchange.site.memento and self._mementos.covers(exchange):
            await self._mementos.answer(exchange)
        elif request.target.startswith("/.edge/") or request.target == "/.edge":
            exchange.outcome = exchange.reason = "own"
            await self._own.edge_path(exchange)
        elif via_loops(request.fields, ask.VIA_NAME):
            exchange.outcome = "refused"
            await self._own.page(exchange, 508, proxy_error="proxy_loop_detected")
        elif request.method == "TRACE":
            exchange.outcome = "refused"
            await self._own.page(exchange, 405, allow=True)
        elif request.method == "OPTIONS" and (request.target == "*" or max_forwards(request) == 0):
            exchange.outcome = exchange.reason = "own"
            await self._own.options(exchange)
        elif request.upgrade is not None and request.upgrade.lower() != "h2c":
            exchange.outcome, exchange.reason = "passed", Reason.UPGRADE
            exchange.forward = Reason.UPGRADE
            response = await open_upgrade(exchange, self._delivery)
            if response is not None:
                await self._send_response(exchange, response)
        else:
            await self._by_plan(exchange)

    async def _by_plan(self, exchange: Exchange, *, after_damage: bool = False) -> None:
        request, site = exchange.request, exchange.site
        with exchange.span.child(names.LOOKUP) as span:
            found = await self._cache.find(site, request, self._clock.now())
            if found.corrupt:
                exchange.metrics.corrupt_bodies += 1
            elif after_damage:
                found = replace(found, corrupt=True)
            stored = found.resident.stored if found.resident else None
            absent = Reason.VARY_MISS if found.varies else Reason.CORRUPT if found.corrupt else Reason.MISS
            now = self._clock.now()
            decision = plan(
                request, stored, now, site.policy, found.mark, absent=absent, pinned=found.pinned, refused=found.refused
            )
            span.update({names.PLAN: type(decision).__name__, names.REASON: decision.reason})
            if stored is not None and stored.height is not None:
                span.set(names.BLOCK_HEIGHT, stored.height)
        exchange.span.update({names.PLAN: type(decision).__name__, names.REASON: decision.reason})
        match decision:
            case Serve(_, reason):
                assert found.resident is not None
                exchange.outcome = "hits"
                await self._deliver(exchange, found, reason)
            case ServeStale(_, reason, refresh):
                assert found.resident is not None
                if refresh:
                    self._refresh_behind(exchange, found)
                exchange.outcome = "stale"
                await self._deliver(exchange, found, reason)
            case Pass(reason):
                exchange.outcome, exchange.reason = "passed", reason
                exchange.forward = reason
                await self._pass(exchange, found)
            case Refuse(code, reason):
                exchange.outcome, exchange.reason = "refused", reason
                await self._own.page(exchange, code)
            case Revalidate(_, conditions, reason):
                exchange.forward = exchange.reason = reason
                await self._fetch(exchange, found, conditions)
            case Fetch(reason):
                exchange.forward = exchange.reason = reason
                await self._fetch(exchange, found, Fields())

    # --- out of the store ---

    async def _deliver(self, exchange: Exchange, found: Found, reason: Reason, *, forwarded: bool = False) -> None:
        assert found.resident is not None
        if exchange.outcome == "stale":
            exchange.metrics.stale_reasons.add(reason)
        if reason is Reason.FRESH and found.resident.stored.height is None:
            reason = Reason.PENDING
        try:
            await self._delivery.resident(exchange, found.resident, reason=reason, forwarded=forwarded)
        except Corrupt as error:
            exchange.metrics.corrupt_bodies += 1
            if found.entry is not None:
                await self._cache.body_failed(found.entry, found.resident, error)
            if exchange.stream.head_sent:
                raise
            # Nothing is out yet: the version before this one, or the origin, may still answer.
            exchange.outcome = "misses"
            await self._by_plan(exchange, after_damage=True)

    def _refresh_behind(self, exchange: Exchange, found: Found) -> None:
        """Ask the origin while the client already has its answer; in a trace of its own, linked to this one."""
        key = found.key
        if self._fetcher.join(exchange.site, key, key) is not None or found.resident is None:
            return
        conditions = validation.conditions(found.resident.stored)
        span = self._tracing.background_span(names.REVALIDATE, exchange.span, exchange.site.name)
        question = self._question(exchange, found, conditions)
        with span.current():
            flight = self._fetcher.fly(question, key)

        async def watch() -> None:
            try:
                outcome = await flight.wait(leader=True)
                if isinstance(outcome, Failed):
                    span.fail(outcome.error)
            finally:
                flight.leader_left()
                span.end()

        spawn(watch(), name="refresh")

    # --- the origin, shared ---

    def _question(self, exchange: Exchange, found: Found, conditions: Fields, *, own: bool = False) -> Question:
        return Question(
            site=exchange.site,
            request=exchange.request,
            found=found,
            conditions=conditions,
            peer=exchange.peer,
            trusted=exchange.trusted,
            trace=exchange.span.trace_id,
            own=own,
            is_page=self._injections.applies(exchange.site, exchange.request),
            on_interim=interim_to(exchange),
        )

    async def _fetch(self, exchange: Exchange, found: Found, conditions: Fields) -> None:
        """Ask the origin, or wait with those who already do."""
        request = exchange.request
        if request.method == "HEAD" or self._is_far_range(exchange):
            await self._pass(exchange, found)
            return
        flight, leader = self._board(exchange, found, conditions)
        stale = self._stand_in(exchange, found, Failure.TIMEOUT)
        deadline = self._clock.monotonic() + exchange.site.waiting.stale_after
        try:
            outcome = await self._wait(flight, leader=leader, limit=exchange.site.waiting.stale_after if stale else None)
        except TimeoutError:
            await self._too_slow(exchange, found)
            return
        if not leader and isinstance(outcome, Incoming) and not vary.matches(outcome.selecting, request):
            outcome = Alone(None, Reason.VARY_MISS)
        if isinstance(outcome, Incoming) and not outcome.writer.is_whole_so_far:
            outcome = Alone(None, Reason.TOO_LARGE)
        if isinstance(outcome, Alone) and outcome.response is None:
            # It cannot be shared: everybody who waited goes now, side by side.
            leader, flight = True, self._fetcher.fly(self._question(exchange, found, conditions), None)
            outcome = await self._wait(flight, leader=True, limit=None)
        if not leader:
            exchange.outcome = "coalesced"
            exchange.collapsed = True
        await self._settle(exchange, found, outcome, deadline)

    def _board(self, exchange: Exchange, found: Found, conditions: Fields) -> tuple[Flight, bool]:
        """Join a flight that asks the same, or start one. True: this exchange leads it."""
        request = exchange.request
        if self._fetcher.is_uncacheable(found.key):
            exchange.reason = Reason.KNOWN_UNCACHEABLE
            question = self._question(exchange, found, conditions, own=not conditions.lines)
            return self._start(exchange, question, None), True
        if "authorization" in request.fields:
            return self._start(exchange, self._question(exchange, found, conditions), None), True
        key = self._flight_key(found, exchange)
        flight = self._fetcher.join(exchange.site, found.key, key)
        if flight is not None:
            return flight, False
        return self._start(exchange, self._question(exchange, found, conditions), key), True

    def _start(self, exchange: Exchange, question: Question, key: str | None) -> Flight:
        with exchange.span.current():
            return self._fetcher.fly(question, key)

    def _flight_key(self, found: Found, exchange: Exchange) -> str:
        """Requests that are known to select different variants do not wait for each other."""
        slot = self._cache.index.slot(found.key)
        names_ = slot.varies_by() if slot else ()
        if not names_:
            return found.key
        return f"{found.key}\n{vary.selecting(exchange.request, frozenset(names_))!r}"

    async def _wait(self, flight: Flight, *, leader: bool, limit: float | None) -> Outcome:
        async with asyncio.timeout(limit):
            return await flight.wait(leader=leader)

    async def _settle(self, exchange: Exchange, found: Found, outcome: Outcome, deadline: float) -> None:
        """Answer with what the flight brought."""
        match outcome:
            case Refreshed(entry, resident, mark, seconds):
                exchange.origin_seconds = seconds
                exchange.fwd_status = 304
                if exchange.outcome == "misses":
                    exchange.outcome = "revalidated"
                confirmed = Found(found.key, entry, resident, mark)
                await self._deliver(exchange, confirmed, Reason.VALIDATED, forwarded=True)
            case Incoming():
                await self._answer_incoming(exchange, found, outcome, deadline)
            case Alone(response, reason):
                assert response is not None, "a flight without passengers brings its response"
                exchange.detail = exchange.reason = reason
                await self._answer_alone(exchange, found, response, deadline)
            case Failed(error):
                await self._failed(exchange, found, error)

    async def _answer_incoming(self, exchange: Exchange, found: Found, incoming: Incoming, deadline: float) -> None:
        """Stream what arrives; but while a good copy could stand in for a truncated answer, look first whether it is whole."""
        exchange.origin_seconds = incoming.origin_seconds
        exchange.fwd_status = incoming.status
        hold = exchange.site.waiting.hold_bytes
        reader = incoming.writer.reader()
        try:
            if self._stand_in(exchange, found, Failure.TRUNCATED) and (incoming.length is None or incoming.length <= hold):
                async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                    await incoming.writer.grown(hold)
        except TimeoutError:
            reader.close()
            await self._too_slow(exchange, found)
            return
        except OriginError as error:
            reader.close()
            await self._failed(exchange, found, error)
            return
        await self._delivery.incoming(exchange, incoming, reader)

    async def _answer_alone(self, exchange: Exchange, found: Found, response: OriginResponse, deadline: float) -> None:
        """Stream what is for this client alone; as above, but one that is slow may never end, and is sent on."""
        body = ReadAhead(response)
        if self._stand_in(exchange, found, Failure.TRUNCATED) and not _is_event_stream(response):
            try:
                await body.look(exchange.site.waiting.hold_bytes, deadline - self._clock.monotonic())
            except OriginError as error:
                await self._failed(exchange, found, error)
                return
        await self._send_response(exchange, response, body)

    # --- the origin failed ---

    def _stand_in(self, exchange: Exchange, found: Found, failure: Failure) -> ServeStale | None:
        """The stale answer that the rules allow for this failure, if any."""
        if found.resident is None:
            return None
        instead = after_failure(
            exchange.request, found.resident.stored, failure, self._clock.now(), exchange.site.policy, found.mark
        )
        return instead if isinstance(instead, ServeStale) else None

    async def _too_slow(self, exchange: Exchange, found: Found) -> None:
        """The origin has not answered within `stale_after`, and there is a copy that may be used."""
        exchange.proxy_status = status.proxy_status(OriginTimeout.proxy_error)
        await self._serve_stale(exchange, found, Reason.STALE_ORIGIN_SLOW)

    async def _failed(self, exchange: Exchange, found: Found, error: OriginError) -> None:
        """Serve the last good copy, or say what happened."""
        if "status" in error.fields:
            exchange.fwd_status = int(str(error.fields["status"]))
        exchange.proxy_status = status.proxy_status(error.proxy_error)
        if found.resident is None:
            exchange.reason = Reason.ORIGIN_FAILED
            raise error
        instead = after_failure(
            exchange.request, found.resident.stored, failure_of(error), self._clock.now(), exchange.site.policy, found.mark
        )
        if isinstance(instead, Refuse):
            exchange.reason = instead.reason
            raise error
        exchange.metrics.origin_errors.add(error.proxy_error)
        if instead.reason is Reason.STALE_OVERRIDE:
            log.warning("served stale against the origin's directives, as recovery.override says: %s", exchange.request.url)
        await self._serve_stale(exchange, found, instead.reason)

    async def _serve_stale(self, exchange: Exchange, found: Found, reason: Reason) -> None:
        exchange.outcome = "stale"
        exchange.span.set(names.PLAN, ServeStale.__name__)
        exchange.forward = exchange.forward if exchange.forward in _STALE_FORWARDS else Reason.STALE
        if found.corrupt:
            reason = Reason.PREVIOUS_BLOCK
        await self._deliver(exchange, found, reason, forwarded=True)

    async def _error_page(self, exchange: Exchange, error: EdgeError) -> None:
        exchange.outcome = "failed"
        # A copy that may not be used unvalidated is a 504, whatever kept the origin away (RFC 9111 section 5.2.2.2).
        code = 504 if exchange.reason is Reason.STALE_FORBIDDEN else error.status
        await self._own.page(exchange, code, proxy_error=error.proxy_error)

    # --- past the cache ---

    def _is_far_range(self, exchange: Exchange) -> bool:
        value = exchange.request.fields.get("range")
        if value is None or not value.startswith("bytes="):
            return False
        first = value[6:].partition("-")[0].strip()
        return first == "" or (first.isdigit() and int(first[:18]) > FAR_RANGE)

    async def _pass(self, exchange: Exchange, found: Found) -> None:
        """The client's own request, both ways streamed. An origin that fails a read may still be stood in for."""
        request = exchange.request
        body = body_of(exchange) if request.body_length else None
        is_page = self._injections.applies(exchange.site, request)
        asked = ask.as_is(exchange.site, request, body, peer=exchange.peer, trusted=exchange.trusted, is_page=is_page)
        is_read = request.method in ("GET", "HEAD") and found.resident is not None
        patience = exchange.site.waiting.stale_after if is_read and self._stand_in(exchange, found, Failure.TIMEOUT) else None
        try:
            async with asyncio.timeout(patience):
                with exchange.span.current():
                    response = await exchange.site.origin.fetch(asked, on_interim=interim_to(exchange))
        except TimeoutError:
            await self._too_slow(exchange, found)
            return
        except OriginError as error:
            if is_read:
                await self._failed(exchange, found, error)
                return
            exchange.proxy_status = status.proxy_status(error.proxy_error)
            raise
        exchange.origin_seconds = (response.response_time - response.request_time) / 1000
        if request.method == "POST" and "content-location" in response.fields:
            self._consequences.of_unsafe(exchange, response)
            await self._post_as_get(exchange, found, response)
            return
        try:
            await self._answer_passed(exchange, found, response, is_read=is_read)
        finally:
            await response.close()

    async def _answer_passed(self, exchange: Exchange, found: Found, response: OriginResponse, *, is_read: bool) -> None:
        """Note what the exchange means for the store, then stream the response."""
        request = exchange.request
        if request.method not in ask.SAFE:
            self._consequences.of_unsafe(exchange, response)
        elif is_read:
            if response.status in FAILING and self._stand_in(exchange, found, Failure.SERVER_ERROR):
                await response.close()
                failing = OriginFailing("the origin answered with a server error", status=response.status)
                await self._failed(exchange, found, failing)
                return
            if request.method == "HEAD":
                self._consequences.of_head(exchange, self._question(exchange, found, Fields()), response)
        await self._send_response(exchange, response)

    async def _post_as_get(self, exchange: Exchange, found: Found, response: OriginResponse) -> None:
        """The answer to a POST may say that it is what GET would find (RFC 9110 section 9.3.3); then it is stored as that."""
        with exchange.span.current():
            flight = self._fetcher.take_in(self._question(exchange, found, Fields()), response)
        match await flight.wait(leader=True):
            case Incoming() as incoming:
                exchange.fwd_status = incoming.status
                await self._delivery.incoming(exchange, incoming, incoming.writer.reader())
            case _:
                await self._send_response(exchange, response)

    async def _send_response(self, exchange: Exchange, response: OriginResponse, ahead: ReadAhead | None = None) -> None:
        """Stream an origin's response through, as it comes; its body from `ahead`, when some was taken before."""
        stream, body = exchange.stream, ahead or response
        try:
            fields = end_to_end(response.fields).without(frozenset(("content-length", "via")))
            exchange.fwd_status = response.status
            fields = fields.plus(("Via", heads.via(response.fields)), ("Cache-Status", exchange.cache_status()))
            length = response.body_length
            if exchange.request.method == "HEAD" or response.status == 304:
                announced = response.fields.get("content-length")
                length = int(announced) if announced and announced.isdigit() else None
            left = await pass_page(exchange, response, fields, body, self._delivery.head, self._injections)
            if left is None:
                return
            await self._delivery.head(exchange, response.status, left, length)
            while piece := await body.read():
                await stream.send(piece)
            await stream.finish(response.trailers)
        finally:
            await body.close()


def _is_event_stream(response: OriginResponse) -> bool:
    return (response.fields.get("content-type") or "").lower().startswith("text/event-stream")
