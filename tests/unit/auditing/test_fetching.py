"""What is asked of an edge, how often, and how its addresses are read."""

import asyncio
from contextlib import aclosing

import pytest
from aiohttp import web

from edgeproxy.auditing.fetching import base_of, in_order, reading_from
from edgeproxy.errors import StoreError
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.tiles import Tile
from tests.support.lying_edge import PREFIX, Log, lying_edge


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://edge.example", "https://edge.example"),
        ("https://edge.example/", "https://edge.example"),
        ("https://edge.example:8443/.edge/ledger", "https://edge.example:8443"),
        ("http://[::1]:80/.edge/ledger/", "http://[::1]:80"),
    ],
)
def test_the_address_of_an_edge_or_of_its_ledger(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "", "edge", "ftp://edge", "https://", "https://edge/a", "https://edge?x", "https://edge#x", "https://u:p@edge",
        "https://edge:0", "https://edge:99999", "https://[edge",
    ],
)  # fmt: skip
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        base_of(url)


async def test_what_may_pass_is_tried_again_and_then_given_up() -> None:
    log, answers = Log().grow(4), [503, 429, 200]

    async def flaky(request: web.Request) -> web.StreamResponse:
        status = answers.pop(0)
        return web.Response(status=status, body=log.note() if status == 200 else b"")

    async with lying_edge(log) as edge:
        edge.lies[f"{PREFIX}checkpoint"] = flaky
        async with reading_from(edge.base, delays=(0, 0)) as source:
            assert await source.checkpoint() == log.note()
            answers[:] = [500, 500, 500, 200]
            with pytest.raises(Finding, match="status 500") as found:
                await source.checkpoint()
            assert (found.value.kind, answers) == (FindingKind.UNREACHABLE, [200])
            # what will not pass is not
            answers[:] = [403, 200]
            with pytest.raises(Finding, match=r"refuses to answer \("):
                await source.checkpoint()
            assert answers.pop(0) == 200
            answers[:] = [401, 200]
            with pytest.raises(Finding, match="asks for a token: this may be its admin side"):
                await source.checkpoint()
            assert answers == [200]


async def test_gzip_is_undone_within_bounds_and_nothing_else_is() -> None:
    import gzip

    log = Log().grow(4)
    bundle, path = log.tile(Tile(None, 0, 5)), f"{PREFIX}tile/entries/000.p/5"
    assert bundle is not None

    def coded(data: bytes, coding: str = "gzip"):  # type: ignore[no-untyped-def]
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(body=data, headers={"Content-Encoding": coding})

        return answer

    async with lying_edge(log) as edge, reading_from(edge.base, delays=()) as source:
        edge.lies[path] = coded(gzip.compress(bundle))
        assert await source.tile(Tile(None, 0, 5)) == bundle
        for lie in (
            coded(gzip.compress(bundle)[:-1]),
            coded(gzip.compress(bundle) + b"x"),
            coded(bundle),
            coded(b"", "br"),
        ):
            edge.lies[path] = lie
            with pytest.raises(Finding) as found:
                await source.tile(Tile(None, 0, 5))
            assert found.value.kind is FindingKind.UNREACHABLE


async def test_results_come_in_order_and_a_failure_when_its_turn_comes() -> None:
    started: list[int] = []

    def job(number: int, *, fails: bool = False):  # type: ignore[no-untyped-def]
        async def work() -> int:
            started.append(number)
            # later ones are faster
            for _ in range(20 - number):
                await asyncio.sleep(0)
            if fails:
                raise StoreError("failed", number=number)
            return number

        return work

    async with aclosing(in_order([job(number) for number in range(10)], 3)) as results:
        assert [each async for each in results] == list(range(10))
    started.clear()
    async with aclosing(in_order([job(number, fails=number == 2) for number in range(10)], 3)) as results:
        assert [await anext(results), await anext(results)] == [0, 1]
        with pytest.raises(StoreError, match="number=2"):
            await anext(results)
    assert max(started) <= 4


async def test_leaving_early_leaves_no_task_behind() -> None:
    async def forever() -> int:
        await asyncio.Event().wait()
        return 0

    async def at_once() -> int:
        return 1

    before = asyncio.all_tasks()
    async with aclosing(in_order([at_once, forever, forever, forever], 3)) as results:
        async for _ in results:
            break
    assert asyncio.all_tasks() == before
