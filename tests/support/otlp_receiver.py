"""A real OTLP/HTTP receiver for tests: takes protobuf posts on a loopback port and keeps the spans, decoded.

async with OtlpReceiver() as receiver:
    ... endpoint=receiver.endpoint ...
    trace = await receiver.trace(lambda spans: any(span.name == "GET shop" for span in spans))
    assert trace.drawn() == "..."
"""

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


@dataclass(frozen=True, slots=True)
class Link:
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as it came over the wire; ids in hex, times in nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    message: str
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...]
    links: tuple[Link, ...]
    resource: dict[str, Any]
    trace_state: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one trace id."""

    trace_id: str
    spans: tuple[ReceivedSpan, ...]

    def named(self, name: str) -> ReceivedSpan:
        """The one span called `name`."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def all_named(self, name: str) -> list[ReceivedSpan]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    def roots(self) -> list[ReceivedSpan]:
        """Spans whose parent was not received."""
        known = {span.span_id for span in self.spans}
        return sorted((span for span in self.spans if span.parent_id not in known), key=lambda span: span.start)

    def drawn(self) -> str:
        """The tree as indented lines, `NAME KIND`, with ` !` after a failed span; children in the order they began."""

        def draw(span: ReceivedSpan, depth: int) -> list[str]:
            children = sorted((each for each in self.spans if each.parent_id == span.span_id), key=lambda each: each.start)
            line = f"{'  ' * depth}{span.name} {span.kind}{' !' if span.failed else ''}"
            return [line, *(below for each in children for below in draw(each, depth + 1))]

        return "\n".join(line for root in self.roots() for line in draw(root, 0))


@dataclass(slots=True)
class OtlpReceiver:
    """Listens while the `async with` block runs. Set `status` to refuse posts, `hold` to let them hang."""

    status: int = 200
    hold: bool = False
    spans: list[ReceivedSpan] = field(default_factory=list)
    posts: int = 0
    faults: list[str] = field(default_factory=list)
    """What was wrong with posts, for a test to assert that it is empty."""
    port: int = 0
    _runner: web.AppRunner | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> str:
        """The base URL, as OTEL_EXPORTER_OTLP_ENDPOINT takes it."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def let_go(self) -> None:
        """Answer the posts that are held, and hold none any more."""
        self.hold = False
        self._released.set()

    async def until(self, condition: Callable[[Sequence[ReceivedSpan]], bool], seconds: float = 10.0) -> list[ReceivedSpan]:
        """Wait until `condition` holds for the spans received; AssertionError with what there is when it never does."""
        deadline = time.monotonic() + seconds
        while not condition(self.spans):
            self._changed.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._changed.wait(), max(left, 0))
            except TimeoutError:
                names = sorted(span.name for span in self.spans)
                raise AssertionError(f"the spans did not come; {self.posts} posts brought {names}") from None
        return list(self.spans)

    async def trace(self, condition: Callable[[Sequence[ReceivedSpan]], bool], seconds: float = 10.0) -> Trace:
        """Wait until the spans of one trace id fulfil `condition`, and return that trace."""
        found: list[Trace] = []

        def fulfilled(_: Sequence[ReceivedSpan]) -> bool:
            found[:] = [trace for trace in self.traces() if condition(trace.spans)]
            return bool(found)

        await self.until(fulfilled, seconds)
        return found[0]

    def traces(self) -> list[Trace]:
        """All traces received, in the order of their first span."""
        by_id: dict[str, list[ReceivedSpan]] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            by_id.setdefault(span.trace_id, []).append(span)
        return [Trace(trace_id, tuple(spans)) for trace_id, spans in by_id.items()]

    async def _take(self, request: web.Request) -> web.Response:
        self.posts += 1
        self._changed.set()
        if self.hold:
            await self._released.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if request.content_type != "application/x-protobuf":
            self.faults.append(f"content type {request.content_type}")
        self.spans.extend(_decoded(ExportTraceServiceRequest.FromString(body)))
        self._changed.set()
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf")


def _decoded(message: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            name=span.name,
            kind=KINDS.get(span.kind, "UNSPECIFIED"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            failed=span.status.code == 2,
            message=span.status.message,
            attributes=_attributes(span.attributes),
            events=tuple((event.name, _attributes(event.attributes)) for event in span.events),
            links=tuple(Link(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            resource=_attributes(of_resource.resource.attributes),
            trace_state=span.trace_state,
        )
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
