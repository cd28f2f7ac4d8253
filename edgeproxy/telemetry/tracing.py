"""Traces as the exchange sees them: a handle for each exchange, and the decision who gets one that is recorded.

Owns: the interface, and its implementation for when tracing is off, which costs nothing and still knows the trace id that goes
into block and log. What is recorded through the SDK is in `recording`, which is imported only when there is an endpoint.
Must not: block, or fail an exchange; a span is never worth an answer.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgeproxy.telemetry.trace_settings import TracingSettings
from edgeproxy.telemetry.traceparent import RANDOM, Traceparent, traceparent_of
from edgeproxy.wire.messages import Request

if TYPE_CHECKING:
    import aiohttp

Attribute = str | bool | int | float
Attributes = Mapping[str, Attribute]

NONE: Final[Attributes] = {}


class Peer(Protocol):
    """What tracing reads of the client's connection."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def local(self) -> tuple[str, int]: ...


class Committed(Protocol):
    """What an append span takes from a block once it is durable."""

    @property
    def height(self) -> int: ...


class Outcome(Protocol):
    """A future, as far as `Span.follow` needs one; the result is a `Committed`."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None: ...


class Span:
    """The trace of one exchange. This class records nothing: every method is a cheap no-op, and only the ids are real.

    `sampled` says whether anybody will see it; guard with it what is costly to compute and only for the trace.
    """

    __slots__ = ("_parent", "_span_id", "_trace_id")

    sampled: bool = False

    def __init__(self, parent: Traceparent | None = None) -> None:
        self._parent = parent
        self._trace_id = "" if parent is None else parent.trace_id
        self._span_id = ""

    @property
    def trace_id(self) -> str:
        """32 hex digits: the caller's trace when its traceparent was valid, else a new one, made when first asked for."""
        if not self._trace_id:
            self._trace_id = f"{random.getrandbits(128) or 1:032x}"
        return self._trace_id

    @property
    def traceparent(self) -> str:
        """The field value to hand on: this span as parent, not recorded."""
        if not self._span_id:
            self._span_id = f"{random.getrandbits(64) or 1:016x}"
        flags = RANDOM if self._parent is None else self._parent.flags & RANDOM
        return f"00-{self.trace_id}-{self._span_id}-{flags:02x}"

    def child(self, name: str, attributes: Attributes = NONE) -> AbstractContextManager["Span"]:
        """A span under this one that is the current one inside the block; what is raised in the block is recorded and goes on."""
        return contextlib.nullcontext(self)

    def start_child(self, name: str, attributes: Attributes = NONE) -> "Span":
        """A span under this one, not made current, for work that ends elsewhere: its owner calls `end`."""
        return Span(self._parent)

    def current(self) -> AbstractContextManager["Span"]:
        """Make this span the parent of what the origin client does inside the block, tasks spawned there included."""
        return _current_for(self)

    def set(self, name: str, value: Attribute) -> None:
        """One attribute; a name out of `names`."""

    def update(self, attributes: Attributes) -> None:
        """Several attributes."""

    def fail(self, error: BaseException) -> None:
        """Mark the span as failed by `error`; it still has to end."""

    def follow(self, future: Outcome) -> None:
        """End the span when `future` is done: with the block's height, or failed."""

    def end(self, status: int | None = None, *, size: int | None = None) -> None:
        """End the span, once; later calls do nothing. `status`: what the client got; `size`: body bytes sent."""


_current: ContextVar[Span | None] = ContextVar("edgeproxy_span", default=None)


def current_span() -> Span | None:
    """The handle whose `current()` block runs here."""
    return _current.get()


@contextlib.contextmanager
def _current_for(span: Span) -> Iterator[Span]:
    token = _current.set(span)
    try:
        yield span
    finally:
        _current.reset(token)


class Tracing:
    """Tracing that is off. Built by `open_tracing`; the recording kind has the same methods."""

    enabled: bool = False

    def samples_hit(self, request: Request) -> bool:
        """Whether this hit is to be traced, decided before anything is made for it. Ask it last, when the hit is certain: a yes
        is remembered for the next `server_span` of the same request, so that the ratio is not applied twice."""
        return False

    def server_span(self, request: Request, peer: Peer, site: str) -> Span:
        """The span of one exchange, started now; its owner ends it. `site` is the configured name, never what a client sent."""
        return Span(traceparent_of(request.fields))

    def background_span(self, name: str, cause: Span | None, site: str) -> Span:
        """The root of a trace of its own, linked to the exchange that caused it and recorded when that one is."""
        return Span()

    def append_span(self, span: Span, draft: object) -> Span:
        """The span of one append to the ledger. Call it before `Sequencer.append(draft)`; then `follow` the future."""
        return Span()

    def commit_span(self, drafts: Sequence[object]) -> AbstractContextManager[object]:
        """The span of one batch, linked to the appends that it holds; none when no append is recorded. The sequencer's hook."""
        return contextlib.nullcontext()

    def trace_configs(self) -> list["aiohttp.TraceConfig"]:
        """For the origin client's `ClientSession(trace_configs=...)`: one client span a try, and traceparent sent on."""
        return []

    def flush(self) -> None:
        """Export what is queued, blocking; for tests and for commands that end."""

    async def stop(self, limit: float = 2.0) -> None:
        """Export what is queued for at most `limit` seconds, then give up."""


def open_tracing(settings: TracingSettings) -> Tracing:
    """Tracing as configured: off, with the SDK never imported, when there is no endpoint or nothing would ever be sampled."""
    if settings.endpoint is None or settings.sampling.never:
        return Tracing()
    from edgeproxy.telemetry.recording import RecordingTracing, otlp_processor

    return RecordingTracing(settings, otlp_processor(settings.endpoint))
