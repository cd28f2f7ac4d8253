"""The table of malformed HTTP/2 at the connection, on a transport that only records."""

import asyncio
from collections.abc import Iterable

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http2 import Http2Connection
from edgeproxy.serving.settings import ServingSettings
from tests.support.http2_raw import Seen, read
from tests.support.http2_vectors import NO_ERROR, OPENING, VECTORS, Vector, good
from tests.support.recording_transport import RecordingTransport
from tests.support.serving import Heard, RecordingHandler, until


async def play(pieces: Iterable[bytes]) -> tuple[list[Heard], Seen, Http2Connection]:
    handler = RecordingHandler()
    connection = Http2Connection(Connections(handler, ServingSettings(), ManualClock(), scheme="https"))
    transport = RecordingTransport()
    connection.connection_made(transport)
    connection.data_received(OPENING)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    connection.data_received(good())
    await until(lambda: connection.state_name != "exchange")
    await asyncio.sleep(0)
    connection.connection_lost(None)
    return handler.heard, read(transport.written), connection


def judge(vector: Vector, heard: list[Heard], seen: Seen) -> None:
    """Nothing of it was understood as a whole request, and the client was told in the right way."""
    next_heard = [Heard("GET", "/next")]
    if vector.then == "goaway":
        assert [code for code, _ in seen.goaways] == [vector.code]
        assert 101 not in seen.heads
        assert [one for one in heard if one != next_heard[0]] == []
        return
    assert seen.goaways == []
    assert seen.status(101) == 200
    expected = next_heard * (2 if 1 in seen.ended and vector.then == "reset" else 1)
    assert heard in (expected, next_heard)
    if vector.then == "reset":
        assert seen.resets.get(1) == vector.code
    else:
        assert seen.status(1) == vector.code
        assert seen.resets.get(1, NO_ERROR) == NO_ERROR


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_a_vector_is_understood_by_nobody(vector: Vector) -> None:
    heard, seen, _ = await play([vector.raw])
    judge(vector, heard, seen)


# What comes behind an end meets a stream that is over, when it comes late enough: a fault of the whole connection then.
_SPLIT = [one for one in VECTORS if len(one.raw) < 600 and not one.name.endswith("-behind-the-end")]


@pytest.mark.parametrize("vector", _SPLIT, ids=lambda vector: vector.name)
async def test_a_vector_byte_by_byte_ends_as_in_one_piece(vector: Vector) -> None:
    heard, seen, _ = await play([bytes((byte,)) for byte in vector.raw])
    judge(vector, heard, seen)


def test_the_table_is_large_and_names_are_unique() -> None:
    assert len(VECTORS) >= 60
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)
