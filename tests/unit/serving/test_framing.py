"""How answers are delimited (RFC 9112 section 6, RFC 9110 sections 8.6, 9.3.2, 15)."""

import pytest

from edgeproxy.serving.framing import BodyMode, frame_response
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits, parse_request_head

GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEAD = GET.replace("GET", "HEAD")
OLD = "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
KEPT = "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"
CLOSING = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
UPGRADE = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

CASES = [
    # name, request, status, length, keep, mode, framing fields, kept
    ("length is known", GET, 200, 5, True, BodyMode.LENGTH, {"Content-Length": "5"}, True),
    ("length zero is known", GET, 200, 0, True, BodyMode.LENGTH, {"Content-Length": "0"}, True),
    ("length is unknown", GET, 200, None, True, BodyMode.CHUNKED, {"Transfer-Encoding": "chunked"}, True),
    ("1.0 knows no chunks", OLD, 200, None, True, BodyMode.UNTIL_CLOSE, {"Connection": "close"}, False),
    ("kept 1.0 with unknown length", KEPT, 200, None, True, BodyMode.UNTIL_CLOSE, {"Connection": "close"}, False),
    ("kept 1.0", KEPT, 200, 5, True, BodyMode.LENGTH, {"Content-Length": "5", "Connection": "keep-alive"}, True),
    ("1.0 closes by default", OLD, 200, 5, True, BodyMode.LENGTH, {"Content-Length": "5", "Connection": "close"}, False),
    ("the client closes", CLOSING, 200, 5, True, BodyMode.LENGTH, {"Content-Length": "5", "Connection": "close"}, False),
    ("the edge closes", GET, 200, 5, False, BodyMode.LENGTH, {"Content-Length": "5", "Connection": "close"}, False),
    ("HEAD tells the length", HEAD, 200, 5, True, BodyMode.NONE, {"Content-Length": "5"}, True),
    ("HEAD of unknown length", HEAD, 200, None, True, BodyMode.NONE, {}, True),
    ("204 has no length", GET, 204, 5, True, BodyMode.NONE, {}, True),
    ("304 has no body", GET, 304, 5, True, BodyMode.NONE, {}, True),
    ("205 has an empty body", GET, 205, 0, True, BodyMode.LENGTH, {"Content-Length": "0"}, True),
]


@pytest.mark.parametrize(("request_head", "status", "length", "keep", "mode", "fields", "kept"), [case[1:] for case in CASES])
def test_framing(
    request_head: str, status: int, length: int | None, keep: bool, mode: BodyMode, fields: dict[str, str], kept: bool
) -> None:
    request = parse_request_head(request_head.encode(), Limits())
    framing = frame_response(request, status, Fields((("ETag", '"1"'),)), length, keep_alive=keep)
    _, *lines = framing.head.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert dict(line.split(": ") for line in lines) == {"ETag": '"1"', **fields}
    assert (framing.mode, framing.keep_alive) == (mode, kept)


def test_101_switches_to_what_the_answer_names() -> None:
    request = parse_request_head(UPGRADE.encode(), Limits())
    framing = frame_response(request, 101, Fields((("Upgrade", "WebSocket"), ("Content-Length", "0"))), None, keep_alive=True)
    assert framing.head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    assert not framing.keep_alive


@pytest.mark.parametrize("head", [GET, OLD])
def test_101_without_being_asked_is_a_bug(head: str) -> None:
    with pytest.raises(ValueError):
        frame_response(parse_request_head(head.encode(), Limits()), 101, Fields(), None, keep_alive=True)


@pytest.mark.parametrize("status", [100, 103, 199, 1000, 0])
def test_a_final_response_has_a_final_status(status: int) -> None:
    with pytest.raises(ValueError):
        frame_response(parse_request_head(GET.encode(), Limits()), status, Fields(), 0, keep_alive=True)
