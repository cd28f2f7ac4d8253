"""Sends a page that passes by with our tag in it, while it arrives.

Owns: the choice of its head, and the way of its pieces through decoder, injector and encoder. Nothing is held but the first piece
and what the injector holds. Must not judge the page; `exchange.injection` did, and the scanner does.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from edgeproxy.caching import preconditions
from edgeproxy.caching.preconditions import NotModified
from edgeproxy.clock import Instant
from edgeproxy.exchange import heads
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.injection import Injections, Passing
from edgeproxy.inject.reasons import INJECTED
from edgeproxy.origin.messages import OriginResponse
from edgeproxy.storage.decoding import decoder
from edgeproxy.storage.encoding import ENCODABLE, encoder
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from edgeproxy.wire.negotiate import content_codings

SendHead = Callable[[Exchange, int, Fields, int | None], Awaitable[None]]


class Source(Protocol):
    """A body, piece by piece; b"" at its end."""

    async def read(self) -> bytes: ...


class Body:
    """A page in identity coding on its way."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.received = 0
        """Bytes that arrived."""

    async def read(self) -> bytes:
        """The next piece of the page, b"" at its end. Raises OriginError."""
        return await self._arriving()

    async def _arriving(self) -> bytes:
        piece = await self._source.read()
        self.received += len(piece)
        return piece

    def written(self, data: bytes) -> bytes:
        """`data` of the page as it goes out."""
        return data

    def end(self) -> bytes:
        """What goes out last."""
        return b""

    def as_it_came(self, first: bytes) -> bytes:
        """Nothing is changed after all: what `first` was read from. From here on `read` gives what arrives."""
        return first


class CodedBody(Body):
    """A page in a content coding, which it keeps."""

    def __init__(self, source: Source, coding: str, limit: int) -> None:
        """`limit`: bytes of the decoded page, against bombs."""
        super().__init__(source)
        self._decoder = decoder(coding, limit=limit)
        self._encoder = encoder(coding)
        self._raw: list[bytes] = []
        """What arrived, until it is known whether it goes out changed."""
        self._is_changed = False
        self._is_raw = False
        self._is_over = False

    async def read(self) -> bytes:
        """See `Body`. Raises OriginMalformed for what cannot be decoded."""
        if self._is_raw:
            return await self._arriving()
        while not self._is_over:
            piece = await self._arriving()
            if not self._is_changed:
                self._raw.append(piece)
            self._is_over = not piece
            decoded = self._decoder.feed(piece) if piece else self._decoder.finish()
            if decoded:
                return decoded
        return b""

    def written(self, data: bytes) -> bytes:
        """See `Body`."""
        self._is_changed = True
        self._raw.clear()
        return self._encoder.feed(data)

    def end(self) -> bytes:
        """See `Body`."""
        return b"" if self._is_raw else self._encoder.finish()

    def as_it_came(self, first: bytes) -> bytes:
        """See `Body`."""
        self._is_raw = True
        return b"".join(self._raw)


def can_recode(fields: Fields) -> bool:
    """Whether a body with these fields can be changed while it passes by."""
    codings = content_codings(fields)
    return len(codings) <= 1 and ENCODABLE.issuperset(codings)


def body_of(source: Source, fields: Fields, limit: int) -> Body:
    """The body behind a head with `fields`, which `can_recode`."""
    codings = content_codings(fields)
    return CodedBody(source, codings[0], limit) if codings else Body(source)


async def pass_page(
    exchange: Exchange, response: OriginResponse, fields: Fields, source: Source, send_head: SendHead, injections: Injections
) -> Fields | None:
    """Stream a response of the origin through with our tag in it. When it is to go as it came nothing is sent, and its fields are
    answered: `fields`, less what would be wrong beside a page that others get with the tag."""
    site, request, status = exchange.site, exchange.request, response.status
    injections.saw_answer(exchange, status, fields)
    coded = not can_recode(fields)
    if injections.varies(site, request, status, fields, coded=coded):
        fields = heads.varied(fields)
    page = injections.passing(exchange, status, fields, coded=coded)
    if page is not None:
        body = body_of(source, fields, site.policy.max_object)
        await send_page(exchange, page, response.body_length, body, send_head, injections)
        await exchange.stream.finish()
        return None
    etag = fields.get("etag")
    if status == 304 and etag is not None and injections.applies(site, request):
        # It names the validator that the client has: that of the page with our tag, where it sent that one. That page is stored
        # with an amended policy, which this head is about to replace (RFC 9111 section 3.2).
        marked = heads.marked(etag)
        if has(request, marked):
            return injections.amended(site, request.url, fields).fields.replacing("ETag", marked)
    return fields


async def send_page(
    exchange: Exchange, page: Passing, length: int | None, body: Body, send_head: SendHead, injections: Injections
) -> None:
    """Head and body. `length`: bytes of the body as it arrives, None when unknown. Raises OriginError, ClientGone.

    The first piece is awaited before the head goes out: mostly it holds the place, and then the head says what is so. Else the
    head is that of a page with the tag, without a length; should there be no place, it still means the same page.
    """
    if exchange.request.method == "HEAD":
        await send_head(exchange, 200, page.amended, None)
        return
    etag = page.amended.get("etag")
    if etag is not None and has(exchange.request, etag):
        await send_head(exchange, 304, heads.not_modified(page.amended), None)
        return
    injector, stream = page.injector, exchange.stream
    first = await body.read()
    ready = injector.feed(first)
    if not first or body.received == length:
        ready += injector.finish()
    outcome = injector.outcome
    injections.tell(exchange, outcome, page.changes)
    if outcome is None:
        await send_head(exchange, 200, page.amended, None)
    elif outcome == INJECTED:
        is_counted = length is not None and type(body) is Body
        await send_head(exchange, 200, page.amended, length + len(ready) - len(first) if length and is_counted else None)
    else:
        await send_head(exchange, 200, page.fields, length)
        await _send_as_it_came(exchange, body, first)
        return
    await _send(exchange, body, ready)
    while piece := await body.read():
        await _send(exchange, body, injector.feed(piece))
    await _send(exchange, body, injector.finish())
    if end := body.end():
        await stream.send(end)
    if outcome is None:
        injections.tell(exchange, injector.outcome, page.changes)


async def _send_as_it_came(exchange: Exchange, body: Body, first: bytes) -> None:
    if ready := body.as_it_came(first):
        await exchange.stream.send(ready)
    while piece := await body.read():
        await exchange.stream.send(piece)


async def _send(exchange: Exchange, body: Body, data: bytes) -> None:
    if data and (coded := body.written(data)):
        await exchange.stream.send(coded)


def has(request: Request, etag: str) -> bool:
    """Whether the client has what `etag` names, and says so (RFC 9110 section 13.1.2)."""
    if "if-none-match" not in request.fields:
        return False
    verdict = preconditions.evaluate(request, status=200, etag=etag, last_modified=None, length=0, now=Instant(0))
    return isinstance(verdict, NotModified)
