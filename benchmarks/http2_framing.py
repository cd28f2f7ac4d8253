"""The framing layer by itself: CPU for one request and its answer of 10 KB, for the libraries h2 and jh2 and for our own.

`python -m benchmarks.http2_framing`. No sockets, no TLS, no handler: the bytes of a browser-like client go in, those of answers
come out, in batches of ten streams as in one read. jh2 is measured where it is installed. Compare only within one run.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection

from edgeproxy.clock import SystemClock
from edgeproxy.serving.http2_budget import Budget
from edgeproxy.serving.http2_engine import Http2Engine
from edgeproxy.serving.http2_framing import FramingLimits, HeaderBlock
from edgeproxy.wire.hpack import encode_fields, encode_status

BATCH = 10
BATCHES = 300
ROUNDS = 5
BODY = bytes(10_240)

REQUEST = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "www.example.org"),
    (":path", "/assets/site.css"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"),
    ("accept", "text/css,*/*;q=0.1"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("referer", "https://www.example.org/"),
    ("cookie", "session=0123456789abcdef0123456789abcdef"),
]
RESPONSE = [
    ("cache-control", "max-age=600"),
    ("content-type", "text/css"),
    ("etag", '"33a64df551425fcc55e4d42a148795d9f25f89d4"'),
    ("date", "Wed, 25 Nov 2026 22:26:55 GMT"),
    ("repr-digest", "sha-256=:WIFtRK75VzYeq+9W7fJp5yfF64vIL+l5mEEE0uHxQ3U=:"),
    ("via", "1.1 edgeproxy"),
    ("content-length", str(len(BODY))),
    ("age", "12"),
    ("cache-status", "edgeproxy;hit;ttl=588;detail=fresh"),
]


def conversation() -> tuple[bytes, list[bytes]]:
    """What a client sends first, and its batches of requests; windows are wide open."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.increment_flow_control_window(2**31 - 1 - 65_535)
    opening = client.data_to_send() + b"\0\0\6\4\0\0\0\0\0" + b"\0\4\x7f\xff\xff\xff"
    batches = []
    client.remote_settings[3] = 2**31 - 1
    client.remote_settings.acknowledge()
    for number in range(BATCHES):
        for step in range(BATCH):
            client.send_headers(2 * (number * BATCH + step) + 1, REQUEST, end_stream=True)
        batches.append(client.data_to_send())
    return opening, batches


class _Answers:
    """Answers as the connection does for a ready hit: the block is made once."""

    def __init__(self) -> None:
        self.engine = Http2Engine(self, FramingLimits(128, 262_144, 32_768, 65_536), Budget(SystemClock().monotonic))
        self.block = encode_status(200) + encode_fields(RESPONSE)

    def on_request(self, stream: int, block: HeaderBlock, *, ended: bool) -> None:
        self.engine.head(stream, self.block, ended=False)
        self.engine.data(stream, BODY, ended=True)

    def on_data(self, stream: int, data: bytes, *, ended: bool) -> None: ...
    def on_trailers(self, stream: int, block: HeaderBlock) -> None: ...
    def on_reset(self, stream: int, code: int, *, by_client: bool) -> None: ...
    def on_window(self, stream: int) -> None: ...
    def on_farewell(self) -> None: ...


def own() -> Callable[[bytes], bytes]:
    answers = _Answers()

    def turn(data: bytes) -> bytes:
        answers.engine.receive(data)
        return answers.engine.take()

    return turn


def library(name: str) -> Callable[[bytes], bytes]:
    """h2, or jh2, which has the same interface; without validation, which would be ours."""
    config: Any = importlib.import_module(f"{name}.config")
    connections: Any = importlib.import_module(f"{name}.connection")
    events: Any = importlib.import_module(f"{name}.events")
    options = dict.fromkeys(
        ("validate_inbound_headers", "normalize_inbound_headers", "validate_outbound_headers", "normalize_outbound_headers"),
        False,
    )
    server = connections.H2Connection(config.H2Configuration(client_side=False, header_encoding=None, **options))
    server.initiate_connection()
    lines = [(b":status", b"200"), *((key.encode(), value.encode()) for key, value in RESPONSE)]

    def turn(data: bytes) -> bytes:
        for event in server.receive_data(data):
            if isinstance(event, events.RequestReceived):
                server.send_headers(event.stream_id, lines)
                server.send_data(event.stream_id, BODY, end_stream=True)
        out: bytes = server.data_to_send()
        return out

    return turn


def measure(make: Callable[[], Callable[[bytes], bytes]], opening: bytes, batches: list[bytes]) -> float:
    """CPU microseconds for one request."""
    turn = make()
    turn(opening)
    begun = time.process_time()
    for batch in batches:
        turn(batch)
    return (time.process_time() - begun) / (BATCH * BATCHES) * 1e6


def main() -> None:
    opening, batches = conversation()
    ways: dict[str, Callable[[], Callable[[bytes], bytes]]] = {"own": own, "h2": lambda: library("h2")}
    if importlib.util.find_spec("jh2") is not None:
        ways["jh2"] = lambda: library("jh2")
    for name, make in ways.items():
        figures = [measure(make, opening, batches) for _ in range(ROUNDS)]
        print(f"{name:4} {min(figures):6.1f} best, {statistics.median(figures):6.1f} median, µs CPU for each request")


if __name__ == "__main__":
    main()
