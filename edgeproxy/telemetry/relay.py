"""The relay of browsers' spans to the operator's collector: a thread of its own, with a bounded queue.

Owns: where they go (endpoint, headers and time-outs are those of the edge's own spans), under which resource, and how many may
wait. Must not judge spans (`browser_spans`), and never waits on the event loop. The SDK is imported only where there is a
collector.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from edgeproxy import __version__
from edgeproxy.clock import Clock
from edgeproxy.telemetry import names
from edgeproxy.telemetry.browser_spans import BrowserSpan, strip
from edgeproxy.telemetry.trace_settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SERVICE: Final = "edgeproxy-sw"
SCOPE: Final = "edgeproxy.sw"
QUEUED_REQUESTS: Final = 64
"""Requests whose spans wait for the collector; those that come then are dropped and counted."""
GATHERED_SPANS: Final = 512

Export = Callable[[Sequence["ReadableSpan"]], bool]
"""Send spans, blocking; False when they did not arrive."""


class Relay:
    """`wait`: seconds that a client should wait, by its address. `on_spans` is told of what became of spans: outcome and count.

    Both are called on the event loop but for the outcomes `sent` and `failed`, which come from the thread.
    """

    def __init__(self, settings: TracingSettings, clock: Clock, wait: Callable[[str], float]) -> None:
        self.wait = wait
        self.on_spans: Callable[[str, int], None] = lambda outcome, count: None
        self._settings = settings
        self._clock = clock
        self._queue: queue.Queue[list[ReadableSpan] | None] = queue.Queue(QUEUED_REQUESTS)
        self._thread: threading.Thread | None = None
        self._close: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether there is a collector; none where tracing is off, or where strangers may not cause traces."""
        return self._settings.endpoint is not None and not self._settings.sampling.never

    def start(self) -> None:
        """Be ready to send, where there is a collector."""
        if not self.is_open or self._thread is not None:
            return
        from edgeproxy.telemetry.export import otlp_exporter

        assert self._settings.endpoint is not None, "it is open"
        exporter = otlp_exporter(self._settings.endpoint)
        self._close = exporter.close
        self._thread = threading.Thread(target=self._run, args=(exporter.send,), name="edgeproxy-relay", daemon=True)
        self._thread.start()

    async def stop(self, limit: float = 2.0) -> None:
        """Send what waits for at most `limit` seconds, then give up; what is left then is lost."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._close()  # the collector does not answer: nothing will leave the queue in time
        loop_done = asyncio.get_running_loop().create_future()
        waiting = threading.Thread(target=_join, args=(thread, limit, asyncio.get_running_loop(), loop_done), daemon=True)
        waiting.start()
        await loop_done
        self._close()

    def post(self, body: bytes, *, site: str, host: str) -> int:
        """Take an OTLP request in JSON from a browser that shows `host` of `site`; answers how many spans were not taken.

        Raises RequestRefused for what is no such request.
        """
        stripped = strip(body, self._clock.now() * 1_000_000)
        dropped = stripped.refused
        self.on_spans("refused", stripped.refused)
        if stripped.spans and self._thread is not None:
            try:
                self._queue.put_nowait([self._readable(span, site, host) for span in stripped.spans])
            except queue.Full:
                self.on_spans("dropped", len(stripped.spans))
                dropped += len(stripped.spans)
        return dropped

    def _readable(self, span: BrowserSpan, site: str, host: str) -> "ReadableSpan":
        """In the form that the exporter takes."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(trace_id: int, span_id: int) -> SpanContext:
            return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))

        resource = {
            **self._settings.resource,
            names.SERVICE_NAME: SERVICE,
            names.SERVICE_VERSION: __version__,
            names.SERVICE_INSTANCE: self._settings.node,
        }
        return ReadableSpan(
            name=span.name,
            context=context(span.trace_id, span.span_id),
            parent=None if span.parent is None else context(span.trace_id, span.parent),
            resource=Resource(resource),
            attributes={**span.attributes, names.SITE: site, names.SERVER_ADDRESS: host},
            events=[Event(event.name, event.attributes, event.at) for event in span.events],
            links=[Link(context(*link)) for link in span.links],
            kind={1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT}[span.kind],
            status=Status(StatusCode.ERROR, span.message or None) if span.failed else Status(StatusCode.UNSET),
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=InstrumentationScope(SCOPE, __version__),
        )

    def _run(self, export: Export) -> None:
        ended = False
        while not ended:
            spans = self._queue.get()
            if spans is None:
                return
            # What came meanwhile goes along, so that a slow collector is asked less often, not more.
            while len(spans) < GATHERED_SPANS:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                spans += more
            self.on_spans("sent" if export(spans) else "failed", len(spans))


def _join(thread: threading.Thread, limit: float, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    thread.join(limit)

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop closed: nobody waits any more
        loop.call_soon_threadsafe(tell)
