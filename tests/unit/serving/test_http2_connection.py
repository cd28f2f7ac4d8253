"""An HTTP/2 connection on a transport that only records: what is written when, and how it ends."""

import asyncio

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http2 import BACKLOG_BYTES, Http2Connection
from edgeproxy.serving.settings import Bounds, ServingSettings
from tests.support.http2_raw import read
from tests.support.http2_vectors import (
    AUTHORITY,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    OPENING,
    PING,
    PSEUDO,
    SCHEME,
    SETTINGS,
    block,
    frame,
    good,
    headers,
)
from tests.support.recording_transport import RecordingTransport
from tests.support.serving import RecordingHandler, until

READY = block(GET, SCHEME, AUTHORITY, (b":path", b"/ready/x"))


class Scene:
    def __init__(self, bounds: Bounds | None = None) -> None:
        self.clock = ManualClock()
        self.handler = RecordingHandler()
        self.shared = Connections(self.handler, ServingSettings(bounds=bounds or Bounds()), self.clock, scheme="https")
        self.connection, self.transport = Http2Connection(self.shared), RecordingTransport()
        self.connection.connection_made(self.transport)

    def feed(self, *frames: bytes) -> None:
        self.connection.data_received(b"".join(frames))

    async def turn(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def ready(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, READY)


async def test_the_answers_of_one_turn_are_one_write() -> None:
    scene = Scene()
    assert len(scene.transport.writes) == 1, "our settings go out at once"
    scene.feed(OPENING, *(ready(number) for number in range(10)))
    await scene.turn()
    assert len(scene.transport.writes) == 2
    assert len(read(scene.transport.written).ended) == 10
    assert scene.handler.instants == 10
    assert len({id(peer) for peer in scene.handler.peers}) == 1


async def test_the_first_block_says_that_there_is_no_table_and_no_other_does() -> None:
    scene = Scene()
    scene.feed(OPENING, ready(0), ready(1))
    await scene.turn()
    blocks = [payload for kind, _, _, payload in read(scene.transport.written).frames if kind == HEADERS]
    assert blocks[0] == b"\x20" + blocks[1]


@pytest.mark.parametrize("behind", [frame(PING, 0, 0, bytes(7)), good(), frame(DATA, 0, 9, b"x"), b"\xff" * 20])
async def test_whatever_is_behind_a_goodbye_in_the_same_bytes_changes_nothing(behind: bytes) -> None:
    scene = Scene()
    scene.feed(OPENING, frame(GOAWAY, 0, 0, bytes(8)), behind)
    assert scene.transport.closed
    scene.connection.connection_lost(None)
    assert read(scene.transport.written).goaways == [(NO_ERROR, 0)]
    assert scene.handler.heard == []


async def test_answers_to_pings_that_nobody_reads_stop_the_reading() -> None:
    scene = Scene()
    scene.feed(OPENING)
    await scene.turn()
    scene.connection.pause_writing()
    sent = 0
    while scene.transport.reading and sent < 4 * BACKLOG_BYTES:
        scene.clock.advance(1)
        scene.feed(*(frame(PING, 0, 0, bytes(8)) for _ in range(20)))
        sent += 20 * 17
        await scene.turn()
    assert sent <= BACKLOG_BYTES + 20 * 17
    scene.connection.resume_writing()
    assert scene.transport.reading


async def test_what_follows_a_fault_is_dropped_and_then_not_read() -> None:
    scene = Scene()
    scene.feed(OPENING, frame(SETTINGS, 0, 1))
    written = scene.transport.written
    for _ in range(40):
        if scene.transport.reading:
            scene.feed(bytes(16_384))
    assert not scene.transport.reading
    assert scene.transport.written == written
    scene.clock.advance(3)
    scene.shared.sweep()
    assert scene.transport.closed


async def test_an_idle_connection_that_drains_says_so_and_closes() -> None:
    scene = Scene()
    scene.feed(OPENING)
    scene.shared.drain()
    assert read(scene.transport.written).goaways == [(NO_ERROR, 2**31 - 1), (NO_ERROR, 0)]
    assert scene.transport.closed


async def test_uploads_share_what_the_connections_may_take_together() -> None:
    bounds = Bounds(connection_window_bytes=165_535, spare_window_bytes=150_000)
    scene = Scene(bounds)
    grants = []
    connections = [(scene.connection, scene.transport)]
    for _ in range(2):
        connection, transport = Http2Connection(scene.shared), RecordingTransport()
        connection.connection_made(transport)
        connections.append((connection, transport))
    for connection, transport in connections:
        connection.data_received(OPENING + headers(PSEUDO, flags=END_HEADERS) + frame(DATA, 0, 1, b"x"))
        await scene.turn()
        frames = read(transport.written).frames
        grants.append([int.from_bytes(payload, "big") for kind, _, stream, payload in frames if kind == 8 and stream == 0])
    assert grants == [[100_000], [50_000], []]
    for connection, _ in connections:
        connection.connection_lost(None)
    await until(lambda: scene.shared.windows.left == 150_000)


async def test_killing_ends_what_runs() -> None:
    scene = Scene()
    scene.feed(OPENING, headers(PSEUDO, flags=END_HEADERS))
    await scene.turn()
    assert scene.connection.state_name == "exchange"
    scene.shared.kill()
    assert scene.transport.closed
    scene.connection.connection_lost(None)
    await until(lambda: scene.connection.state_name == "closed")
    assert scene.handler.heard == []
