"""Cancel a piece of work at its n-th wait, for every n: what `STYLE` asks of every driver."""

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def _cancelling(work: Coroutine[Any, Any, Any], at: int, cancel: Callable[[], object]) -> Generator[Any, Any, bool]:
    """Drive `work`; at its wait number `at` ask for the cancellation of the task that runs it. True when it got that far."""
    loop = asyncio.get_running_loop()
    waits = 0
    value: object = None
    error: BaseException | None = None
    while True:
        try:
            waited = work.throw(error) if error is not None else work.send(value)
        except StopIteration:
            return waits > at
        if waits == at:
            loop.call_soon(cancel)
        waits += 1
        value, error = None, None
        try:
            value = yield waited
        except BaseException as raised:
            error = raised


async def each_wait(work: Callable[[], Coroutine[Any, Any, Any]], after: Callable[[], Awaitable[None]]) -> AsyncIterator[int]:
    """Run `work()` again and again, cancelled at wait 0, 1, 2 … until it ends by itself; each run is followed by `after()`."""
    for at in range(10_000):
        task: asyncio.Task[bool] = asyncio.get_running_loop().create_task(cancelled_at(work(), at))
        try:
            got_there = await task
        except asyncio.CancelledError:
            got_there = True
        await after()
        yield at
        if not got_there:
            return
    raise AssertionError("the work never ends")


async def cancelled_at(work: Coroutine[Any, Any, Any], at: int) -> bool:
    """Run `work` and cancel it at its wait number `at`; False when it ended before it got that far."""
    task = asyncio.current_task()
    assert task is not None
    return await _cancelling(work, at, task.cancel)
