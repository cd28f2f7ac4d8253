"""Spans from the handle to a real OTLP/HTTP receiver: the trees of docs/tracing.md, and a collector that is dead or slow."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from edgeproxy.origin.messages import Attempt
from edgeproxy.telemetry import names
from edgeproxy.telemetry.export import _NOISY, OncePerMinute
from edgeproxy.telemetry.trace_settings import tracing_settings
from edgeproxy.telemetry.tracing import Span, Tracing, open_tracing
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.web_app import listening

CALLER = "0af7651916cd43dd8448eb211c80319c"


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


def request(*lines: tuple[str, str]) -> Request:
    return Request("GET", "/page", "shop.example", "shop.example", (1, 1), Fields(lines))


def opened(endpoint: str, ratio: float = 1.0, **environ: str) -> Tracing:
    settings = tracing_settings(
        endpoint=endpoint, sample_ratio=ratio, node="edge-1", environ={"OTEL_RESOURCE_ATTRIBUTES": "host.name=h", **environ}
    )
    return open_tracing(settings)


@dataclass
class Origin:
    """An origin that keeps the request headers it saw."""

    url: str
    seen: list[dict[str, str]]


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as running:
        yield running


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    seen: list[dict[str, str]] = []

    async def answer(asked: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in asked.headers.items()})
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    async with listening(app) as url:
        yield Origin(url, seen)


@pytest.fixture(autouse=True)
def unmuted() -> None:
    """Each test hears its own first complaint of the exporter."""
    for name in _NOISY:
        for each in logging.getLogger(name).filters:
            if isinstance(each, OncePerMinute):
                each._next = -1.0


async def fetched(tracing: Tracing, span: Span, url: str, attempt: int = 1, **headers: str) -> int:
    """One try at an origin, as the origin client makes it."""
    context = Attempt("main", attempt)
    async with aiohttp.ClientSession(trace_configs=tracing.trace_configs()) as session:
        with span.current():
            async with session.get(url, headers=headers, trace_request_ctx=context) as response:
                await response.read()
                return response.status


async def test_a_miss(receiver: OtlpReceiver, origin: Origin) -> None:
    tracing = opened(receiver.endpoint)
    span = tracing.server_span(request(), Peer(), "shop")
    with span.child(names.LOOKUP, {names.PLAN: "Fetch", names.REASON: "miss"}):
        pass
    assert await fetched(tracing, span, f"{origin.url}/page?token=secret") == 200
    draft = Draft()
    append = tracing.append_span(span, draft)
    future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
    append.follow(future)
    span.end(200, size=5)
    with tracing.commit_span([draft, Draft()]):
        future.set_result(Block(17))
    await asyncio.sleep(0)
    trace = await receiver.trace(lambda spans: any(each.name == names.APPEND for each in spans))
    assert trace.drawn() == "GET shop SERVER\n  cache.lookup INTERNAL\n  GET CLIENT\n  ledger.append INTERNAL"
    assert trace.trace_id == span.trace_id

    client = trace.named("GET")
    port = int(origin.url.rpartition(":")[2])
    assert client.attributes == {
        "http.request.method": "GET",
        "url.full": f"{origin.url}/page?token=REDACTED",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "edgeproxy.origin": "main",
        "edgeproxy.origin.try": 1,
        "edgeproxy.connection.reused": False,
    }
    assert origin.seen[0]["traceparent"] == f"00-{trace.trace_id}-{client.span_id}-03"

    commit = await receiver.trace(lambda spans: any(each.name == names.COMMIT for each in spans))
    batch = commit.named(names.COMMIT)
    appended = trace.named(names.APPEND)
    assert commit.drawn() == "ledger.commit INTERNAL"
    assert [(link.trace_id, link.span_id) for link in batch.links] == [(trace.trace_id, appended.span_id)]
    assert [(link.trace_id, link.span_id) for link in appended.links] == [(batch.trace_id, batch.span_id)]
    assert appended.attributes[names.BLOCK_HEIGHT] == 17
    assert batch.attributes == {names.BATCH_SIZE: 2, names.BATCH_TRACED: 1}
    assert {key: batch.resource[key] for key in ("service.name", "service.instance.id", "host.name")} == {
        "service.name": "edgeproxy",
        "service.instance.id": "edge-1",
        "host.name": "h",
    }
    assert receiver.faults == []
    await tracing.stop()


async def test_a_hit_in_the_trace_of_its_caller(receiver: OtlpReceiver) -> None:
    tracing = opened(receiver.endpoint, ratio=0.000001)
    asked = request(("traceparent", f"00-{CALLER}-b7ad6b7169203331-01"), ("tracestate", "vendor=1"))
    assert tracing.samples_hit(asked)
    assert not tracing.samples_hit(request())
    span = tracing.server_span(asked, Peer(), "shop")
    found = {names.PLAN: "Serve", names.REASON: "fresh", names.BLOCK_HEIGHT: 17}
    with span.child(names.LOOKUP, found):
        pass
    with span.child(names.VERIFY, {names.BODY_LENGTH: 5}):
        pass
    span.end(200, size=5)
    await tracing.stop()
    (trace,) = receiver.traces()
    assert trace.drawn() == "GET shop SERVER\n  cache.lookup INTERNAL\n  body.verify INTERNAL"
    assert trace.trace_id == CALLER
    assert trace.named("GET shop").parent_id == "b7ad6b7169203331"
    assert trace.named("GET shop").trace_state == "vendor=1"


async def test_a_stale_answer_on_a_dead_origin(receiver: OtlpReceiver, unused_port: int) -> None:
    tracing = opened(receiver.endpoint)
    span = tracing.server_span(request(), Peer(), "shop")
    with span.child(names.LOOKUP, {names.PLAN: "Revalidate", names.REASON: "stale", names.BLOCK_HEIGHT: 17}):
        pass
    for attempt in (1, 2):
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetched(tracing, span, f"http://127.0.0.1:{unused_port}/page", attempt)
    with span.child(names.VERIFY, {names.BODY_LENGTH: 5, names.BLOCK_HEIGHT: 17}):
        pass
    span.update({names.PLAN: "ServeStale", names.REASON: "stale-origin-failed", names.BLOCK_HEIGHT: 17})
    span.end(200, size=5)
    await tracing.stop()
    (trace,) = receiver.traces()
    assert trace.drawn() == ("GET shop SERVER\n  cache.lookup INTERNAL\n  GET CLIENT !\n  GET CLIENT !\n  body.verify INTERNAL")
    first, second = trace.all_named("GET")
    assert first.attributes["error.type"] == second.attributes["error.type"] == "ClientConnectorError"
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert trace.named("GET shop").attributes[names.REASON] == "stale-origin-failed"


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_an_exchange_that_is_not_sampled_sends_its_trace_id_on_and_no_span(receiver: OtlpReceiver, origin: Origin) -> None:
    tracing = opened(receiver.endpoint, ratio=0.5)
    span = tracing.server_span(request(("traceparent", f"00-{CALLER}-b7ad6b7169203331-00")), Peer(), "shop")
    await fetched(tracing, span, f"{origin.url}/page", traceparent="00-bad-caller-00")
    span.end(200)
    assert origin.seen[0]["traceparent"] == span.traceparent
    assert span.traceparent.startswith(f"00-{CALLER}-")
    assert span.traceparent.endswith("-00")
    assert "b7ad6b7169203331" not in span.traceparent
    await tracing.stop()
    assert receiver.spans == []


async def test_outside_of_an_exchange_the_client_is_left_alone(receiver: OtlpReceiver, origin: Origin) -> None:
    tracing = opened(receiver.endpoint)
    async with aiohttp.ClientSession(trace_configs=tracing.trace_configs()) as session, session.get(origin.url) as response:
        assert response.status == 200
    assert "traceparent" not in origin.seen[0]
    await tracing.stop()
    assert receiver.spans == []


async def test_a_client_span_nests_under_the_child_that_is_current(receiver: OtlpReceiver, origin: Origin) -> None:
    tracing = opened(receiver.endpoint)
    span = tracing.background_span(names.REVALIDATE, None, "shop")
    with span.child(names.LOOKUP):
        async with aiohttp.ClientSession(trace_configs=tracing.trace_configs()) as session, session.get(origin.url) as response:
            assert response.status == 200
    span.end()
    await tracing.stop()
    (trace,) = receiver.traces()
    assert trace.drawn() == "cache.revalidate INTERNAL\n  cache.lookup INTERNAL\n    GET CLIENT"


async def test_the_environment_names_the_collector(receiver: OtlpReceiver) -> None:
    tracing = opened("http://127.0.0.1:9", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_SERVICE_NAME="front")
    tracing.server_span(request(), Peer(), "shop").end(200)
    await tracing.stop()
    assert [span.resource["service.name"] for span in receiver.spans] == ["front"]


def ended(tracing: Tracing, count: int) -> None:
    """So many exchanges begin and end."""
    for _ in range(count):
        tracing.server_span(request(), Peer(), "shop").end(200)


@pytest.mark.parametrize("fault", ["refuses", "hangs", "answers 503"])
async def test_a_bad_collector_never_slows_serving(
    receiver: OtlpReceiver, unused_port: int, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.hold = fault == "hangs"
    receiver.status = 503
    tracing = opened(f"http://127.0.0.1:{unused_port}" if fault == "refuses" else receiver.endpoint)
    with caplog.at_level(logging.WARNING, "opentelemetry"):
        ended(tracing, 6000)  # more than the queue holds: who waited for the collector would never be done
        async with asyncio.timeout(30):
            await tracing.stop()
    assert len(caplog.records) <= 1


async def test_the_loop_turns_while_spans_are_exported(receiver: OtlpReceiver) -> None:
    """The receiver runs in this loop, and answers nobody before the loop has turned a thousand times with a post under way."""
    receiver.hold = True
    tracing = opened(receiver.endpoint)
    ended(tracing, 500)
    await receiver.until(lambda _: receiver.posts > 0)
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert receiver.spans == []
    receiver.let_go()
    assert len(await receiver.until(lambda spans: len(spans) >= 500)) == 500
    await tracing.stop()
