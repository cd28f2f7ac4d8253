"""Every broken answer of the table against the real client: the right error or the one reading, and the next request is
answered by its own answer."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from edgeproxy.clock import SystemClock
from edgeproxy.errors import OriginError, OriginMalformed, OriginReset, OriginTimeout, OriginTruncated
from edgeproxy.origin.client import OriginClient
from edgeproxy.origin.messages import Origin, OriginRequest, OriginResponse, OriginSettings
from tests.support.broken_origins import BROKEN, BrokenAnswer
from tests.support.broken_server import BrokenOrigin

QUICK = OriginSettings(connect_timeout=5, head_timeout=0.3, body_timeout=0.3)


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The edge runs on uvloop; the rules hold on both."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


async def whole(response: OriginResponse) -> bytes:
    """The body, and the response closed whatever happens."""
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
    finally:
        await response.close()
    return b"".join(pieces)


@asynccontextmanager
async def served(case: BrokenAnswer) -> AsyncIterator[tuple[BrokenOrigin, OriginClient]]:
    async with BrokenOrigin(case) as origin:
        client = OriginClient([Origin(origin.url)], SystemClock(), QUICK)
        try:
            yield origin, client
        finally:
            await client.close()


def request(target: str, method: str = "GET") -> OriginRequest:
    return OriginRequest(method, target, "www.example.org", repeatable=True)


async def warm_up(client: OriginClient) -> None:
    """One good exchange, so that the broken one runs on a pooled connection as most do in life."""
    assert await whole(await client.fetch(request("/before"))) == b"/before 1"


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "pooled"])
@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_answer_is_never_the_answer_to_another_request(runner: asyncio.Runner, case: BrokenAnswer, warm: bool) -> None:
    async def scene() -> None:
        async with served(case) as (origin, client):
            if warm:
                await warm_up(client)
            await _broken_exchange(case, client)
            await _late(case, origin)
            connections = len(origin.connections)
            first = await whole(await client.fetch(request("/victim-1")))
            second = await whole(await client.fetch(request("/victim-2")))
            expected = connections if case.reusable else connections + 1
            assert first == b"/victim-1 %d" % expected
            assert second == b"/victim-2 %d" % expected

    runner.run(scene())


async def _broken_exchange(case: BrokenAnswer, client: OriginClient) -> None:
    if case.expect == "error":
        with pytest.raises(OriginError) as caught:
            await client.fetch(request("/broken", case.method))
        assert isinstance(caught.value, OriginMalformed | OriginReset | OriginTimeout), caught.value
        return
    response = await client.fetch(request("/broken", case.method))
    if case.expect == "truncated":
        with pytest.raises(OriginError) as caught:
            await whole(response)
        assert isinstance(caught.value, OriginMalformed | OriginTruncated | OriginTimeout), caught.value
    else:
        assert await whole(response) == case.body


async def _late(case: BrokenAnswer, origin: BrokenOrigin) -> None:
    origin.taken.set()
    if case.late:
        await origin.late_sent.wait()


def test_the_table_is_broad_and_its_names_are_unique() -> None:
    assert len({case.name for case in BROKEN}) == len(BROKEN) >= 40
    assert {case.expect for case in BROKEN} == {"error", "truncated", "ok"}


LATE = [case for case in BROKEN if case.late]


@pytest.mark.parametrize("case", LATE, ids=lambda case: case.name)
def test_unasked_bytes_still_in_the_kernel_are_seen_before_the_next_request_goes_out(
    runner: asyncio.Runner, case: BrokenAnswer
) -> None:
    """RFC 9112 section 9.2. The loop gets no turn between the origin's write and the next fetch: only the look at checkout
    finds them."""

    async def scene() -> None:
        async with served(case) as (origin, client):
            await _broken_exchange(case, client)
            sock = origin.connections[0].writer.get_extra_info("socket")
            os.write(sock.fileno(), case.late)
            assert await whole(await client.fetch(request("/victim"))) == b"/victim 2"

    runner.run(scene())


@pytest.mark.parametrize("case", LATE, ids=lambda case: case.name)
def test_unasked_bytes_close_an_idle_connection_at_once(runner: asyncio.Runner, case: BrokenAnswer) -> None:
    async def scene() -> None:
        async with served(case) as (origin, client), asyncio.timeout(2):
            await _broken_exchange(case, client)
            await _late(case, origin)
            await origin.connections[0].ended.wait()

    runner.run(scene())
