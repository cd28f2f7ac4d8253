"""What a rollback promises holds: for many pages, under eviction and stampedes, after any events, with names or disks lost."""

import asyncio
import contextlib
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from edgeproxy.admin.backend import ReleaseOrder, RollbackOrder
from edgeproxy.app import running
from edgeproxy.config import load
from edgeproxy.errors import StoreError
from edgeproxy.storage.ledger_db import LEDGER_FILE
from tests.support.edge import Client, running_edge, write_config
from tests.support.raw_origin import free_port
from tests.support.rolling_back import SITE, replaced, run
from tests.support.scripted import Fronted, Scripted, fronted, page, scripted
from tests.support.site import content, running_site

URLS = 100_000


async def test_a_rollback_of_a_hundred_thousand_urls_is_one_block_and_no_pause(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600")
        await plant(it, URLS)
        size = it.edge.sequencer.head().size
        longest = 0.0
        ended = asyncio.Event()

        async def watch() -> None:
            nonlocal longest
            while not ended.is_set():
                before = time.monotonic()
                await asyncio.sleep(0.001)
                longest = max(longest, time.monotonic() - before)

        async def visit() -> list[bytes]:
            return [(await it.client.ask("/a")).body for _ in range(20)]

        watching = asyncio.create_task(watch())
        before = await visit()
        done = await run(it, "rollback", "--to", first)
        after = await visit()
        survey = await run(it, "rollback", "--to", "now", "--dry-run")
        ended.set()
        await watching
        assert it.edge.sequencer.head().size == size + 1
        assert done["height"] == size
        assert (set(before), set(after)) == ({b"new a"}, {b"old a"})
        assert survey["counts"]["urls"] == URLS + 1
        print(f"longest turn of the loop: {longest * 1000:.1f} ms")
        assert longest < 5, "a walk over everything in one go"


async def plant(it: Fronted, count: int) -> None:
    """Have the fold and the index know `count` more URLs, as after a long life; their blocks are not written."""
    edge = it.edge
    like = edge.sequencer.fold.history(f"{it.client.base}/a")[0]
    for number in range(count):
        url = f"{it.client.base}/planted/{number}"
        version = replace(like, url=url)
        edge.sequencer.fold.by_url[url] = {(): [version]}
        edge.cache.index.add(edge.cache.index.entry(like.site, url, ()), version)


MEGABYTE = 1 << 20


async def test_eviction_takes_neither_what_a_rollback_pins_nor_the_last_good_copies_within_their_quota(tmp_path: Path) -> None:
    big = [f"/big-{number}?max-age=600&size={3 * MEGABYTE}" for number in range(6)]
    limits = '[site.cache]\nmemory_object = "1KiB"\n[site.recovery]\nquota = "10MiB"'
    async with running_site() as site, running_edge(tmp_path, site.url, edge='disk = "16MiB"', site=limits) as (edge, client):
        first = (await client.recorded(big[0]))["Edge-Block"]
        site.version = "2"
        it = Fronted(Scripted({}), edge, client)
        await run(it, "purge", "--prefix", "/", "--hard")
        assert (await client.recorded(big[0])).body == content(big[0], "2", 3 * MEGABYTE)
        await edge.sequencer.flush()
        await run(it, "rollback", "--to", first, "--prefix", "/big-0")
        for target in big[1:]:
            await client.recorded(target)
        assert edge.bodies.total_bytes > 16 * MEGABYTE
        while edge.bodies.total_bytes > 16 * MEGABYTE and await edge.retention.enforce():
            pass
        assert edge.bodies.total_bytes <= 16 * MEGABYTE
        site.failing = 503
        assert (await client.ask(big[0])).body == content(big[0], "1", 3 * MEGABYTE), "pinned"
        statuses = [(await client.ask(target)).status for target in big[1:]]
        assert statuses[-3:] == [200, 200, 200], "nine of ten MiB"
        assert statuses.count(503) >= 1
        survey = await run(it, "rollback", "--to", "now", "--dry-run")
        assert survey["counts"]["erased"] >= 1
        await run(it, "release")
        assert (await client.ask(big[0])).status == 503, "the newest was neither pinned nor among the last used"


async def test_superseded_contents_go_when_number_or_age_say_so(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE), more="[ledger]\nkeep_versions = 2") as it:
        for content_ in ("first a", "second a", "third a"):
            await replaced(it, "/a", content_, Cache_Control="max-age=600")
        await it.client.recorded("/blog/c")
        first, second, _ = it.edge.sequencer.fold.history(f"{it.client.base}/a")
        await it.edge.retention.enforce()
        history = (await run(it, "ledger", "history", f"{it.client.base}/a"))["versions"]
        assert [(one["height"], one["body_there"]) for one in history[1:]] == [(second.height, True), (first.height, False)]
        shown = await run(it, "ledger", "show", str(first.height))
        assert (shown["body_there"], shown["served"], shown["why"]) == (False, False, None)
        survey = await run(it, "rollback", "--to", str(first.height), "--dry-run")
        assert [one["then"] for one in survey["erased"]] == [first.height]
        await run(it, "rollback", "--to", str(second.height))
        assert [(await it.client.ask("/a")).body for _ in range(60)] == [b"second a"] * 60


async def test_a_stampede_after_a_rollback_loads_each_page_once(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600")
        await run(it, "rollback", "--to", first)
        loads, load = [], it.edge.db.load

        async def counted(height: int) -> Any:
            loads.append(height)
            return await load(height)

        it.edge.db.load = counted  # type: ignore[method-assign]
        answers = await asyncio.gather(*[it.client.ask("/a", headers={"Range": "bytes=0-9"}) for _ in range(50)])
        assert {answer.body for answer in answers} == {b"old a"}
        assert loads == [int(first)]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_published_rolled_back_and_released_the_right_version_is_served(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with fronted(tmp_path, {}, more='[ledger]\nbatch_delay = "1ms"\nkeep_versions = 1000') as it:
        backend, recorder, site = it.edge.backend, it.edge.recorder, it.edge.handler.sites.sites[0]
        rules: dict[str | None, tuple[int, int]] = {}
        for number in range(40):
            what = chance.random()
            if what < 0.4 or number == 0:
                it.origin.ways["/a"] = page(f"content {number}", Cache_Control="max-age=600")
                recorder.invalidate(site, f"{it.client.base}/a", "", under_way=False)
                newest = b"content %d" % number
            elif what < 0.7 or not rules:
                prefix, to = chance.choice((None, "/", "/a")), chance.randrange(it.edge.sequencer.head().size)
                done = await backend.rollback(RollbackOrder(str(to), prefix=prefix))
                rules[prefix] = (done["height"], to)
            elif (prefix := chance.choice(list(rules))) is not None or len(rules) == 1:
                await backend.release(ReleaseOrder(prefix=prefix))
                del rules[prefix]
            await it.edge.sequencer.flush()
            pinned = pinned_now(it, rules)
            for _ in range(3):
                answer = await it.client.ask("/a")
                assert ("detail=rollback" in answer["Cache-Status"]) is (pinned is not None), (number, rules)
                assert answer.body == (newest if pinned is None else pinned[1]), (number, rules)
                assert pinned is None or answer["Edge-Block"] == str(pinned[0])
                await it.edge.sequencer.flush()


def pinned_now(it: Fronted, rules: dict[str | None, tuple[int, int]]) -> tuple[int, bytes] | None:
    """The version that the rollback with the latest block says is served, if anything was there then: out of the ledger alone."""
    _, to = max(rules.values(), default=(0, -1))
    there = [version for version in it.edge.sequencer.fold.history(f"{it.client.base}/a") if version.height <= to]
    if not there:
        return None
    digest = there[-1].body.digest.hex()
    return there[-1].height, (it.edge.config.edge.data / "bodies" / digest[:2] / digest).read_bytes()


@pytest.mark.parametrize(("scope", "words"), [(("--site", "any.example"), ()), (("--prefix", "/a"), ("--prefix", "/a"))])
async def test_a_rollback_whose_name_was_lost_holds_and_can_be_released(
    tmp_path: Path, scope: tuple[str, ...], words: tuple[str, ...]
) -> None:
    async with scripted(dict(SITE)) as origin, aiohttp.ClientSession() as session:
        config = load(write_config(tmp_path, origin.url, http=f"127.0.0.1:{free_port()}"))
        async with running(config) as edge:
            it = Fronted(origin, edge, Client(f"http://{edge.listener.addresses[0]}", session))
            first = (await it.client.recorded("/a"))["Edge-Block"]
            await replaced(it, "/a", "new a", Cache_Control="max-age=600")
            height = (await run(it, "rollback", "--to", first, *scope))["height"]
        with contextlib.closing(sqlite3.connect(config.edge.data / LEDGER_FILE)) as connection, connection:
            connection.execute("UPDATE private SET value = x'00' WHERE height = ?", (height,))
        async with running(config) as edge:
            it = Fronted(origin, edge, it.client)
            assert (await it.client.ask("/a")).body == b"old a"
            (rule,) = (await run(it, "status"))["rollbacks"]
            assert (rule["height"], rule["site"], rule["value"]) == (height, None, None)
            if words:
                assert "names of the rollbacks in force were lost" in (await run(it, "release", status=1))["said"]
            assert len((await run(it, "release", *words))["heights"]) == 1
            assert (await it.client.ask("/a")).body == b"new a"


async def test_a_disk_that_cannot_be_read_does_not_bring_back_what_was_taken_back(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600")
        await run(it, "rollback", "--to", first)
        working, asked = it.edge.db.load, it.origin.count("/a")

        async def failing(height: int) -> Any:
            raise StoreError("disk is gone", height=height)

        it.edge.db.load = failing  # type: ignore[method-assign]
        refused = await it.client.ask("/a")
        assert (refused.status, refused["Cache-Status"]) == (503, "edgeproxy;detail=rollback")
        it.edge.db.load = working  # type: ignore[method-assign]
        assert (await it.client.ask("/a")).body == b"old a"
        assert it.origin.count("/a") == asked
