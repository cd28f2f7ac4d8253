"""Reading ahead: nothing is lost or read twice, whether the body ends, breaks off, is long, or is slow."""

import asyncio
from typing import cast

import pytest

from edgeproxy.errors import OriginError, OriginTruncated
from edgeproxy.exchange.ahead import ReadAhead
from edgeproxy.origin.messages import OriginResponse

PATIENCE = 10.0


class Body:
    """Gives what `steps` say: pieces, errors, and events to wait for."""

    def __init__(self, *steps: bytes | OriginError | asyncio.Event) -> None:
        self.steps = list(steps)
        self.closed = 0
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def read(self) -> bytes:
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, OriginError):
                raise step
            if isinstance(step, bytes):
                return step
            self.waiting.set()
            try:
                await step.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return b""

    async def close(self) -> None:
        self.closed += 1


def ahead_of(body: Body) -> ReadAhead:
    return ReadAhead(cast("OriginResponse", body))


async def rest(ahead: ReadAhead) -> list[bytes]:
    pieces = []
    while piece := await asyncio.wait_for(ahead.read(), PATIENCE):
        pieces.append(piece)
    return pieces


async def test_a_body_that_ends_is_taken_whole_and_read_again_in_order() -> None:
    body = Body(b"one", b"two", b"three")
    ahead = ahead_of(body)
    await ahead.look(100, PATIENCE)
    assert body.steps == []
    assert await rest(ahead) == [b"one", b"two", b"three"]


async def test_a_body_that_breaks_off_is_an_error_before_anything_is_sent_and_is_closed() -> None:
    body = Body(b"one", OriginTruncated("cut"))
    with pytest.raises(OriginTruncated):
        await ahead_of(body).look(100, PATIENCE)
    assert body.closed == 1


async def test_a_long_body_is_taken_up_to_the_limit_and_no_further() -> None:
    body = Body(b"one", b"two", OriginTruncated("cut"))
    ahead = ahead_of(body)
    await ahead.look(4, PATIENCE)
    assert [await ahead.read(), await ahead.read()] == [b"one", b"two"]
    with pytest.raises(OriginTruncated):
        await ahead.read()


async def test_a_slow_body_goes_on_from_the_read_that_was_under_way() -> None:
    more = asyncio.Event()
    body = Body(b"one", more, b"two")
    ahead = ahead_of(body)
    await ahead.look(100, 0.01)
    more.set()
    assert await rest(ahead) == [b"one", b"two"]


async def test_a_slow_body_that_breaks_off_later_is_an_error_to_its_reader() -> None:
    more = asyncio.Event()
    ahead = ahead_of(Body(b"one", more, OriginTruncated("cut")))
    await ahead.look(100, 0.01)
    more.set()
    assert await ahead.read() == b"one"
    with pytest.raises(OriginTruncated):
        await asyncio.wait_for(ahead.read(), PATIENCE)


async def test_closing_ends_the_read_that_is_under_way() -> None:
    body = Body(asyncio.Event())
    ahead = ahead_of(body)
    await ahead.look(100, 0.01)
    await ahead.close()
    await asyncio.wait_for(body.cancelled.wait(), PATIENCE)
    assert body.closed == 1


async def test_who_is_cancelled_while_looking_leaves_nothing_open() -> None:
    body = Body(b"one", asyncio.Event())
    looking = asyncio.get_running_loop().create_task(ahead_of(body).look(100, PATIENCE))
    await asyncio.wait_for(body.waiting.wait(), PATIENCE)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert body.closed == 1
