"""An origin that is traced itself: each answer is a span of its own in the collector, below whoever asked (W3C Trace Context)."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.scripted import Way

SPAN = "origin.answer"


@contextmanager
def traced(endpoint: str) -> "Iterator[Tracer]":
    """`endpoint`: base URL of the collector."""
    provider = TracerProvider(resource=Resource({"service.name": "origin"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces"), schedule_delay_millis=100))
    try:
        yield Tracer(provider)
    finally:
        provider.shutdown()


class Tracer:
    """Makes ways whose answers are spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("tests.support.traced_origin")

    def __call__(self, way: Way) -> Way:
        async def answer(request: web.Request) -> web.StreamResponse:
            context = TraceContextTextMapPropagator().extract(dict(request.headers), None)
            with self._tracer.start_as_current_span(SPAN, context, SpanKind.SERVER) as span:
                response = await way(request)
                if response.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                return response

        return answer
