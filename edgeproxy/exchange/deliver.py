"""Sends what comes out of the store, whole or in part, and only what is verified.

Owns: the way from a `Resident` (or a body still arriving) to the client: preconditions, ranges, choice of the form, the head.
Bodies that are not in memory are read in chunks, each checked before it is sent. Must not look up, fetch or decide what to serve.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from edgeproxy.caching import freshness, preconditions, status
from edgeproxy.caching.memento import links_of_original
from edgeproxy.caching.model import Reason, StoredResponse
from edgeproxy.caching.preconditions import NotModified, Partial, Unsatisfiable, Whole
from edgeproxy.clock import Clock, Instant
from edgeproxy.errors import Corrupt
from edgeproxy.exchange import heads
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.flights import Incoming
from edgeproxy.exchange.heads import IDENTITY, Form
from edgeproxy.exchange.injected import Injected
from edgeproxy.exchange.injection import Injections
from edgeproxy.exchange.passing import Body, send_page
from edgeproxy.exchange.resident import Resident
from edgeproxy.inject.scanner import Scanner
from edgeproxy.ledger.chunks import CHUNK
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.ledger.verify import verify_body, verify_chunk, verify_leaves
from edgeproxy.storage.bodies import BodyReader, BodyStore
from edgeproxy.telemetry import names
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from edgeproxy.wire.negotiate import select_coding
from edgeproxy.wire.ranges import Multipart, content_range, multipart_parts, unsatisfied_range

Verdict = preconditions.Answer


@dataclass(frozen=True, slots=True)
class Chosen:
    """How a stored response answers one request: in which form, and whole, in part, or not at all."""

    form: Form
    verdict: Verdict


def choose(request: Request, resident: Resident, now: Instant, injected: Injected | None = None) -> Chosen:
    """The form by `Accept-Encoding`, then the preconditions and ranges against that form's validator (RFC 9110 section 13.2.2).

    A client that kept any form of this response has the content, so a match with any of their validators is a 304. `injected`: it
    asks for a page. Page and page with our tag are not the same content: who has the one is not told that it has the other.
    """
    if injected is not None and injected.is_into:
        return _choose_injected(request, resident, now, injected)
    fields, stored = request.fields, resident.stored
    forms = resident.forms
    form = forms[IDENTITY]
    if len(forms) > 1 and "range" not in fields:
        coding = select_coding(fields.get("accept-encoding"), tuple(forms))
        form = forms.get(coding or IDENTITY, form)
    verdict = judge(request, stored, form.etag, form.length, now)
    if isinstance(verdict, Whole) and len(forms) > 1 and "if-none-match" in fields:
        for other in forms.values():
            if other is not form and isinstance(judge(request, stored, other.etag, other.length, now), NotModified):
                return Chosen(other, NotModified())
    return Chosen(form, verdict)


def _choose_injected(request: Request, resident: Resident, now: Instant, injected: Injected) -> Chosen:
    """No ranges, and no comparison of dates, which page and page with our tag have in common."""
    forms = injected.forms
    coding = select_coding(request.fields.get("accept-encoding"), tuple(forms)) if len(forms) > 1 else IDENTITY
    first = forms.get(coding or IDENTITY, forms[IDENTITY])
    if "if-none-match" in request.fields:
        for form in (first, *forms.values()):
            verdict = preconditions.evaluate(
                request, status=resident.stored.status, etag=form.etag, last_modified=None, length=form.length, now=now
            )
            if isinstance(verdict, NotModified):
                return Chosen(form, verdict)
    return Chosen(first, Whole())


def head_of(resident: Resident, form: Form, injected: Injected | None) -> Fields:
    """The fields of a stored response in one of its forms (`heads.from_store`), which is `injected`'s when it has our tag."""
    known = resident.injected
    return heads.from_store(
        resident.stored,
        form,
        negotiated=resident.compressible,
        by_destination=form.splice is not None or (known is not None and known.may_be_into),
        amended=injected.fields if injected is not None and form.splice is not None else None,
    )


def judge(request: Request, stored: StoredResponse, etag: str | None, length: int, now: Instant) -> Verdict:
    """Preconditions and ranges of `request` against one representation."""
    return preconditions.evaluate(
        request,
        status=stored.status,
        etag=etag,
        last_modified=stored.fields.get("last-modified"),
        length=length,
        now=now,
        date=stored.fields.get("date"),
    )


def memento_lines(url: str) -> tuple[tuple[str, str], ...]:
    """What the original `url` of a site with mementos says in every answer: that it heeds a date, and where its versions are."""
    scheme, _, rest = url.partition("://")
    base = f"{scheme}://{rest.partition('/')[0]}"
    return ("Vary", "accept-datetime"), ("Link", links_of_original(base, url))


def _is_original(exchange: Exchange) -> bool:
    request = exchange.request
    return exchange.site.memento and request.method in ("GET", "HEAD") and not request.target.startswith("/.edge")


def verify_attributes(stored: StoredResponse) -> dict[str, int]:
    """Of a `body.verify` span."""
    height = {} if stored.height is None else {names.BLOCK_HEIGHT: int(stored.height)}
    return {names.BODY_LENGTH: stored.length, **height}


async def _spliced(pieces: AsyncIterator[bytes], place: int, inserted: bytes) -> AsyncIterator[bytes]:
    """`pieces` with `inserted` at offset `place`, which lies within them or at their end."""
    position = 0
    async for piece in pieces:
        start, position = position, position + len(piece)
        if start <= place < position:
            piece = b"".join((piece[: place - start], inserted, piece[place - start :]))
        yield piece
    if place >= position:
        yield inserted


class Delivery:
    """Writes answers out of the store to streams."""

    def __init__(self, bodies: BodyStore, clock: Clock, injections: Injections) -> None:
        self._bodies = bodies
        self._clock = clock
        self._injections = injections

    async def resident(self, exchange: Exchange, resident: Resident, *, reason: Reason, forwarded: bool) -> None:
        """Answer with a stored response. `forwarded`: the origin was asked first, so this is no hit (RFC 9211 section 2.1).

        Raises Corrupt, before the head is sent whenever the first chunk is the bad one; ClientGone.
        """
        injected = await self._injected(exchange, resident)
        stored, now = resident.stored, self._clock.now()
        chosen = choose(exchange.request, resident, now, injected)
        exchange.block = stored.height
        exchange.reason = reason
        age = freshness.current_age(stored, now)
        until = freshness.fresh_until(stored, exchange.site.policy) if resident.pinned else resident.fresh_until
        ttl = (until - now) // 1000 if until else -age
        if forwarded:
            exchange.detail = reason
            told = exchange.cache_status()
        else:
            told = status.cache_status_hit(reason, ttl)
        fields = head_of(resident, chosen.form, injected).plus(("Age", str(age)), ("Cache-Status", told))
        await self._send(exchange, chosen, fields, stored.status, resident)

    async def archived(self, exchange: Exchange, resident: Resident, told: Fields) -> None:
        """Answer with an earlier version; `told` is said in place of what its head said of its own time. Raises as above."""
        stored = resident.stored
        chosen = choose(exchange.request, resident, self._clock.now())
        exchange.block = stored.height
        fields = heads.from_store(stored, chosen.form, negotiated=False)
        fields = fields.without(heads.OF_ITS_TIME.union(exchange.site.policy.targets))
        fields = fields.plus(*told.lines, ("Cache-Status", f"edgeproxy;hit;detail={Reason.MEMENTO}"))
        await self._send(exchange, chosen, fields, stored.status, resident)

    async def body_alone(self, exchange: Exchange, resident: Resident, fields: Fields) -> None:
        """The whole body of a stored response, under `fields` of the edge's own. Raises as `resident`."""
        form = resident.forms[IDENTITY]
        await self._send_slice(exchange, resident, form, (0, form.length - 1), (200, fields, form.length))
        await exchange.stream.finish()

    async def _injected(self, exchange: Exchange, resident: Resident) -> Injected | None:
        """What is known of injecting, when the exchange asks for a page to show; looks for the place in a body on disk, once.

        Raises Corrupt.
        """
        injected = self._injections.wanted(exchange, resident)
        if injected is None:
            return None
        if injected.outcome is None:
            scanner = Scanner()
            async for piece in self.proved(resident.ref, 0, resident.stored.length - 1):
                if scanner.feed(piece) is not None:
                    break
            self._injections.placed(resident, injected, scanner.finish())
        self._injections.tell(exchange, injected.outcome, injected.changes)
        return injected

    async def _send(self, exchange: Exchange, chosen: Chosen, fields: Fields, code: int, resident: Resident) -> None:
        form = chosen.form
        modified = resident.stored.fields.get("last-modified")
        if resident.pinned and preconditions.is_failed(exchange.request, status=code, etag=form.etag, last_modified=modified):
            failed = fields.without(frozenset(("repr-digest", "content-type")))
            await self.head(exchange, 412, failed, 0)
            await exchange.stream.finish()
            return
        match chosen.verdict:
            case NotModified():
                await self.head(exchange, 304, heads.not_modified(fields), None)
            case Unsatisfiable():
                unsatisfied = fields.without(frozenset(("repr-digest", "content-type"))).plus(
                    ("Content-Range", unsatisfied_range(form.length))
                )
                await self.head(exchange, 416, unsatisfied, 0)
            case Partial(ranges) if len(ranges) > 1:
                boundary = resident.stored.body.hex()
                parts = multipart_parts(ranges, fields.get("content-type"), form.length, boundary)
                typed = fields.replacing("Content-Type", f"multipart/byteranges; boundary={boundary}")
                await self.head(exchange, 206, typed, parts.total)
                await self._send_parts(exchange, resident, form, parts)
            case Partial(ranges):
                first, last = ranges[0]
                ranged = fields.plus(("Content-Range", content_range(first, last, form.length)))
                await self._send_slice(exchange, resident, form, (first, last), (206, ranged, last - first + 1))
            case _:
                await self._send_slice(exchange, resident, form, (0, form.length - 1), (code, fields, form.length))
        await exchange.stream.finish()

    async def _send_slice(
        self, exchange: Exchange, resident: Resident, form: Form, span: tuple[int, int], head: tuple[int, Fields, int]
    ) -> None:
        """Head and one contiguous piece. The first bytes are proved before the head goes out."""
        if exchange.request.method == "HEAD" or span[1] < span[0]:
            await self.head(exchange, *head)
            return
        pieces = self._pieces(exchange, resident, form, *span)
        first = await anext(pieces)
        await self.head(exchange, *head)
        await exchange.stream.send(first)
        async for piece in pieces:
            await exchange.stream.send(piece)

    async def _send_parts(self, exchange: Exchange, resident: Resident, form: Form, parts: Multipart) -> None:
        for head, first, last in parts.parts:
            await exchange.stream.send(head)
            async for piece in self._pieces(exchange, resident, form, first, last):
                await exchange.stream.send(piece)
        await exchange.stream.send(parts.closing)

    async def _pieces(self, exchange: Exchange, resident: Resident, form: Form, first: int, last: int) -> AsyncIterator[bytes]:
        """The verified bytes from `first` to `last`, inclusive; of a page with our tag always all. Raises Corrupt."""
        if form.data is not None:
            yield form.data if last - first + 1 == len(form.data) else form.data[first : last + 1]
            return
        # Not the current span: what runs between two pieces is the caller's.
        span = exchange.span.start_child(names.VERIFY, verify_attributes(resident.stored))
        try:
            if form.splice is None:
                async for piece in self.proved(resident.ref, first, last):
                    yield piece
            else:
                async for piece in _spliced(self.proved(resident.ref, 0, resident.stored.length - 1), *form.splice):
                    yield piece
        except Corrupt as error:
            span.fail(error)
            raise
        finally:
            span.end()

    async def proved(self, ref: BodyRef, first: int = 0, last: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a body from `first` to `last`, inclusive, or to its end; proved before they are given. Raises Corrupt."""
        last = ref.length - 1 if last is None else last
        if ref.chunks is None:
            # Too large for the memory tier as this site has it, yet small enough to be proved whole.
            yield verify_body(ref, await self._bodies.read(ref)).value[first : last + 1]
            return
        leaves = verify_leaves(ref, await self._bodies.chunk_leaves(ref))
        body = await self._bodies.stream(ref)
        for index in range(first // CHUNK, last // CHUNK + 1):
            start = index * CHUNK
            piece = verify_chunk(ref, leaves, index, await body.read(start, min(CHUNK, ref.length - start))).value
            yield piece[max(0, first - start) : last + 1 - start]

    async def head(self, exchange: Exchange, code: int, fields: Fields, length: int | None) -> None:
        """Send a head with what the exchange itself has to say: `Proxy-Status` and `Server-Timing`.

        Whoever has a clock adds the `Date` that is missing, in an answer of its own as in a forwarded one (RFC 9110 section
        6.6.1).
        """
        exchange.status = code
        lines: list[tuple[str, str]] = []
        if code >= 200 and "date" not in fields:
            lines.append(("Date", format_http_date(self._clock.now() // 1000)))
        if exchange.proxy_status:
            lines.append(("Proxy-Status", exchange.proxy_status))
        hsts = exchange.site.told_to_stay_secure(exchange.request.scheme)
        if hsts is not None and "strict-transport-security" not in fields:
            lines.append(("Strict-Transport-Security", hsts))
        if code >= 200 and _is_original(exchange) and "memento-datetime" not in fields:
            lines.extend(memento_lines(exchange.request.url))
        lines.append(("Server-Timing", self._timing(exchange)))
        await exchange.stream.send_head(code, fields.plus(*lines), length)

    def _timing(self, exchange: Exchange) -> str:
        edge = (self._clock.monotonic() - exchange.stream.started) * 1000
        members = [f"edge;dur={edge:.1f}"]
        if exchange.origin_seconds is not None:
            members.append(f"origin;dur={exchange.origin_seconds * 1000:.1f}")
        if exchange.span.sampled:
            members.append(f'traceparent;desc="{exchange.span.traceparent}"')
        return ", ".join(members)

    async def incoming(self, exchange: Exchange, incoming: Incoming, reader: BodyReader) -> None:
        """Answer from a body that is still arriving, as fast as it comes or the client reads. `reader` is at its start; it is
        closed here.

        Raises OriginTruncated and its like when the origin breaks off; the head has been sent by then, and the caller aborts.
        """
        try:
            await self._incoming(exchange, incoming, reader)
        finally:
            reader.close()

    async def _incoming(self, exchange: Exchange, incoming: Incoming, reader: BodyReader) -> None:
        exchange.reason = Reason.STORED
        fields = incoming.fields.without(frozenset(("via", "content-length")))
        if not exchange.collapsed:
            fields = fields.plus(*incoming.withheld.lines)
        fields = fields.plus(("Via", heads.via(incoming.fields)), ("Cache-Status", exchange.cache_status(stored=True)))
        coded = "content-encoding" in fields
        if self._injections.varies(exchange.site, exchange.request, incoming.status, fields, coded=coded):
            fields = heads.varied(fields)
        page = self._injections.passing(exchange, incoming.status, fields, coded=coded)
        if page is None:
            await self._incoming_as_it_came(exchange, incoming, fields, reader)
        else:
            await send_page(exchange, page, incoming.length, Body(reader), self.head, self._injections)
        await exchange.stream.finish()

    async def _incoming_as_it_came(self, exchange: Exchange, incoming: Incoming, fields: Fields, reader: BodyReader) -> None:
        request, length = exchange.request, incoming.length
        verdict: Verdict = Whole()
        if incoming.status == 200:
            verdict = preconditions.evaluate(
                request,
                status=200,
                etag=fields.get("etag"),
                last_modified=fields.get("last-modified"),
                length=length if length is not None else 0,
                now=self._clock.now(),
                date=fields.get("date"),
            )
        if isinstance(verdict, NotModified):
            await self.head(exchange, 304, heads.not_modified(fields), None)
        elif isinstance(verdict, Partial) and length is not None and len(verdict.ranges) == 1:
            first, last = verdict.ranges[0]
            ranged = fields.plus(("Content-Range", content_range(first, last, length)))
            await self.head(exchange, 206, ranged, last - first + 1)
            await self._follow(exchange, reader, first, last)
        else:
            # A range of a body whose length is not known yet, or several of them: the whole is always a right answer.
            await self.head(exchange, incoming.status, fields, length)
            await self._follow(exchange, reader, 0, None)

    async def _follow(self, exchange: Exchange, reader: BodyReader, first: int, last: int | None) -> None:
        if exchange.request.method == "HEAD":
            return
        while piece := await reader.read():
            start = reader.position - len(piece)
            stop = len(piece) if last is None else min(len(piece), last + 1 - start)
            if reader.position > first and stop > 0:
                await exchange.stream.send(piece[max(0, first - start) : stop])
            if last is not None and reader.position > last:
                break
