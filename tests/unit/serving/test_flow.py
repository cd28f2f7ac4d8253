"""Waiting for bytes and for room, with cancellation at each wait."""

import asyncio

import pytest

from edgeproxy.errors import ClientGone
from edgeproxy.serving.flow import PieceQueue, WriteGate

GONE = ClientGone("gone")


async def started(task: asyncio.Task[object]) -> None:
    """Let `task` come to its first wait."""
    await asyncio.sleep(0)
    assert not task.done()


def spawn(work: object) -> asyncio.Task[object]:
    return asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]


async def test_pieces_come_in_order_and_cut_to_the_limit() -> None:
    queue = PieceQueue()
    for piece in (b"abcdef", b"", b"gh"):
        queue.put(piece)
    queue.end()
    assert queue.size == 8
    assert [await queue.take(4) for _ in range(4)] == [b"abcd", b"ef", b"gh", b""]
    assert queue.size == 0


async def test_a_waiting_reader_is_woken_by_bytes_end_and_failure() -> None:
    for wake, expected in ((lambda queue: queue.put(b"a"), b"a"), (PieceQueue.end, b""), (lambda queue: queue.fail(GONE), GONE)):
        queue = PieceQueue()
        reader = spawn(queue.take())
        await started(reader)
        wake(queue)
        if expected is GONE:
            with pytest.raises(ClientGone):
                await reader
        else:
            assert await reader == expected


async def test_a_cancelled_reader_loses_nothing() -> None:
    queue = PieceQueue()
    reader = spawn(queue.take())
    await started(reader)
    reader.cancel()
    queue.put(b"a")
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await queue.take() == b"a"


async def test_two_readers_at_once_are_a_bug() -> None:
    queue = PieceQueue()
    reader = spawn(queue.take())
    await started(reader)
    with pytest.raises(RuntimeError):
        await queue.take()
    queue.end()
    assert await reader == b""


async def test_a_failure_after_the_end_changes_nothing() -> None:
    queue = PieceQueue()
    queue.put(b"a")
    queue.end()
    queue.fail(GONE)
    assert [await queue.take(), await queue.take()] == [b"a", b""]


async def test_everybody_passes_an_open_gate_and_waits_at_a_closed_one() -> None:
    gate = WriteGate()
    await gate.passed()
    gate.close()
    waiting = [spawn(gate.passed()) for _ in range(2)]
    for task in waiting:
        await started(task)
    gate.open()
    await asyncio.gather(*waiting)


async def test_a_gate_that_closes_again_before_the_waiter_ran_holds_it() -> None:
    gate = WriteGate()
    gate.close()
    waiter = spawn(gate.passed())
    await started(waiter)
    gate.open()
    gate.close()
    await started(waiter)
    gate.open()
    await waiter


async def test_a_failed_gate_tells_all_now_and_later() -> None:
    gate = WriteGate()
    gate.close()
    waiter, cancelled = spawn(gate.passed()), spawn(gate.passed())
    await started(waiter)
    cancelled.cancel()
    gate.fail(GONE)
    gate.fail(ClientGone("a later reason"))
    for attempt in (waiter, gate.passed()):
        with pytest.raises(ClientGone, match=r"^gone$"):
            await attempt
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not gate._waiters
