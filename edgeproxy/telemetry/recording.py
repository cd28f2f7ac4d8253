"""Tracing through the OpenTelemetry SDK.

Owns: spans that are recorded, and the head decision: the SDK is entered only for what is sampled, so its own sampler says yes to
everything. Must not be imported by others than `tracing.open_tracing`; the rest of the edge knows only the handle.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from edgeproxy import __version__
from edgeproxy.errors import EdgeError, Fault
from edgeproxy.telemetry import names
from edgeproxy.telemetry.export import otlp_processor, stop_provider
from edgeproxy.telemetry.redaction import redacted_query
from edgeproxy.telemetry.trace_settings import Sampling, TracingSettings
from edgeproxy.telemetry.traceparent import RANDOM, SAMPLED, Traceparent, traceparent_of
from edgeproxy.telemetry.tracing import NONE, Attribute, Attributes, Committed, Outcome, Peer, Span, Tracing
from edgeproxy.wire.messages import Request

if TYPE_CHECKING:
    import aiohttp

__all__ = ["RecordedSpan", "RecordingTracing", "otlp_processor"]

_PROMISES: Final = 1024
_PENDING_APPENDS: Final = 8192


class RecordedSpan(Span):
    """A span that the SDK records. Calls after its end do nothing."""

    __slots__ = ("_failed", "_on_end", "_otel", "_tracer")

    sampled = True

    def __init__(self, tracer: trace.Tracer, otel: trace.Span, on_end: Callable[[], None] | None = None) -> None:
        super().__init__()
        context = otel.get_span_context()
        self._trace_id = f"{context.trace_id:032x}"
        self._span_id = f"{context.span_id:016x}"
        self._tracer = tracer
        self._otel = otel
        self._on_end = on_end
        self._failed = False

    @property
    def traceparent(self) -> str:
        return f"00-{self._trace_id}-{self._span_id}-{self._otel.get_span_context().trace_flags:02x}"

    @property
    def otel(self) -> trace.Span:
        """The SDK's span, for links and for making it current."""
        return self._otel

    def child(self, name: str, attributes: Attributes = NONE) -> AbstractContextManager[Span]:
        return self._child(name, attributes)

    @contextlib.contextmanager
    def _child(self, name: str, attributes: Attributes) -> Iterator[Span]:
        span = self.start_child(name, attributes)
        with span.current():
            try:
                yield span
            except BaseException as error:
                span.fail(error)
                raise
            finally:
                span.end()

    def start_child(self, name: str, attributes: Attributes = NONE) -> "RecordedSpan":
        otel = self._tracer.start_span(name, trace.set_span_in_context(self._otel, Context()), attributes=attributes)
        return RecordedSpan(self._tracer, otel)

    @contextlib.contextmanager
    def _current(self) -> Iterator[Span]:
        with super().current(), trace.use_span(self._otel, record_exception=False, set_status_on_exception=False):
            yield self

    def current(self) -> AbstractContextManager[Span]:
        return self._current()

    def set(self, name: str, value: Attribute) -> None:
        if self._otel.is_recording():
            self._otel.set_attribute(name, value)

    def update(self, attributes: Attributes) -> None:
        if self._otel.is_recording():
            self._otel.set_attributes(attributes)

    def fail(self, error: BaseException) -> None:
        """`error.type` is the class name. Errors of ours are expected and said in one event; of others the traceback is kept.
        What the client did does not fail the span (semantic conventions)."""
        if not self._otel.is_recording():
            return
        self._failed = True
        kind = type(error).__name__
        self._otel.set_attribute(names.ERROR_TYPE, kind)
        if not (isinstance(error, EdgeError) and error.fault is Fault.CLIENT):
            self._otel.set_status(Status(StatusCode.ERROR, error.text if isinstance(error, EdgeError) else kind))
        if isinstance(error, Exception) and not isinstance(error, EdgeError):
            self._otel.record_exception(error)
        else:
            self._otel.add_event(names.EXCEPTION, {names.EXCEPTION_TYPE: kind, names.EXCEPTION_MESSAGE: str(error)})

    def follow(self, future: Outcome) -> None:
        future.add_done_callback(self._followed)

    def _followed(self, future: Any) -> None:
        if future.cancelled():
            self.end()
            return
        if (error := future.exception()) is not None:
            self.fail(error)
        else:
            self.set(names.BLOCK_HEIGHT, int(cast(Committed, future.result()).height))
        self.end()

    def end(self, status: int | None = None, *, size: int | None = None) -> None:
        """A status of 500 and above fails the span, one of 400 does not: that is the client's doing (semantic conventions)."""
        if not self._otel.is_recording():
            return
        if status is not None:
            self._otel.set_attribute(names.STATUS, status)
            if status >= 500 and not self._failed:
                self._otel.set_attribute(names.ERROR_TYPE, str(status))
                self._otel.set_status(Status(StatusCode.ERROR))
        if size is not None:
            self._otel.set_attribute(names.RESPONSE_SIZE, size)
        self._otel.end()
        if self._on_end is not None:
            self._on_end()


class RecordingTracing(Tracing):
    """Tracing with a processor that takes the ended spans."""

    enabled = True

    def __init__(self, settings: TracingSettings, processor: SpanProcessor, *, draw: Callable[[], float] = random.random) -> None:
        self._sampling: Sampling = settings.sampling
        self._ratio = settings.sampling.ratio
        self._follow = settings.sampling.follow_parent
        self._draw = draw
        self._promised: dict[Request, int] = {}
        self._appends: dict[int, tuple[object, RecordedSpan]] = {}
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource(settings), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._processor = processor
        self._tracer = self._provider.get_tracer("edgeproxy", __version__)

    # --- who is recorded

    def samples_hit(self, request: Request) -> bool:
        if not self._decide(traceparent_of(request.fields)):
            return False
        if len(self._promised) >= _PROMISES:  # only when clients go away between the yes and the span
            self._promised.clear()
        self._promised[request] = self._promised.get(request, 0) + 1
        return True

    def _decide(self, parent: Traceparent | None) -> bool:
        if parent is not None:
            if self._follow:
                return parent.sampled
            # by the low 64 bits of the trace id, as TraceIdRatioBased does, so that all who use the ratio agree on a trace
            return int(parent.trace_id[16:], 16) < self._ratio * (1 << 64)
        return self._ratio >= 1 or (self._ratio > 0 and self._draw() < self._ratio)

    def _keep_promise(self, request: Request) -> bool:
        left = self._promised.pop(request, 0)
        if left > 1:
            self._promised[request] = left - 1
        return left > 0

    # --- spans

    def server_span(self, request: Request, peer: Peer, site: str) -> Span:
        parent = traceparent_of(request.fields)
        if not (self._promised and self._keep_promise(request)) and not self._decide(parent):
            return Span(parent)
        otel = self._tracer.start_span(
            names.server_span_name(request.method, site),
            _remote_context(parent, request),
            kind=SpanKind.SERVER,
            attributes=_server_attributes(request, peer, site),
        )
        return RecordedSpan(self._tracer, otel)

    def background_span(self, name: str, cause: Span | None, site: str) -> Span:
        if not (cause.sampled if cause is not None else self._decide(None)):
            return Span()
        links = [Link(cause.otel.get_span_context())] if isinstance(cause, RecordedSpan) else []
        otel = self._tracer.start_span(name, Context(), attributes={names.SITE: site}, links=links)
        return RecordedSpan(self._tracer, otel)

    def append_span(self, span: Span, draft: object) -> Span:
        if not isinstance(span, RecordedSpan):
            return Span()
        key = id(draft)  # the draft is kept beside it, so the id stays its own
        otel = self._tracer.start_span(
            names.APPEND, trace.set_span_in_context(span.otel, Context()), attributes={names.BLOCK_OP: _op(draft)}
        )
        append = RecordedSpan(self._tracer, otel, lambda: self._forget(key))
        if len(self._appends) >= _PENDING_APPENDS:
            self._appends.pop(next(iter(self._appends)))
        self._appends[key] = (draft, append)
        return append

    def _forget(self, key: int) -> None:
        self._appends.pop(key, None)

    def commit_span(self, drafts: Sequence[object]) -> AbstractContextManager[object]:
        if not self._appends:
            return contextlib.nullcontext()
        appends = [held[1] for draft in drafts if (held := self._appends.get(id(draft))) is not None and held[0] is draft]
        return self._commit(len(drafts), appends) if appends else contextlib.nullcontext()

    @contextlib.contextmanager
    def _commit(self, size: int, appends: list[RecordedSpan]) -> Iterator[Span]:
        otel = self._tracer.start_span(
            names.COMMIT,
            Context(),
            attributes={names.BATCH_SIZE: size, names.BATCH_TRACED: len(appends)},
            links=[Link(append.otel.get_span_context()) for append in appends],
        )
        batch = RecordedSpan(self._tracer, otel)
        for append in appends:
            if append.otel.is_recording():
                append.otel.add_link(otel.get_span_context())
        try:
            yield batch
        except BaseException as error:
            batch.fail(error)
            raise
        finally:
            batch.end()

    # --- the outside

    def trace_configs(self) -> list["aiohttp.TraceConfig"]:
        from edgeproxy.telemetry.client_traces import client_trace_config

        return [client_trace_config(self._provider)]

    def flush(self) -> None:
        self._provider.force_flush()

    async def stop(self, limit: float = 2.0) -> None:
        await stop_provider(self._provider, limit)


def _op(draft: object) -> str:
    return str(getattr(draft, "op", None) or type(draft).__name__.removesuffix("Draft").lower())


def _resource(settings: TracingSettings) -> Resource:
    """Who speaks. What the environment names (OTEL_RESOURCE_ATTRIBUTES) wins over what we would say."""
    ours = {names.SERVICE_VERSION: __version__, names.SERVICE_INSTANCE: settings.node}
    return Resource.create({**ours, **settings.resource, names.SERVICE_NAME: settings.service_name})


def _remote_context(parent: Traceparent | None, request: Request) -> Context:
    """The caller's span as parent, or an empty context: never what happens to be current in this task."""
    if parent is None:
        return Context()
    context = SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags & (SAMPLED | RANDOM)),
        trace_state=TraceState.from_header(list(request.fields.all("tracestate"))),
    )
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def _server_attributes(request: Request, peer: Peer, site: str) -> dict[str, Attribute]:
    path, _, query = request.target.partition("?")
    attributes: dict[str, Attribute] = {
        names.SITE: site,
        names.METHOD: request.method if request.method in names.KNOWN_METHODS else names.OTHER_METHOD,
        names.URL_SCHEME: request.scheme,
        names.URL_PATH: path,
        names.SERVER_ADDRESS: request.host,
        names.SERVER_PORT: peer.local[1],
        names.CLIENT_ADDRESS: peer.address,
        names.PEER_ADDRESS: peer.address,
        names.PEER_PORT: peer.port,
        names.PROTOCOL_VERSION: f"{request.version[0]}.{request.version[1]}"
        if request.version[0] == 1
        else str(request.version[0]),
    }
    if query:
        attributes[names.URL_QUERY] = redacted_query(query)
    if request.method not in names.KNOWN_METHODS:
        attributes[names.METHOD_ORIGINAL] = request.method[:64]
    if (agent := request.fields.get("user-agent")) is not None:
        attributes[names.USER_AGENT] = agent[:512]
    return attributes
