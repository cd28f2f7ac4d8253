"""Rollback and release: a broken deploy undone, with the origin dead too, over a kill, and whatever clients say meanwhile."""

import asyncio
import contextlib
import io
import json
import random
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from edgeproxy import cli
from edgeproxy.admin.backend import ReleaseOrder, RollbackOrder
from edgeproxy.app import running
from edgeproxy.config import load
from edgeproxy.errors import StoreError
from edgeproxy.storage.ledger_db import LEDGER_FILE
from tests.support.edge import Answer, Client, EdgeProcess, command, json_of, running_edge, until, write_config
from tests.support.raw_origin import free_port
from tests.support.scripted import Fronted, Scripted, by, fronted, page, scripted
from tests.support.site import content, running_site

PAGES = tuple(f"/page-{number}?max-age=600&etag={number}" for number in range(4))
LATE = "/made-by-the-bad-deploy?max-age=600"


async def run(it: Fronted | EdgeProcess, *arguments: str, status: int = 0) -> dict[str, Any]:
    """One command with --json, in this process, against the running edge; with another `status`, what it complained of."""
    data = it.data if isinstance(it, EdgeProcess) else it.edge.config.edge.data
    out, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
        ended = await asyncio.to_thread(cli.run, [*arguments, "--data", str(data), "--json"])
    assert ended == status, (out.getvalue(), complaints.getvalue())
    found: dict[str, Any] = json.loads(out.getvalue()) if status == 0 else {"said": complaints.getvalue()}
    return found


async def shows(client: Client, target: str, version: str, **fields: str) -> Answer:
    """Wait until `target` is answered with this version of the site."""

    async def right() -> Answer | None:
        answer = await client.ask(target, headers=fields)
        return answer if answer.status == 200 and answer.body == content(target, version) else None

    return await until(right)


async def test_a_broken_deploy_is_undone_with_the_origin_dead_too_and_over_a_kill(tmp_path: Path) -> None:
    async with AsyncExitStack() as origin, aiohttp.ClientSession(auto_decompress=False) as session:
        site = await origin.enter_async_context(running_site())
        edge = EdgeProcess(write_config(tmp_path, site.url, http=f"127.0.0.1:{free_port()}"))
        client = Client(edge.start(), session)
        try:
            before = {target: (await client.recorded(target))["Edge-Block"] for target in PAGES}
            good = json_of(await asyncio.to_thread(command, "ledger", "head", "--data", str(edge.data), "--json"))
            site.version = "broken"
            await run(edge, "purge", "--prefix", "/")
            for target in PAGES:
                await shows(client, target, "broken")
            await client.recorded(LATE)

            done = await run(edge, "rollback", "--to", str(int(str(good["size"])) - 1), "--site", "any.example")
            returned = time.monotonic()
            for target in PAGES:
                await shows(client, target, "1")
            assert time.monotonic() - returned < 20, "the deadline of a busy machine; a second is what an idle one is held to"
            asked = len(site.seen)
            await origin.aclose()
            for _ in range(3):
                for target in PAGES:
                    answer = await client.ask(target, headers={"Cache-Control": "no-cache"})
                    assert (answer.status, answer.body) == (200, content(target, "1"))
                    assert answer["Edge-Block"] == before[target]
                    assert "detail=rollback" in answer["Cache-Status"]
                    assert answer["Cache-Control"] == "max-age=600"
            assert len(site.seen) == asked

            edge.kill()
            client = Client(edge.start(), session)
            status = await run(edge, "status")
            assert [rule["height"] for rule in status["rollbacks"]] == [done["height"]]
            for target in PAGES:
                answer = await client.ask(target)
                assert (answer.status, answer.body, answer["Edge-Block"]) == (200, content(target, "1"), before[target])
            released = await run(edge, "release")
            assert len(released["heights"]) == 1
            await shows(client, PAGES[0], "broken")
            assert (await client.ask(LATE)).body == content(LATE, "broken")
            assert "nothing to release" in (await run(edge, "release", status=1))["said"]
        finally:
            edge.stop()


SITE = {
    "/a": page("old a", Cache_Control="max-age=600", ETag='"1"', Last_Modified="Mon, 24 Nov 2025 16:00:00 GMT"),
    "/b": page("old b", Cache_Control="private", ETag='"1"'),
    "/blog/c": page("old c", Cache_Control="max-age=600, must-revalidate"),
}


async def replaced(it: Fronted, path: str, new: str, **fields: str) -> None:
    """Have the origin say something new, and the edge store it."""
    it.origin.ways[path] = page(new, **fields)
    await run(it, "purge", f"{it.client.base}{path}", "--hard")

    async def stored() -> bool | None:
        answer = await it.client.ask(path)
        return True if answer.body == new.encode() and "Edge-Block" in answer.headers else None  # type: ignore[operator]

    await until(stored)


async def test_what_a_client_says_changes_nothing_but_unsafe_methods_pass(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600", ETag='"2"')
        it.origin.ways["/form"] = page("done")
        await run(it, "rollback", "--to", first)
        asked = it.origin.count("/a")
        for fields in ({}, {"Cache-Control": "no-store"}, {"Cache-Control": "max-age=0"}, {"Pragma": "no-cache"}):
            answer = await it.client.ask("/a", headers=fields)
            assert (answer.body, answer["Edge-Block"], answer["ETag"]) == (b"old a", first, '"1"')
            assert answer["Cache-Status"].endswith("detail=rollback")
        assert (await it.client.ask("/a", method="HEAD"))["Edge-Block"] == first
        assert (await it.client.ask("/a", headers={"If-None-Match": '"1"'})).status == 304
        assert (await it.client.ask("/a", headers={"If-None-Match": '"2"'})).body == b"old a"
        assert (await it.client.ask("/a", headers={"If-Match": '"2"'})).status == 412
        assert (await it.client.ask("/a", headers={"If-Match": '"1"'})).body == b"old a"
        assert (await it.client.ask("/a", headers={"If-Unmodified-Since": "Mon, 24 Nov 2025 15:59:59 GMT"})).status == 412
        assert (await it.client.ask("/a", headers={"Range": "bytes=0-2"})).body == b"old"
        assert it.origin.count("/a") == asked
        assert (await it.client.ask("/form", method="POST", data=b"x")).body == b"done"
        assert (await it.client.ask("/a", method="POST", data=b"x")).body == b"new a"
        await run(it, "purge", f"{it.client.base}/a", "--hard")
        assert (await it.client.ask("/a")).body == b"old a", "whatever purges say"
        explained = await run(it, "explain", f"{it.client.base}/a")
        assert explained["reason"] == "rollback"
        assert explained["rule"].startswith(f"rollback to {first} since block ")
        history = await run(it, "ledger", "history", f"{it.client.base}/a")
        assert [version["served"] for version in history["versions"]] == [False, True]


async def test_hits_under_a_rollback_are_ready_answers_and_end_with_it(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600", ETag='"2"')
        entry = it.edge.cache.index.slot(f"{it.client.base}/a")
        assert entry is not None
        assert entry.only is not None
        for _ in range(3):
            await run(it, "rollback", "--to", first)
            answers = [await it.client.ask("/a") for _ in range(4)]
            assert {answer.body for answer in answers} == {b"old a"}
            pinned = it.edge.tier.get(entry.only.tier_key)
            assert pinned is not None
            assert pinned.pinned
            assert pinned.answers, "made ready"
            assert pinned.generation == it.edge.cache.rules.generation
            assert all(answer["Cache-Status"].endswith("detail=rollback") for answer in answers)
            await run(it, "release")
            answers = [await it.client.ask("/a") for _ in range(4)]
            assert {answer.body for answer in answers} == {b"new a"}
            assert not any("rollback" in answer["Cache-Status"] for answer in answers)


async def test_a_fetch_that_was_under_way_does_not_show_through_a_rollback(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await held.wait()
        return web.Response(text="late a", headers={"Cache-Control": "max-age=600"})

    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        it.origin.ways["/a"] = slow
        await run(it, "purge", f"{it.client.base}/a", "--hard")
        waiting = asyncio.create_task(it.client.ask("/a"))
        await it.origin.was_asked("/a", 2)
        await run(it, "rollback", "--to", first)
        assert (await it.client.ask("/a")).body == b"old a"
        held.set()
        assert (await waiting).body == b"late a"
        await it.edge.sequencer.flush()
        assert {(await it.client.ask("/a")).body for _ in range(4)} == {b"old a"}
        await run(it, "release")
        assert (await it.client.ask("/a")).body == b"late a"


async def test_what_was_not_stored_then_is_fetched_or_refused(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await it.client.recorded("/blog/c")
        await run(it, "rollback", "--to", first)
        assert (await it.client.ask("/b")).body == b"old b"
        answers = [await it.client.ask("/blog/c") for _ in range(3)]
        assert {answer.body for answer in answers} == {b"old c"}
        assert "detail=fresh" in answers[-1]["Cache-Status"], "as ever, from the cache"
        await run(it, "rollback", "--to", first, "--prefix", "/blog/", "--strict")
        refused = await it.client.ask("/blog/c")
        assert (refused.status, refused["Cache-Status"]) == (404, "edgeproxy;detail=rollback")
        assert (await it.client.ask("/a"))["Edge-Block"] == first
        assert (
            "there is one of: every site, /blog/ of every site"
            in (await run(it, "release", "--prefix", "/blog", status=1))["said"]
        )
        assert len((await run(it, "release", "--prefix", "/blog/"))["heights"]) == 1
        assert (await it.client.ask("/blog/c")).body == b"old c"


async def test_variants_are_those_of_then(tmp_path: Path) -> None:
    def speaking(version: str) -> Any:
        return by(
            lambda request: page(
                f"{version} {request.headers.get('Accept-Language', '-')}", Cache_Control="max-age=600", Vary="Accept-Language"
            )
        )

    async with fronted(tmp_path, {"/v": page("one for all", Cache_Control="max-age=600"), "/w": speaking("old")}) as it:
        await it.client.recorded("/v")
        german, french = {"Accept-Language": "de"}, {"Accept-Language": "fr"}
        then = max([int((await it.client.recorded("/w", headers=fields))["Edge-Block"]) for fields in (german, french)])
        it.origin.ways |= {"/v": speaking("new"), "/w": page("new for all", Cache_Control="max-age=600")}
        await run(it, "purge", "--prefix", "/", "--hard")
        assert (await it.client.recorded("/v", headers=german)).body == b"new de"
        assert (await it.client.recorded("/w")).body == b"new for all"
        await run(it, "rollback", "--to", str(then))
        for _ in range(3):
            assert (await it.client.ask("/v", headers=german)).body == b"one for all"
            assert (await it.client.ask("/w", headers=german)).body == b"old de"
            assert (await it.client.ask("/w", headers=french)).body == b"old fr"
        for fields in (german, french):
            served = await it.client.ask("/w", headers=fields)
            told = await it.client.ask(f"/.edge/api/v1/blocks?url={quote(it.client.base + '/w', safe='')}", headers=fields)
            assert json.loads(told.body)["height"] == int(served["Edge-Block"]), "service workers get what visitors get"
        await run(it, "release")
        assert (await it.client.ask("/v", headers=german)).body == b"new de"
        assert (await it.client.ask("/w", headers=french)).body == b"new for all"


async def test_a_dry_run_lists_what_would_be_and_writes_nothing(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = int((await it.client.recorded("/a"))["Edge-Block"])
        await replaced(it, "/a", "new a", Cache_Control="max-age=600")
        await it.client.recorded("/blog/c")
        size = it.edge.sequencer.head().size
        survey = await run(it, "rollback", "--to", str(first), "--dry-run")
        assert survey["height"] is None
        assert survey["counts"] == {"urls": 2, "changes": 1, "differs": 1, "same": 0, "missing": 1, "erased": 0}
        (change,) = survey["changes"]
        assert (change["url"], change["then"], change["differs"]) == (f"{it.client.base}/a", first, True)
        assert change["now"] > first
        assert survey["missing"] == [f"{it.client.base}/blog/c"]
        assert it.edge.sequencer.head().size == size
        digest = it.edge.sequencer.fold.history(f"{it.client.base}/a")[0].body.digest
        await it.edge.bodies.delete(digest)
        survey = await run(it, "rollback", "--to", str(first), "--dry-run")
        assert survey["erased"] == [{"url": f"{it.client.base}/a", "selecting": {}, "then": first, "instead": None}]


ORDERS = [
    (("rollback", "--to", "999"), 1, "height 999 is in the future"),
    (("rollback", "--to", "2125-01-01T00:00:00Z"), 1, "is in the future"),
    (("rollback", "--to", "2001-01-01T00:00:00Z"), 1, "did not exist yet at 2001-01-01T00:00:00Z: its first block is of 20"),
    (("rollback", "--to", "yesterday"), 2, "allowed: a height like 1204"),
    (("rollback", "--to", "0", "--prefix", "blog"), 2, "is not a prefix"),
    (("release",), 1, "nothing to release: no rollback is in force"),
    (("release", "--site", "any.example"), 1, "nothing to release: no rollback of site"),
]


async def test_orders_that_make_no_sense_are_refused_in_words(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        for arguments, status, words in ORDERS:
            assert words in (await run(it, *arguments, status=status))["said"], arguments
        assert it.edge.sequencer.head().size == 1
        now = await run(it, "rollback", "--to", "now")
        assert (now["to"], now["height"], now["scope"]["kind"]) == (0, 1, "node")
        assert now["covered"] == {"urls": 0, "then": 0}


async def test_a_version_that_fails_its_proof_gives_way_to_the_one_before(tmp_path: Path) -> None:
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "second a", Cache_Control="max-age=600")
        second = int((await it.client.ask("/a"))["Edge-Block"])
        await replaced(it, "/a", "third a", Cache_Control="max-age=600")
        version = it.edge.sequencer.fold.history(f"{it.client.base}/a")[1]
        assert version.height == second
        path = it.edge.config.edge.data / "bodies" / version.body.digest.hex()[:2] / version.body.digest.hex()
        path.write_bytes(b"xxxxxx a")
        await run(it, "rollback", "--to", str(second))
        answer = await it.client.ask("/a")
        assert (answer.body, answer["Edge-Block"]) == (b"old a", first)
        await run(it, "release")
        assert (await it.client.ask("/a")).body == b"third a"


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


async def test_who_asks_for_blocks_is_given_those_of_then(tmp_path: Path) -> None:
    """A service worker must not be handed what the operator took back; what is pinned it gets, purged meanwhile or not."""
    api = "/.edge/api/v1"
    async with fronted(tmp_path, dict(SITE)) as it:
        first = (await it.client.recorded("/a"))["Edge-Block"]
        await replaced(it, "/a", "new a", Cache_Control="max-age=600", ETag='"2"')
        it.origin.ways["/late"] = page("late", Cache_Control="max-age=600")
        await it.client.recorded("/late")

        async def shown(path: str) -> bytes:
            answer = await it.client.ask(f"{api}/blocks", params={"url": f"{it.client.base}{path}"})
            if answer.status != 200:
                return str(answer.status).encode()
            body = await it.client.ask(f"{api}/bodies/{json.loads(answer.body)['body']}")
            return body.body if body.status == 200 else b"no body"

        new = json.loads((await it.client.ask(f"{api}/blocks", params={"url": f"{it.client.base}/a"})).body)
        assert [await shown("/a"), await shown("/late")] == [b"new a", b"late"]
        await run(it, "rollback", "--to", first, "--strict")
        assert [await shown("/a"), await shown("/late")] == [b"old a", b"404"]
        assert (await it.client.ask(f"{api}/bodies/{new['body']}")).status == 404
        await run(it, "release")
        assert [await shown("/a"), await shown("/late")] == [b"new a", b"late"]
        await run(it, "rollback", "--to", first)
        assert [await shown("/a"), await shown("/late")] == [b"old a", b"late"], "what was not there then is as it is now"
