"""Spans that a browser sends, read and stripped: what remains may go to the operator's collector.

Owns: what of an OTLP/HTTP JSON request is believed (opentelemetry-proto, "OTLP/HTTP", JSON Protobuf Encoding). Pure: the time is
told.

Anybody can post here, and what he posts will be looked at beside the edge's own spans. So a span is taken only when its ids,
times and name have their form; of its attributes those that `ALLOWED` names remain, as short text, numbers and booleans; the
resource is never the client's: whoever reads the trace sees that it came from a browser. Unknown fields are ignored, as OTLP asks
of receivers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from edgeproxy.errors import RequestRefused
from edgeproxy.telemetry.redaction import redacted_url
from edgeproxy.wire.grammar import is_token

MAX_SPANS: Final = 128
"""In one request; those beyond are counted as not taken."""
MAX_ATTRIBUTES: Final = 24
MAX_EVENTS: Final = 8
MAX_LINKS: Final = 4
MAX_TEXT: Final = 256
MAX_PAST: Final = 8 * 86_400 * 10**9
"""Nanoseconds: a worker keeps spans for seven days while the edge is out of reach."""
MAX_FUTURE: Final = 10 * 60 * 10**9
MAX_DURATION: Final = 3_600 * 10**9

ALLOWED: Final = frozenset(
    ("http.request.method", "http.response.status_code", "url.path", "url.full", "error.type", "exception.type", "server.address")
)
"""Attributes that browsers may set, besides those that begin with `edge.`."""
_is_ours = re.compile(r"edge\.[a-z0-9_]{1,32}(?:\.[a-z0-9_]{1,32}){0,3}", re.ASCII).fullmatch
_is_name = re.compile(r"[A-Za-z][A-Za-z0-9 ._/-]{0,63}", re.ASCII).fullmatch

Scalar = str | bool | int | float
_Hex = Annotated[str, msgspec.Meta(max_length=32)]
_Number = str | int


class _Value(msgspec.Struct, frozen=True, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Number | None = None
    double_value: float | None = None


class _Pair(msgspec.Struct, frozen=True):
    key: str
    value: _Value = _Value()


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    time_unix_nano: _Number = 0
    name: str = ""
    attributes: tuple[_Pair, ...] = ()


class _Link(msgspec.Struct, frozen=True, rename="camel"):
    trace_id: _Hex = ""
    span_id: _Hex = ""


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Span(msgspec.Struct, frozen=True, rename="camel"):
    trace_id: _Hex
    span_id: _Hex
    name: str
    start_time_unix_nano: _Number
    end_time_unix_nano: _Number
    parent_span_id: _Hex = ""
    kind: int = 1
    attributes: tuple[_Pair, ...] = ()
    events: tuple[_Event, ...] = ()
    links: tuple[_Link, ...] = ()
    status: _Status = _Status()


class _Scope(msgspec.Struct, frozen=True, rename="camel"):
    spans: tuple[_Span, ...] = ()


class _Resource(msgspec.Struct, frozen=True, rename="camel"):
    scope_spans: tuple[_Scope, ...] = ()


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    resource_spans: tuple[_Resource, ...] = ()


@dataclass(frozen=True, slots=True)
class BrowserEvent:
    """Something within a span; `at` in nanoseconds since the epoch."""

    name: str
    at: int
    attributes: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class BrowserSpan:
    """One span that may go on. Ids are numbers; `parent` None for a root; `kind` 1 to 3 as OTLP counts; times in nanoseconds."""

    trace_id: int
    span_id: int
    parent: int | None
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Scalar]
    events: tuple[BrowserEvent, ...]
    links: tuple[tuple[int, int], ...]
    failed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Stripped:
    """What remains of a request; `refused` counts the spans that do not."""

    spans: tuple[BrowserSpan, ...]
    refused: int


_decoder = msgspec.json.Decoder(_Request)


def strip(body: bytes, now: int) -> Stripped:
    """What of an OTLP request in JSON may go on. `now` in nanoseconds since the epoch. Raises RequestRefused (400)."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused("spans cannot be read", why=str(error)[:200]) from None
    taken: list[BrowserSpan] = []
    refused = 0
    for span in (span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans):
        good = _span(span, now) if len(taken) < MAX_SPANS else None
        if good is None:
            refused += 1
        else:
            taken.append(good)
    return Stripped(tuple(taken), refused)


def _span(span: _Span, now: int) -> BrowserSpan | None:
    trace_id, span_id = _id(span.trace_id, 32), _id(span.span_id, 16)
    parent = _id(span.parent_span_id, 16)
    start, end = _count(span.start_time_unix_nano), _count(span.end_time_unix_nano)
    if not trace_id or not span_id or (parent is None and span.parent_span_id) or _is_name(span.name) is None:
        return None
    if start is None or end is None or not now - MAX_PAST <= start <= end <= now + MAX_FUTURE or end - start > MAX_DURATION:
        return None
    return BrowserSpan(
        trace_id=trace_id,
        span_id=span_id,
        parent=parent,
        name=span.name,
        kind=span.kind if span.kind in (1, 2, 3) else 1,
        start=start,
        end=end,
        attributes=_attributes(span.attributes),
        events=tuple(_events(span.events[:MAX_EVENTS], now)),
        links=tuple(_links(span.links[:MAX_LINKS])),
        failed=span.status.code == 2,
        message=_text(span.status.message) if span.status.code == 2 else "",
    )


def _id(text: str, digits: int) -> int | None:
    """A trace or span id in hex; None for one that is not, and for zero, which is none (W3C Trace Context)."""
    if len(text) != digits or not set(text) <= set("0123456789abcdef"):
        return None
    return int(text, 16) or None


def _count(value: _Number) -> int | None:
    """A 64-bit number, which JSON carries as text."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            return None
        value = int(value)
    return value if 0 <= value < 2**63 else None


def _attributes(pairs: Iterable[_Pair]) -> dict[str, Scalar]:
    kept: dict[str, Scalar] = {}
    for pair in pairs:
        if len(kept) == MAX_ATTRIBUTES:
            break
        if pair.key in ALLOWED or _is_ours(pair.key) is not None:
            value = _scalar(pair.key, pair.value)
            if value is not None:
                kept[pair.key] = value
    return kept


def _scalar(key: str, value: _Value) -> Scalar | None:
    if value.string_value is not None:
        text = value.string_value
        if key == "url.path":
            text = text.partition("?")[0]
        elif key == "url.full":
            text = redacted_url(text.partition("#")[0])
        elif key == "http.request.method" and not is_token(text):
            return None
        return _text(text)
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        sign = isinstance(value.int_value, str) and value.int_value.startswith("-")
        count = _count(value.int_value[1:] if sign and isinstance(value.int_value, str) else value.int_value)
        return None if count is None else -count if sign else count
    return value.double_value


def _text(text: str) -> str:
    """Cut, and without characters that no log line should have."""
    return "".join(character for character in text[:MAX_TEXT] if character.isprintable())


def _events(events: Iterable[_Event], now: int) -> Iterator[BrowserEvent]:
    for event in events:
        at = _count(event.time_unix_nano)
        if _is_name(event.name) is not None and at is not None and now - MAX_PAST <= at <= now + MAX_FUTURE:
            yield BrowserEvent(event.name, at, _attributes(event.attributes))


def _links(links: Iterable[_Link]) -> Iterator[tuple[int, int]]:
    for link in links:
        trace_id, span_id = _id(link.trace_id, 32), _id(link.span_id, 16)
        if trace_id and span_id:
            yield trace_id, span_id
