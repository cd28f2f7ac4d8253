"""Spans of browsers on their way through the edge, as a real OTLP receiver gets them."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.telemetry import relay
from tests.support.edge import Answer, Client, running_edge, until
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.raw_origin import free_port
from tests.support.site import running_site
from tests.support.worker_files import placeholder_scripts

__all__ = ["placeholder_scripts"]
pytestmark = pytest.mark.usefixtures("placeholder_scripts")

TRACES = "/.edge/otlp/v1/traces"
TRACE, ROOT, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def request(**root: Any) -> dict[str, Any]:
    """Two spans, with more in them than may go on."""
    now = time.time_ns()
    times = {"startTimeUnixNano": str(now - 2_000_000), "endTimeUnixNano": str(now)}
    attributes = [
        {"key": "edge.cause", "value": {"stringValue": "network"}},
        {"key": "url.path", "value": {"stringValue": "/page"}},
        {"key": "user.id", "value": {"stringValue": "42"}},
    ]
    spans = [
        {"traceId": TRACE, "spanId": ROOT, "name": "edge.sw.recover", "kind": 2, "attributes": attributes, **times, **root},
        {
            "traceId": TRACE,
            "spanId": CHILD,
            "parentSpanId": ROOT,
            "name": "edge.sw.local",
            "kind": 1,
            **times,
            "status": {"code": 2, "message": "digest"},
            "events": [{"name": "tampered", "timeUnixNano": str(now)}],
        },
        {"traceId": "none", "spanId": CHILD, "name": "bad", **times},
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "payments"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": spans}]}]}


async def post(client: Client, content: object, **headers: str) -> Answer:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await client.ask(TRACES, "POST", data=data, headers={"Content-Type": "application/json", **headers})


async def test_the_collector_gets_exactly_what_may_go_on(tmp_path: Path) -> None:
    async with OtlpReceiver() as receiver, running_site() as site:
        config = f'otlp_endpoint = "{receiver.endpoint}"'
        async with running_edge(tmp_path, site.url, more=config) as (edge, client):
            answer = await post(client, request(), Origin=client.base)
            assert answer.status == 200
            assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"
            trace = await receiver.trace(lambda spans: len([each for each in spans if each.name.startswith("edge.sw")]) == 2)
            assert trace.drawn() == "edge.sw.recover SERVER\n  edge.sw.local INTERNAL !"
            root, child = trace.named("edge.sw.recover"), trace.named("edge.sw.local")
            assert (trace.trace_id, root.span_id, root.parent_id) == (TRACE, ROOT, "")
            common = {"edgeproxy.site": "*", "server.address": "127.0.0.1"}
            assert root.attributes == {"edge.cause": "network", "url.path": "/page", **common}
            assert child.attributes == common
            assert (child.message, [name for name, _ in child.events]) == ("digest", ["tampered"])
            assert root.resource["service.name"] == "edgeproxy-sw"
            assert root.resource["service.instance.id"] == "edge-1"
            assert "payments" not in str(receiver.spans)
            assert (await post(client, request(), traceparent=f"00-{TRACE}-{ROOT}-01")).status == 200

            for content, status in ((b"{", 400), (b"[]", 400), (b" " * 65_537, 413)):
                assert (await post(client, content)).status == status
            assert (await post(client, request(), Origin="https://evil.example")).status == 403
            assert (
                await client.ask(TRACES, "POST", data=b"{}", headers={"Content-Type": "application/x-protobuf"})
            ).status == 415
            assert (await client.ask(TRACES)).status == 405
            text = edge.backend.metrics().decode()
            assert 'edgeproxy_browser_spans_total{outcome="refused"} 2' in text

            async def sent() -> bool | None:
                return 'edgeproxy_browser_spans_total{outcome="sent"} 4' in edge.backend.metrics().decode() or None

            await until(sent)
        assert receiver.faults == []


async def test_without_a_collector_spans_go_nowhere(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url) as (edge, client):
        assert (await post(client, request())).status == 204
        assert (await post(client, b"{")).status == 204
        assert not edge.browsers.relay.is_open


async def test_where_nobody_is_traced_strangers_cannot_cause_traces(tmp_path: Path) -> None:
    async with OtlpReceiver() as receiver, running_site() as site:
        config = f'otlp_endpoint = "{receiver.endpoint}"\nsample_ratio = 0.0'
        async with running_edge(tmp_path, site.url, more=config) as (_, client):
            assert (await post(client, request())).status == 204
        assert receiver.posts == 0


async def test_a_dead_collector_costs_spans_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "QUEUED_REQUESTS", 2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")
    async with running_site() as site:
        config = f'otlp_endpoint = "http://127.0.0.1:{free_port()}"'
        async with running_edge(tmp_path, site.url, more=config) as (edge, client):
            answers = await asyncio.gather(*(post(client, request()) for _ in range(12)))
            assert {answer.status for answer in answers} == {200}
            assert any(json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "3" for answer in answers)
            assert 'edgeproxy_browser_spans_total{outcome="dropped"}' in edge.backend.metrics().decode()
            assert (await client.ask("/page")).status == 200
