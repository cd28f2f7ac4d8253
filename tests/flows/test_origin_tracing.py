"""The seam for telemetry: OpenTelemetry's instrumentation of aiohttp sees one client span for each try, and the origin sees
that span's id."""

from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from edgeproxy.errors import OriginMalformed
from tests.support.origin_client import ask, asking, whole
from tests.support.raw_origin import RawOrigin, always, answer, free_port, reads_then_closes


class Traced:
    """A provider that keeps its spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.configs = [create_trace_config(tracer_provider=self.provider)]


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.provider.shutdown()


async def test_one_client_span_and_exactly_one_traceparent(traced: Traced) -> None:
    fields = [("TraceParent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"), ("x-a", "1"), ("X-A", "2")]
    async with RawOrigin(always(answer(b"ok"))) as origin, asking(origin.url, trace_configs=traced.configs) as client:
        assert await whole(await client.fetch(ask("/a?", fields=fields))) == b"ok"
    [span] = traced.exporter.get_finished_spans()
    context = span.get_span_context()
    assert (span.kind, span.name) == (SpanKind.CLIENT, "GET")
    assert origin.heads == [
        b"GET /a? HTTP/1.1\r\nHost: www.example.org\r\nx-a: 1\r\nX-A: 2\r\n"
        b"traceparent: 00-%032x-%016x-%02x\r\n\r\n" % (context.trace_id, context.span_id, context.trace_flags)
    ]
    assert dict(span.attributes or {})["http.status_code"] == 200


async def test_each_try_is_a_span_of_its_own(traced: Traced) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with RawOrigin(reads_then_closes) as origin, asking(origin.url, trace_configs=traced.configs) as client:
        await whole(await client.fetch(ask("/1")))
        await whole(await client.fetch(ask("/2")))
    assert [span.status.status_code for span in traced.exporter.get_finished_spans()] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    traced.exporter.clear()
    async with RawOrigin(always(answer(b"ok"))) as origin, asking(dead, origin.url, trace_configs=traced.configs) as client:
        await whole(await client.fetch(ask("/3")))
    spans = traced.exporter.get_finished_spans()
    assert [dict(span.attributes or {})["http.url"] for span in spans] == [f"{dead}/3", f"{origin.url}/3"]


async def test_a_broken_answer_is_an_error_of_the_span(traced: Traced) -> None:
    async with RawOrigin(always(b"garbage\r\n\r\n")) as origin, asking(origin.url, trace_configs=traced.configs) as client:
        with pytest.raises(OriginMalformed):
            await client.fetch(ask("/"))
    [span] = traced.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("target", ["/|", "/a b".replace(" ", "%20"), "//x", "/%", "/[", "*", "/http://x:y/"])
async def test_odd_targets_survive_tracing(traced: Traced, target: str) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    async with RawOrigin(always(answer(b"ok"))) as origin, asking(origin.url, trace_configs=traced.configs) as client:
        assert await whole(await client.fetch(ask(target, method))) == b"ok"
    assert origin.heads[0].split(b" ")[1] == target.encode()
