"""Asks the origin on behalf of the cache, and judges what comes back: confirmed, storable, not to be shared, or failed.

Owns: one flight from its question to its block. Must not answer clients. A failed refresh never touches what is stored: nothing
is recorded before the last byte has arrived as its framing promised.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from edgeproxy.caching import storable, validation, vary
from edgeproxy.caching.model import Failure, Height, Mark, Reason, Selecting, ServeStale
from edgeproxy.caching.plan import after_failure
from edgeproxy.clock import Clock
from edgeproxy.errors import EdgeError, OriginError, OriginFailing, OriginMalformed, StoreError
from edgeproxy.exchange import ask
from edgeproxy.exchange.cache import Cache, Found
from edgeproxy.exchange.flights import Alone, Failed, Flight, Flights, Incoming, Refreshed
from edgeproxy.exchange.recorder import Received, Recorder
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.verify import verify_body
from edgeproxy.origin.messages import Interim, OriginResponse
from edgeproxy.storage.decoding import DECODABLE, Decoder, decoder_for
from edgeproxy.storage.growing import BodyWriter
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request, ResponseHead
from edgeproxy.wire.negotiate import content_codings

log = logging.getLogger("edgeproxy.fetcher")

FAILING = frozenset((500, 502, 503, 504))
"""Statuses that say the origin is in trouble, not that the resource is."""

UNCACHEABLE_SECONDS = 120.0
UNCACHEABLE_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """What one flight asks, and for whom."""

    site: Site
    request: Request
    found: Found
    conditions: Fields
    peer: str
    trusted: bool
    trace: str
    own: bool = False
    """Ask with the client's own conditions, range and codings: the answer is most likely for this client alone."""
    is_page: bool = False
    """A page to show is asked for, of a host whose pages get our tag."""
    on_interim: Interim | None = None


class Fetcher:
    """Starts flights, and remembers which keys turned out not to be cacheable."""

    def __init__(self, cache: Cache, recorder: Recorder, flights: Flights, clock: Clock) -> None:
        self.flights = flights
        self._cache = cache
        self._recorder = recorder
        self._clock = clock
        self._uncacheable: OrderedDict[str, float] = OrderedDict()

    def is_uncacheable(self, key: str) -> bool:
        """Answers for `key` lately could not be shared, so that waiting for one of them is no use."""
        until = self._uncacheable.get(key)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._uncacheable[key]
        return False

    def fly(self, question: Question, flight_key: str | None) -> Flight:
        """Ask; with a `flight_key` others may join."""

        async def run(flight: Flight) -> None:
            await self._ask(flight, question)

        return self._start(flight_key, run, question)

    def join(self, site: Site, key: str, flight_key: str) -> Flight | None:
        """The flight that asks the same; none when a rule for the primary `key` came after it: who asks after a purge is not
        given what was asked for before. (What tags an answer will have is not known yet; those rules keep it out of the
        store.)"""
        flight, rules = self.flights.find(flight_key), self._cache.rules
        if flight is None:
            return None
        if flight.generation != rules.generation:
            if rules.mark(Height(flight.floor - 1), site=site.name, url=key) is not Mark.NONE:
                return None
            flight.generation = rules.generation
        self.flights.joined += 1
        return flight

    def _start(self, flight_key: str | None, run: Callable[[Flight], Awaitable[None]], question: Question) -> Flight:
        generation = self._cache.rules.generation
        return self.flights.start(flight_key, run, about=question.found.key, floor=self._recorder.floor, generation=generation)

    def take_in(self, question: Question, response: OriginResponse) -> Flight:
        """Judge a response that was asked for otherwise (to a POST): stored like any other if it may be, else handed back."""
        floor = self._recorder.floor

        async def run(flight: Flight) -> None:
            await self._judge(flight, question, response, floor)

        return self._start(None, run, question)

    async def _ask(self, flight: Flight, question: Question) -> None:
        floor = self._recorder.floor
        site, request = question.site, question.request
        if question.own:
            asked = ask.as_is(site, request, None, peer=question.peer, trusted=question.trusted, is_page=question.is_page)
        else:
            asked = ask.for_store(site, request, question.conditions, peer=question.peer, trusted=question.trusted)
        try:
            response = await site.origin.fetch(asked, on_interim=question.on_interim)
        except OriginError as error:
            flight.decide(Failed(error))
            return
        if response.status == 304 and question.own:
            flight.decide(Alone(response, Reason.KNOWN_UNCACHEABLE))
        elif response.status == 304:
            flight.decide(await self._confirmed(question, response, floor))
        elif self._is_failure(question, response):
            await response.close()
            flight.decide(Failed(OriginFailing("the origin answered with a server error", status=response.status)))
        else:
            await self._judge(flight, question, response, floor)

    def _is_failure(self, question: Question, response: OriginResponse) -> bool:
        """A server error that a stored response may stand in for."""
        if response.status not in FAILING or question.found.resident is None:
            return False
        instead = after_failure(
            question.request,
            question.found.resident.stored,
            Failure.SERVER_ERROR,
            self._clock.now(),
            question.site.policy,
            question.found.mark,
        )
        return isinstance(instead, ServeStale)

    async def _confirmed(self, question: Question, response: OriginResponse, floor: int) -> Refreshed | Failed:
        """A 304: the stored body is still good, its head is freshened (RFC 9111 section 4.3.4)."""
        await response.close()
        found, entry, resident = question.found, question.found.entry, question.found.resident
        if entry is None or resident is None or not question.conditions.lines:
            return Failed(OriginMalformed("the origin answered 304 to a request without conditions"))
        if not validation.selects(resident.stored, response.head):
            return Failed(OriginMalformed("the origin confirmed a representation that nobody asked about"))
        fresh = self.freshened(question, response, resident, floor)
        seconds = (response.response_time - response.request_time) / 1000
        head = ResponseHead(fresh.status, fresh.fields)
        if not response.is_sound:
            # Good for this answer, but nothing is written down on its word.
            return Refreshed(entry, resident, found.mark, seconds)
        if storable.storable(question.request, head, question.site.policy, self._clock.now()) is not Reason.STORED:
            # The confirmation itself says no-store or private: good for this answer, and for no other.
            entry.held = Mark.GONE
            return Refreshed(entry, resident, found.mark, seconds)
        refreshed = self._recorder.refresh(question.site, entry, fresh)
        if refreshed is None:
            return Refreshed(entry, resident, found.mark, seconds)
        for form in resident.forms.values():
            if form.data is not None and form.coding not in refreshed.forms:
                refreshed.add_form(replace(form))
        refreshed.heir_of = resident.injected
        return Refreshed(entry, refreshed, Mark.NONE, seconds)

    def freshened(self, question: Question, response: OriginResponse, resident: Resident, floor: int) -> Received:
        """The stored response of `resident` with its head updated by `response` (a 304, or a 200 to HEAD)."""
        stored = resident.stored
        fields = validation.freshened(stored, response.head, response.request_time, response.response_time)
        # The new directives may list fields that came with them, or that were stored before.
        fields = storable.kept_fields(fields, question.site.policy)
        return Received(
            url=question.found.key,
            status=stored.status,
            fields=fields,
            selecting=stored.selecting,
            response_time=response.response_time,
            initial_age=ask.initial_age(response),
            ref=resident.ref,
            body=resident.body,
            floor=floor,
            trace=question.trace,
        )

    async def _judge(self, flight: Flight, question: Question, response: OriginResponse, floor: int) -> None:
        reason, selecting, decoder = self._storable(question, response)
        if reason is not Reason.STORED or selecting is None:
            if question.request.method == "GET":
                self._remember_uncacheable(question.found.key)
            flight.decide(Alone(response, reason))
            return
        self._uncacheable.pop(question.found.key, None)
        fields = ask.kept_fields(question.site, response, decoded=decoder is not None)
        incoming = Incoming(
            status=response.status,
            fields=fields,
            withheld=ask.withheld_fields(question.site, response, fields, decoded=decoder is not None),
            selecting=selecting,
            writer=await self._cache.bodies.writer(),
            length=response.body_length if decoder is None else None,
            origin_seconds=(response.response_time - response.request_time) / 1000,
            done=asyncio.get_running_loop().create_future(),
        )
        # Whoever waits for the end reads it there; when nobody does, its error is not news.
        incoming.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        flight.decide(incoming)
        try:
            await self._receive(flight, question, response, incoming, decoder, floor)
        finally:
            if not incoming.done.done():
                await incoming.writer.discard(StoreError("a fetch was stopped before its end"))
                incoming.done.cancel()
            await response.close()

    def _storable(self, question: Question, response: OriginResponse) -> tuple[Reason, Selecting | None, Decoder | None]:
        """Whether to store, what `Vary` selects by, and the decoder for a body that came compressed."""
        site, head = question.site, ResponseHead(response.status, response.fields)
        resident = question.found.resident
        replaces = resident.stored if resident else None
        reason = storable.storable(question.request, head, site.policy, self._clock.now(), replaces=replaces)
        if reason is Reason.STORED and response.delimited_by_close:
            reason = Reason.UNDELIMITED
        if reason is Reason.STORED and (response.body_length or 0) > site.policy.max_object:
            reason = Reason.TOO_LARGE
        codings = content_codings(response.fields)
        keeps_coding = bool(codings) and (
            any(coding not in DECODABLE for coding in codings)
            or "no-transform" in (response.fields.get("cache-control") or "").lower()
        )
        names = vary.vary_names(response.fields, keep_accept_encoding=keeps_coding)
        if names is None:
            return (Reason.VARY_STAR if reason is Reason.STORED else reason), None, None
        decoder = decoder_for(codings, limit=site.policy.max_object) if codings and not keeps_coding else None
        return reason, vary.selecting(question.request, names), decoder

    async def _receive(
        self,
        flight: Flight,
        question: Question,
        response: OriginResponse,
        incoming: Incoming,
        decoder: Decoder | None,
        floor: int,
    ) -> None:
        """Take the body to its end, then record it. What goes wrong here is told to all who read along."""
        writer, limit = incoming.writer, question.site.policy.max_object
        small: list[bytes] | None = []
        try:
            while piece := await response.read():
                if writer.not_kept is not None and not await self._is_wanted(flight, writer):
                    await writer.discard(writer.not_kept)
                    incoming.done.set_result(None)
                    return
                data = decoder.feed(piece) if decoder else piece
                small = await self._take(question, incoming, data, small, limit)
            if decoder and (data := decoder.finish()):
                small = await self._take(question, incoming, data, small, limit)
        except OriginError as error:
            await writer.discard(error)
            incoming.done.set_exception(error)
            return
        if not response.is_sound:
            writer.stop_keeping(OriginMalformed("the answer does not end where its head says"))
        try:
            ref = await writer.finish()
        except EdgeError as error:
            log.warning("body of %s is delivered but not kept: %s", question.request.url, error)
            if isinstance(error, StoreError):
                self._recorder.note(error)
            incoming.done.set_result(None)
            return
        received = Received(
            url=question.found.key,
            status=incoming.status,
            fields=incoming.fields,
            selecting=incoming.selecting,
            response_time=response.response_time,
            initial_age=ask.initial_age(response),
            ref=ref,
            body=verify_body(ref, b"".join(small)) if small is not None else None,
            floor=floor,
            trace=question.trace,
        )
        incoming.done.set_result(self._recorder.store(question.site, question.found.key, received))

    async def _is_wanted(self, flight: Flight, writer: BodyWriter) -> bool:
        """Whether anybody still reads a body that will not be kept: else it would be fetched for nothing, perhaps for ever."""
        while flight.waiting and not writer.readers:  # noqa: ASYNC110
            await asyncio.sleep(0)  # who was told of it just now opens its reader in the next turns of the loop
        return writer.readers > 0

    async def _take(
        self, question: Question, incoming: Incoming, data: bytes, small: list[bytes] | None, limit: int
    ) -> list[bytes] | None:
        writer = incoming.writer
        await writer.write(data)
        if writer.length > limit:
            writer.stop_keeping(EdgeError("body is larger than max_object", bytes=writer.length))
        if small is None or writer.length > question.site.memory_object:
            return None
        small.append(data)
        return small

    def _remember_uncacheable(self, key: str) -> None:
        self._uncacheable[key] = self._clock.monotonic() + UNCACHEABLE_SECONDS
        self._uncacheable.move_to_end(key)
        while len(self._uncacheable) > UNCACHEABLE_KEYS:
            self._uncacheable.popitem(last=False)
