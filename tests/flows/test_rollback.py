"""Rollback and release: a broken deploy undone, with the origin dead too, over a kill, and whatever clients say meanwhile."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from tests.support.edge import Answer, Client, EdgeProcess, command, json_of, until, write_config
from tests.support.raw_origin import free_port
from tests.support.rolling_back import SITE, replaced, run
from tests.support.scripted import by, fronted, page
from tests.support.site import content, running_site

PAGES = tuple(f"/page-{number}?max-age=600&etag={number}" for number in range(4))
LATE = "/made-by-the-bad-deploy?max-age=600"


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
