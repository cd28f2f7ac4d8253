"""Heads over HTTP/2: which fields, which end. Read back by the library `hpack`."""

import hpack
import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.serving.framing import BodyMode
from edgeproxy.serving.http2_response import ResponseBlock, interim_block, response_block
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits
from edgeproxy.wire.http2 import parse_request, websocket_accept
from edgeproxy.wire.messages import Request


def asked(method: str = "GET", *more: tuple[bytes, bytes]) -> Request:
    lines = ((b":method", method.encode()), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/"), *more)
    return parse_request(lines, Limits(), ended=True, scheme="https")


def websocket() -> Request:
    lines = (
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/"),
    )
    return parse_request(lines, Limits(), ended=False, scheme="https", websocket_key="key")


def lines_of(block: bytes) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in hpack.Decoder().decode(block)]


@pytest.mark.parametrize(
    ("method", "status", "length", "mode", "stated"),
    [
        ("GET", 200, 5, BodyMode.LENGTH, ["5"]),
        ("GET", 200, 0, BodyMode.LENGTH, ["0"]),
        ("GET", 200, None, BodyMode.CHUNKED, []),
        ("HEAD", 200, 5, BodyMode.NONE, ["5"]),
        ("HEAD", 200, None, BodyMode.NONE, ["77"]),
        ("HEAD", 204, 5, BodyMode.NONE, []),
        ("GET", 204, None, BodyMode.NONE, []),
        ("GET", 304, None, BodyMode.NONE, ["77"]),
    ],
)
def test_content_length_is_stated_as_over_http_1(
    method: str, status: int, length: int | None, mode: BodyMode, stated: list[str]
) -> None:
    head: ResponseBlock = response_block(asked(method), status, Fields((("Content-Length", "77"), ("X", "1"))), length)
    lines = lines_of(head.block)
    assert lines[0] == (":status", str(status))
    assert head.mode is mode
    assert [value for name, value in lines if name == "content-length"] == stated
    assert ("x", "1") in lines


@pytest.mark.parametrize("status", [100, 199, 1000])
def test_only_final_statuses(status: int) -> None:
    with pytest.raises(ValueError):
        response_block(asked(), status, Fields(), None)


def test_trailers_only_for_those_who_want_them() -> None:
    assert not response_block(asked(), 200, Fields(), None).with_trailers
    assert response_block(asked("GET", (b"te", b"trailers")), 200, Fields(), None).with_trailers
    assert not response_block(asked("GET", (b"te", b"trailers")), 200, Fields(), 5).with_trailers


def test_an_interim_head() -> None:
    block = interim_block(103, Fields((("Link", "</a>"), ("Connection", "close"))))
    assert lines_of(block) == [(":status", "103"), ("link", "</a>")]


def test_a_switch_becomes_200() -> None:
    fields = Fields((("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", websocket_accept("key"))))
    head = response_block(websocket(), 101, fields.plus(("Sec-WebSocket-Protocol", "chat")), None)
    assert (lines_of(head.block), head.switches) == ([(":status", "200"), ("sec-websocket-protocol", "chat")], True)


def test_a_switch_that_nobody_asked_for_or_nobody_proved_is_none() -> None:
    with pytest.raises(ValueError):
        response_block(asked(), 101, Fields(), None)
    for status, fields in ((101, Fields((("Sec-WebSocket-Accept", "x"),))), (200, Fields()), (204, Fields())):
        with pytest.raises(RequestRefused) as refused:
            response_block(websocket(), status, fields, None)
        assert refused.value.status == 502
    assert lines_of(response_block(websocket(), 403, Fields(), 0).block)[0] == (":status", "403")
