"""Ready answers that leave together, and never out of order."""

import asyncio

import pytest

from edgeproxy.serving.outbox import MOST, Outbox
from edgeproxy.serving.stream import Answer
from tests.support.serving import RecordingHandler, get
from tests.unit.serving.test_http1 import connected


class Connection:
    """Keeps what it was told to write."""

    def __init__(self) -> None:
        self.written: list[Answer] = []

    def write_ready(self, answer: Answer) -> None:
        self.written.append(answer)


async def test_answers_wait_for_the_next_turn_of_the_loop() -> None:
    outbox, one, other = Outbox(), Connection(), Connection()
    outbox.put(one, b"1")
    outbox.put(other, b"2")
    outbox.put(one, b"3")
    assert (one.written, other.written) == ([], [])
    await asyncio.sleep(0)
    assert (one.written, other.written) == ([b"1", b"3"], [b"2"])
    assert len(outbox) == 0


async def test_a_crowd_does_not_wait_for_its_last() -> None:
    outbox, one = Outbox(), Connection()
    for _ in range(MOST):
        outbox.put(one, b"x")
    assert len(one.written) == MOST


@pytest.mark.parametrize(
    "behind",
    [
        b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\r\n",
        b"GET /b HTTP/1.1\r\n\r\n",
        b"POST /c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
    ],
    ids=["another request", "a refusal", "a request with a body"],
)
async def test_what_a_connection_writes_otherwise_comes_after_its_ready_answers(behind: bytes) -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for _ in range(2):
        connection.data_received(get("/ready"))
        await asyncio.sleep(0)
    already = len(transport.writes)
    connection.data_received(get("/ready"))
    assert len(transport.writes) == already
    connection.data_received(behind)
    assert b"GET /ready" in transport.writes[already]
    connection.connection_lost(None)


async def test_an_answer_for_a_lost_connection_goes_nowhere() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for _ in range(2):
        connection.data_received(get("/ready"))
        await asyncio.sleep(0)
    already = len(transport.writes)
    connection.data_received(get("/ready"))
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert len(transport.writes) == already


async def test_closing_sends_what_was_answered_before() -> None:
    handler = RecordingHandler()
    connection, transport = connected(handler)
    for _ in range(2):
        connection.data_received(get("/ready"))
        await asyncio.sleep(0)
    already = len(transport.writes)
    connection.data_received(get("/ready"))
    connection.drain()
    assert len(transport.writes) == already + 1
    assert transport.closed
