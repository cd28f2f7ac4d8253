"""A connection on a transport that only records: no sockets, every byte and every pause seen."""

import asyncio
import re
from collections.abc import Iterable

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.settings import ServingSettings
from tests.support.recording_transport import RecordingTransport
from tests.support.serving import Heard, RecordingHandler, get, until
from tests.support.smuggling import VECTORS, Vector


def connected(handler: RecordingHandler) -> tuple[Http1Connection, RecordingTransport]:
    connection = Http1Connection(Connections(handler, ServingSettings(), ManualClock()))
    transport = RecordingTransport()
    connection.connection_made(transport)
    return connection, transport


async def play(vector: Vector, pieces: Iterable[bytes]) -> tuple[list[Heard], bytes, bool]:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
        await asyncio.sleep(0)
    await until(lambda: connection.state_name != "exchange")
    await until(lambda: connection.state_name != "queued")
    connection.connection_lost(None)
    return handler.heard, transport.written, transport.closed or transport.half_closed


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if len(vector.raw) < 1500], ids=lambda vector: vector.name)
async def test_a_vector_byte_by_byte_is_understood_as_in_one_piece(vector: Vector) -> None:
    whole = await play(vector, [vector.raw])
    split = await play(vector, [bytes((byte,)) for byte in vector.raw])
    assert [(one.method, one.target, one.body) for one in whole[0]] == [
        (one.method, one.target, one.body) for one in vector.understood
    ]
    assert split[0] == whole[0]
    assert split[2] == whole[2] == (vector.then != "open")
    assert statuses(split[1]) == statuses(whole[1])


def statuses(answers: bytes) -> list[bytes]:
    """Of the final answers; whether a 100 comes before them depends on when the body does."""
    return [status for status in re.findall(rb"HTTP/1\.1 ([0-9]{3})", answers) if status != b"100"]


async def test_a_known_head_is_answered_in_one_write_without_a_task() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    tasks = asyncio.all_tasks()
    for _ in range(5):
        connection.data_received(get("/ready"))
        await asyncio.sleep(0)  # the outbox is emptied in the next turn of the loop
    assert len(transport.writes) == 5
    assert asyncio.all_tasks() == tasks
    connection.data_received(get("/ready") * 3)
    assert len(transport.writes) == 6
    assert handler.instants == 8
    assert len(handler.heard) == 8
    connection.connection_lost(None)


async def test_a_known_head_without_a_ready_answer_becomes_an_exchange() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for number in range(4):
        connection.data_received(get("/a"))
        await until(lambda number=number: len(handler.heard) == number + 1 and connection.state_name == "idle")
    assert transport.written.count(b"GET /a ") == 4
    connection.connection_lost(None)


async def test_the_peer_is_told_without_the_mapping_of_ipv4() -> None:
    connection, _ = connected(RecordingHandler())
    assert (connection.peer.address, connection.peer.port, connection.peer.local) == ("192.0.2.7", 5, ("127.0.0.1", 80))
    assert connection.peer.log_prefix == b'"client":"192.0.2.7"'
    connection.connection_lost(None)


async def test_a_full_transport_stops_reading_and_ready_answers_until_it_drains() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for _ in range(3):
        connection.data_received(get("/ready"))
    connection.pause_writing()
    assert not transport.reading
    connection.data_received(get("/ready") * 2)  # what was under way comes all the same
    assert handler.instants == 3
    assert connection.state_name == "queued"
    connection.resume_writing()
    await until(lambda: handler.instants == 5)
    assert transport.reading
    assert connection.state_name == "idle"
    connection.connection_lost(None)


async def test_a_connection_lost_twice_over_is_forgotten_once() -> None:
    connection, transport = connected(RecordingHandler())
    connection.kill()
    assert transport.closed
    connection.connection_lost(None)
    connection.kill()
    connection.sweep(10.0**9)
    assert connection.state_name == "closed"


async def test_one_turn_answers_no_more_than_a_burst() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    connection.data_received(get("/ready") * 200)
    assert handler.instants == ServingSettings().bounds.burst
    assert connection.state_name == "queued"
    await until(lambda: handler.instants == 200)
    assert connection.state_name == "idle"
    assert transport.written.count(b"GET /ready ") == 200
    connection.connection_lost(None)


async def test_each_head_has_its_own_time() -> None:
    handler, clock = RecordingHandler(), ManualClock()
    connection = Http1Connection(Connections(handler, ServingSettings(), clock))
    connection.connection_made(RecordingTransport())
    whole = get("/ready")
    connection.data_received(whole[:10])
    for _ in range(5):  # each rest of a head comes with the beginning of the next one
        clock.advance(8)
        connection.sweep(clock.monotonic())
        connection.data_received(whole[10:] + whole[:10])
        assert connection.state_name == "head"
    clock.advance(11)
    connection.sweep(clock.monotonic())
    assert connection.state_name == "lingering"
    assert (handler.instants, handler.refused[0].status) == (5, 408)
    connection.connection_lost(None)
