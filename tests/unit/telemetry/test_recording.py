"""What the SDK gets: who is sampled, what spans say, and how appends and batches are linked."""

import asyncio
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from edgeproxy.errors import ClientGone, OriginRefused
from edgeproxy.telemetry import names
from edgeproxy.telemetry.recording import RecordingTracing
from edgeproxy.telemetry.trace_settings import Sampling, TracingSettings
from edgeproxy.telemetry.tracing import Span
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Peer:
    address = "192.0.2.1"
    port = 4711
    local = ("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True)
class Draft:
    op: str = "store"


@dataclass(frozen=True, slots=True)
class Block:
    height: int


def request(*lines: tuple[str, str], method: str = "GET", target: str = "/a") -> Request:
    return Request(method, target, "shop.example", "shop.example", (1, 1), Fields(lines))


def from_parent(flags: str, *lines: tuple[str, str]) -> Request:
    return request(("traceparent", f"00-{TRACE}-{PARENT}-{flags}"), *lines)


class Recorder:
    """A tracing whose ended spans can be read, and whose luck is given."""

    def __init__(self, sampling: Sampling, luck: float = 0.5) -> None:
        self.exporter = InMemorySpanExporter()
        settings = TracingSettings("unused", sampling, "edgeproxy", "edge-1", {"host.name": "h"})
        self.tracing = RecordingTracing(settings, SimpleSpanProcessor(self.exporter), draw=lambda: luck)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def server(self, asked: Request) -> Span:
        return self.tracing.server_span(asked, Peer(), "shop")


SAMPLING = [
    pytest.param(Sampling(0.4), 0.3, None, True, id="no parent, the ratio says yes"),
    pytest.param(Sampling(0.4), 0.4, None, False, id="no parent, the ratio says no"),
    pytest.param(Sampling(1.0), 0.999, None, True, id="ratio 1 is everything"),
    pytest.param(Sampling(0.0), 0.0, None, False, id="ratio 0 is nothing"),
    pytest.param(Sampling(0.0), 0.0, "01", True, id="a sampled parent decides"),
    pytest.param(Sampling(1.0), 0.0, "00", False, id="a parent that is not sampled decides"),
    pytest.param(Sampling(1.0, follow_parent=False), 0.0, "00", True, id="traceidratio 1 asks no parent"),
    pytest.param(
        Sampling(0.01, follow_parent=False), 0.0, "01", False, id="traceidratio judges by the trace id, 0x8448... is high"
    ),
    pytest.param(
        Sampling(0.6, follow_parent=False), 0.9, "00", True, id="traceidratio judges by the trace id, 0x8448... is below 0.6"
    ),
]


@pytest.mark.parametrize(("sampling", "luck", "flags", "expected"), SAMPLING)
def test_who_is_sampled(sampling: Sampling, luck: float, flags: str | None, expected: bool) -> None:
    asked = request() if flags is None else from_parent(flags)
    assert Recorder(sampling, luck).server(asked).sampled is expected
    assert Recorder(sampling, luck).tracing.samples_hit(asked) is expected


def test_a_hit_that_was_sampled_is_not_drawn_for_again() -> None:
    luck = iter([0.0, 0.9, 0.9])
    recorder = Recorder(Sampling(0.1))
    recorder.tracing = RecordingTracing(
        TracingSettings("unused", Sampling(0.1), "e", "n", {}), SimpleSpanProcessor(recorder.exporter), draw=lambda: next(luck)
    )
    asked = request()
    assert recorder.tracing.samples_hit(asked)
    assert recorder.server(asked).sampled
    assert not recorder.server(asked).sampled


def test_promises_to_clients_that_went_away_are_bounded() -> None:
    recorder = Recorder(Sampling(1.0))
    for _ in range(3000):
        assert recorder.tracing.samples_hit(request())
    assert len(recorder.tracing._promised) <= 1024


def test_the_server_span_says_what_was_asked_and_answered() -> None:
    recorder = Recorder(Sampling(1.0))
    asked = from_parent("01", ("user-agent", "curl/8"), ("tracestate", "vendor=1"))
    span = recorder.server(asked)
    assert span.trace_id == TRACE
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-01")
    span.update({names.PLAN: "Fetch", names.REASON: "miss"})
    span.end(200, size=12)
    (ended,) = recorder.exporter.get_finished_spans()
    assert ended.name == "GET shop"
    assert ended.kind is SpanKind.SERVER
    assert ended.parent is not None
    assert f"{ended.parent.span_id:016x}" == PARENT
    assert ended.context.trace_state.to_header() == "vendor=1"
    assert dict(ended.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.body.size": 12,
        "url.scheme": "http",
        "url.path": "/a",
        "server.address": "shop.example",
        "server.port": 8080,
        "client.address": "192.0.2.1",
        "network.peer.address": "192.0.2.1",
        "network.peer.port": 4711,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "edgeproxy.site": "shop",
        "edgeproxy.plan": "Fetch",
        "edgeproxy.reason": "miss",
    }
    assert ended.status.status_code is StatusCode.UNSET


def test_an_unknown_method_does_not_become_a_name() -> None:
    recorder = Recorder(Sampling(1.0))
    recorder.server(request(method="BREW")).end(405)
    ended = recorder.spans()["HTTP shop"]
    assert ended.attributes["http.request.method"] == "_OTHER"
    assert ended.attributes["http.request.method_original"] == "BREW"


def test_the_query_is_kept_without_its_secrets() -> None:
    recorder = Recorder(Sampling(1.0))
    recorder.server(request(target="/a?page=2&token=abc")).end(200)
    attributes = recorder.spans()["GET shop"].attributes
    assert (attributes["url.path"], attributes["url.query"]) == ("/a", "page=2&token=REDACTED")


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (499, False), (500, True), (503, True)])
def test_only_our_own_errors_fail_a_server_span(status: int, failed: bool) -> None:
    recorder = Recorder(Sampling(1.0))
    recorder.server(request()).end(status)
    ended = recorder.spans()["GET shop"]
    assert (ended.status.status_code is StatusCode.ERROR) is failed
    assert ended.attributes.get("error.type") == (str(status) if failed else None)


def test_an_error_keeps_its_type_over_the_status() -> None:
    recorder = Recorder(Sampling(1.0))
    span = recorder.server(request())
    span.fail(OriginRefused("origin refused the connection", origin="127.0.0.1:1"))
    span.end(503)
    span.end(200)
    span.set(names.REASON, "too late")
    span.fail(ValueError("too late"))
    (ended,) = recorder.exporter.get_finished_spans()
    assert ended.attributes["error.type"] == "OriginRefused"
    assert ended.attributes["http.response.status_code"] == 503
    assert ended.status.description == "origin refused the connection"
    (event,) = ended.events
    assert event.attributes["exception.message"] == "origin refused the connection (origin=127.0.0.1:1)"
    assert "exception.stacktrace" not in event.attributes


def test_a_client_that_went_away_does_not_fail_the_span() -> None:
    recorder = Recorder(Sampling(1.0))
    span = recorder.server(request())
    span.fail(ClientGone("client closed"))
    span.end(499)
    ended = recorder.spans()["GET shop"]
    assert ended.attributes["error.type"] == "ClientGone"
    assert ended.status.status_code is StatusCode.UNSET


def test_children_nest_and_record_what_is_raised() -> None:
    recorder = Recorder(Sampling(1.0))
    span = recorder.server(request())
    with pytest.raises(ZeroDivisionError), span.child(names.LOOKUP, {names.REASON: "miss"}) as lookup:  # noqa: SIM117
        with lookup.child(names.VERIFY):
            raise ZeroDivisionError
    span.end(200)
    spans = recorder.spans()
    assert spans[names.VERIFY].parent.span_id == spans[names.LOOKUP].context.span_id
    assert spans[names.LOOKUP].parent.span_id == spans["GET shop"].context.span_id
    assert spans[names.VERIFY].attributes["error.type"] == "ZeroDivisionError"
    assert "exception.stacktrace" in spans[names.VERIFY].events[0].attributes
    assert spans["GET shop"].status.status_code is StatusCode.UNSET


async def test_a_cancelled_child_ends() -> None:
    recorder = Recorder(Sampling(1.0))
    span = recorder.server(request())
    entered = asyncio.Event()

    async def wait() -> None:
        with span.child(names.VERIFY):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(wait())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert recorder.spans()[names.VERIFY].attributes["error.type"] == "CancelledError"


@pytest.mark.parametrize("sampled", [True, False])
def test_a_background_revalidation_is_a_trace_of_its_own_linked_to_its_cause(sampled: bool) -> None:
    recorder = Recorder(Sampling(0.5), luck=0.1 if sampled else 0.9)
    cause = recorder.server(request())
    again = recorder.tracing.background_span(names.REVALIDATE, cause, "shop")
    assert again.sampled is sampled
    again.end(304)
    if sampled:
        ended = recorder.spans()[names.REVALIDATE]
        assert ended.parent is None
        assert again.trace_id != cause.trace_id
        assert [f"{link.context.trace_id:032x}" for link in ended.links] == [cause.trace_id]


async def test_appends_and_their_batch_are_linked_both_ways() -> None:
    recorder = Recorder(Sampling(0.5), luck=0.0)
    server = recorder.server(request())
    drafts = [Draft(), Draft(), Draft("purge")]
    first = recorder.tracing.append_span(server, drafts[0])
    second = recorder.tracing.append_span(server, drafts[2])
    unsampled = recorder.tracing.append_span(Span(), drafts[1])
    assert not unsampled.sampled
    future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
    first.follow(future)
    with recorder.tracing.commit_span(drafts):
        pass
    future.set_result(Block(17))
    await asyncio.sleep(0)
    second.end()
    batch = recorder.spans()[names.COMMIT]
    assert batch.parent is None
    assert dict(batch.attributes) == {"edgeproxy.batch.size": 3, "edgeproxy.batch.traced": 2}
    appends = [span for span in recorder.exporter.get_finished_spans() if span.name == names.APPEND]
    assert {link.context.span_id for link in batch.links} == {span.context.span_id for span in appends}
    for append in appends:
        assert [link.context.span_id for link in append.links] == [batch.context.span_id]
    assert dict(appends[0].attributes) == {"edgeproxy.block.op": "store", "edgeproxy.block.height": 17}
    assert appends[1].attributes["edgeproxy.block.op"] == "purge"
    assert recorder.tracing._appends == {}


@pytest.mark.parametrize("fate", ["failed", "cancelled"])
async def test_an_append_that_never_became_a_block_ends_too(fate: str) -> None:
    recorder = Recorder(Sampling(1.0))
    append = recorder.tracing.append_span(recorder.server(request()), Draft())
    future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
    append.follow(future)
    if fate == "failed":
        future.set_exception(OriginRefused("no"))
    else:
        future.cancel()
    await asyncio.sleep(0)
    assert recorder.spans()[names.APPEND].attributes.get("error.type") == ("OriginRefused" if fate == "failed" else None)
    assert recorder.tracing._appends == {}


def test_a_batch_without_traced_appends_is_no_span() -> None:
    recorder = Recorder(Sampling(1.0))
    with recorder.tracing.commit_span([Draft()]):
        pass
    other = Draft()
    append = recorder.tracing.append_span(recorder.server(request()), other)
    with recorder.tracing.commit_span([Draft()]):  # equal, but not the one that was appended
        pass
    append.end()
    assert names.COMMIT not in recorder.spans()


def test_the_resource_says_who_speaks() -> None:
    recorder = Recorder(Sampling(1.0))
    recorder.server(request()).end(200)
    attributes = recorder.spans()["GET shop"].resource.attributes
    assert attributes["service.name"] == "edgeproxy"
    assert attributes["service.instance.id"] == "edge-1"
    assert attributes["host.name"] == "h"
