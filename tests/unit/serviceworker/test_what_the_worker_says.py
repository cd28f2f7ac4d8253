"""What the worker makes is understood on this side: spans by OpenTelemetry's own types, receipts as agreed, digests."""

import base64
import json
import re
import uuid
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from edgeproxy.caching.key import primary_key
from edgeproxy.ledger.digests import url_digest
from tests.support.node import need_node, run_node
from tests.support.sw_vectors import NOW, Log


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    need_node()
    made: dict[str, Any] = json.loads(run_node("test/emit.mjs"))
    return made


def _with_base64_ids(said: Any) -> Any:
    """OTLP writes ids in hex where protobuf's JSON has base64 (OTLP, "JSON Protobuf Encoding")."""
    if isinstance(said, list):
        return [_with_base64_ids(each) for each in said]
    if isinstance(said, dict):
        ids = said.keys() & {"traceId", "spanId", "parentSpanId"}
        encoded = {key: base64.b64encode(bytes.fromhex(said[key])).decode() for key in ids}
        return {**{key: _with_base64_ids(value) for key, value in said.items()}, **encoded}
    return said


def test_spans_are_an_otlp_request(said: dict[str, Any]) -> None:
    request = ParseDict(_with_base64_ids(said["otlp"]), ExportTraceServiceRequest())
    [resource] = request.resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"] == "edgeproxy-sw"
    root, cache, edge, mirror = resource.scope_spans[0].spans
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert {each.parent_span_id for each in (cache, edge, mirror)} == {root.span_id}
    assert {each.key: each.value.WhichOneof("value") for each in root.attributes}["edge.block"] == "int_value"
    assert (edge.kind, edge.status.code, cache.status.code) == (3, 2, 0)
    assert all(NOW * 1_000_000 < span.start_time_unix_nano < span.end_time_unix_nano for span in (root, cache, edge, mirror))


def test_receipts_have_the_agreed_form(said: dict[str, Any]) -> None:
    body = json.loads(said["receipts"])
    assert set(body) == {"token", "receipts"}
    assert len({uuid.UUID(each["id"]) for each in body["receipts"]}) == len(body["receipts"]) == 9
    for each in body["receipts"]:
        assert set(each) == {"id", "url", "source", "cause", "block", "served", "dest", "trace"}
        assert each["url"] == "https://www.example.org/news"
        assert each["source"] in ("cache", "edge", "mirror", "none")
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,31}", each["cause"])
        assert each["block"] is None or isinstance(each["block"], int)
        assert isinstance(each["served"], int)
        assert re.fullmatch(r"[0-9a-f]{32}", each["trace"])


def test_the_longest_receipts_fit_in_one_request(said: dict[str, Any]) -> None:
    assert len(said["longest"]) <= 16_384
    assert 1 < len(json.loads(said["longest"])["receipts"]) <= 20


def test_digests_of_urls_are_the_ledgers(said: dict[str, Any]) -> None:
    salt = Log().salt
    assert said["digests"] == {url: url_digest(salt, primary_key(url)).hex() for url in said["digests"]}
