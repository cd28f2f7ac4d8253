"""Arbitrary frames at an HTTP/2 connection: it answers or ends, never breaks, and hears nothing but whole good requests."""

import asyncio
import itertools
import logging

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeproxy.clock import ManualClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http2 import Http2Connection
from edgeproxy.serving.settings import Bounds, ServingSettings
from tests.support.http2_raw import read
from tests.support.http2_vectors import AUTHORITY, GET, METHOD, OPENING, PATH, SCHEME, block, frame
from tests.support.recording_transport import RecordingTransport
from tests.support.serving import RecordingHandler

LINES = st.sampled_from(
    [GET, METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"5"), (b"x", b"y"), (b"cookie", b"a=b"), (b"x", b"a\r\nb")]
)
BLOCKS = st.one_of(
    st.just(block(GET, SCHEME, AUTHORITY, (b":path", b"/ready/x"))),
    st.just(block(METHOD, SCHEME, AUTHORITY, (b":path", b"/task"))),
    st.lists(LINES, max_size=7).map(lambda lines: block(*lines)),
    st.binary(max_size=20),
)
SMALL = (bytes(4), bytes(8), b"\0\0\0\x10", b"\0\4\0\0\0\5", b"hello")
PAYLOADS = st.one_of(BLOCKS, st.binary(max_size=20), st.sampled_from(SMALL))
FRAMES = st.builds(frame, st.integers(0, 17), st.sampled_from([0, 1, 4, 5, 8, 9, 13, 32, 36, 37]), st.integers(0, 9), PAYLOADS)
REQUESTS = st.builds(frame, st.just(1), st.sampled_from([4, 5]), st.sampled_from([1, 3, 5, 7, 9, 11]), BLOCKS)


async def play(raw: bytes, cuts: list[int]) -> None:
    handler = RecordingHandler()
    limits = ServingSettings(bounds=Bounds(streams=3))
    clock = ManualClock()
    shared = Connections(handler, limits, clock, scheme="https")
    connection, transport = Http2Connection(shared), RecordingTransport()
    connection.connection_made(transport)
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        connection.data_received(raw[start:end])
        await asyncio.sleep(0)
        shared.sweep()
    for _ in range(200):
        clock.advance(1)
        shared.sweep()
        await asyncio.sleep(0)
        if transport.closed:
            break
    assert transport.closed, "whatever it was, it is over some day"
    connection.connection_lost(None)
    seen = read(transport.written)
    assert all(one.target in ("/ready/x", "/task", "/smuggled") for one in handler.heard)
    assert all(int(dict(heads[-1]).get(b":status", b"200")) != 500 for heads in seen.heads.values())
    assert all(code != 2 for code, _ in seen.goaways)
    assert len(shared) == 0


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.one_of(FRAMES, REQUESTS), max_size=30), st.lists(st.integers(0, 2000), max_size=4))
def test_any_frames(frames: list[bytes], cuts: list[int]) -> None:
    logging.disable(logging.INFO)
    try:
        asyncio.run(play(OPENING + b"".join(frames), cuts))
    finally:
        logging.disable(logging.NOTSET)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    logging.disable(logging.INFO)
    try:
        asyncio.run(play(raw, []))
    finally:
        logging.disable(logging.NOTSET)
