"""What of a browser's spans may go on."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import RequestRefused
from edgeproxy.telemetry.browser_spans import MAX_ATTRIBUTES, MAX_PAST, MAX_SPANS, MAX_TEXT, BrowserSpan, strip

NOW = 1_764_000_000_000_000_000
SECOND = 10**9


def span(**changed: Any) -> dict[str, Any]:
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "edge.sw.recover",
        "kind": 2,
        "startTimeUnixNano": str(NOW - SECOND),
        "endTimeUnixNano": str(NOW),
        "attributes": [],
        "status": {"code": 0},
        "flags": 257,
        **changed,
    }


def body(*spans: dict[str, Any], **resource: Any) -> bytes:
    scope = {"scope": {"name": "evil"}, "spans": list(spans)}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}], "more": 1}).encode()


def only(**changed: Any) -> BrowserSpan:
    stripped = strip(body(span(**changed)), NOW)
    assert stripped.refused == 0
    return stripped.spans[0]


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_a_span_in_its_form_goes_on() -> None:
    read = only(parentSpanId="00f067aa0ba902b7", status={"code": 2, "message": "network"})
    assert (read.trace_id, read.span_id, read.parent) == (
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        0xF067AA0BA902B7,
    )
    assert (read.name, read.kind, read.start, read.end) == ("edge.sw.recover", 2, NOW - SECOND, NOW)
    assert (read.failed, read.message) == (True, "network")
    assert only().parent is None


@pytest.mark.parametrize(
    "changed",
    [
        {"traceId": "0" * 32},
        {"traceId": "0AF7651916CD43DD8448EB211C80319C"},
        {"traceId": "0af7"},
        {"spanId": "0" * 16},
        {"spanId": "x" * 16},
        {"parentSpanId": "0" * 16},
        {"parentSpanId": "1"},
        {"name": ""},
        {"name": "a" * 65},
        {"name": "GET /page?token=1"},
        {"name": "a\nb"},
        {"startTimeUnixNano": str(NOW + SECOND)},
        {"startTimeUnixNano": "-1"},
        {"startTimeUnixNano": "1e18"},
        {"startTimeUnixNano": str(NOW - MAX_PAST - 1), "endTimeUnixNano": str(NOW - MAX_PAST)},
        {"endTimeUnixNano": str(NOW + 3600 * SECOND)},
        {"startTimeUnixNano": str(NOW - 7200 * SECOND)},
        {"endTimeUnixNano": "9" * 20},
    ],
)
def test_one_that_is_not_is_counted_and_the_others_go_on(changed: dict[str, Any]) -> None:
    stripped = strip(body(span(**changed), span()), NOW)
    assert (len(stripped.spans), stripped.refused) == (1, 1)


def test_attributes_are_those_that_the_edge_knows() -> None:
    read = only(
        attributes=[
            attribute("edge.cause", stringValue="status-503"),
            attribute("edge.block", intValue="17"),
            attribute("edge.left", intValue="-1"),
            attribute("edge.share", doubleValue=0.5),
            attribute("edge.is_late", boolValue=True),
            attribute("url.path", stringValue="/page?token=secret"),
            attribute("url.full", stringValue="https://user:pass@example.org/p?token=secret&a=1#x"),
            attribute("http.request.method", stringValue="GET x"),
            attribute("service.name", stringValue="payments"),
            attribute("edgeproxy.site", stringValue="another"),
            attribute("user.email", stringValue="a@example.org"),
            attribute("edge.Upper", stringValue="x"),
            attribute("edge.", stringValue="x"),
            attribute("edge.list", arrayValue={"values": []}),
            attribute("error.type", stringValue="a\x1b[31m" + "x" * 1000),
        ]
    )
    text = read.attributes.pop("error.type")
    assert isinstance(text, str)
    assert text.startswith("a[31mxxx")
    assert len(text) < MAX_TEXT
    assert read.attributes == {
        "edge.cause": "status-503",
        "edge.block": 17,
        "edge.left": -1,
        "edge.share": 0.5,
        "edge.is_late": True,
        "url.path": "/page",
        "url.full": "https://example.org/p?token=REDACTED&a=1",
    }


def test_everything_is_bounded() -> None:
    many = [attribute(f"edge.a{number}", intValue=number) for number in range(100)]
    events = [{"timeUnixNano": str(NOW), "name": "found", "attributes": many}, {"name": "?"}] * 20
    links = [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331"}, {"traceId": "x"}] * 20
    read = only(attributes=many, events=events, links=links, kind=9)
    assert len(read.attributes) == MAX_ATTRIBUTES
    assert len(read.events) == 4
    assert all(len(event.attributes) == MAX_ATTRIBUTES for event in read.events)
    assert read.links == ((0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331),) * 2
    assert read.kind == 1
    stripped = strip(body(*[span()] * (MAX_SPANS + 5)), NOW)
    assert (len(stripped.spans), stripped.refused) == (MAX_SPANS, 5)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"\xff", b'{"resourceSpans":{}}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}']
)
def test_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        strip(text, NOW)
    assert refused.value.status == 400


@given(st.binary(max_size=200), st.recursive(st.none() | st.integers() | st.text(max_size=8), st.lists))
def test_whatever_comes_is_read_or_refused(data: bytes, value: Any) -> None:
    for text in (data, body(span(attributes=value)), body(span(startTimeUnixNano=value)), json.dumps(value).encode()):
        with contextlib.suppress(RequestRefused):
            strip(text, NOW)
