"""Purges by URL, prefix, tag and site: rules of the ledger, soft by default; and what the operator can ask about them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.edge import Answer, command, json_of
from tests.support.scripted import PATIENCE, Fronted, Gate, Way, by, fronted, in_turn, page

KEEP = "max-age=600"
A = "http://a.test"
B = "http://b.test"
TAGS = {"/blog/1": "blog post-1", "/blog/2": "blog post-2", "/about": "about"}


def tagged(request: web.Request) -> Way:
    return page(f"{request.host}{request.path}", Cache_Control=KEEP, Surrogate_Key=TAGS[request.path])


SITE = {target: by(tagged) for target in TAGS}


async def ask(it: Fronted, url: str, **fields: str) -> Answer:
    """GET an absolute URL through the edge."""
    _, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return await it.client.ask(slash + path, headers={"Host": host, **fields})


async def kept(it: Fronted, *urls: str) -> None:
    """Have them stored."""
    for url in urls:
        await ask(it, url)
        await it.client.recorded(url.removeprefix("http://a.test"), headers={"Host": "a.test"})


async def hits(it: Fronted, *urls: str) -> list[bool]:
    """Which of them are good for an answer without the origin; changes nothing."""
    answers = [await ask(it, url, **{"Cache-Control": "only-if-cached"}) for url in urls]
    return [answer.status == 200 for answer in answers]


async def api(it: Fronted, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """One call of the admin API, with the token from the data folder."""
    token = (it.edge.config.edge.data / "admin-token").read_text().strip()
    url = f"http://{it.edge.admin_address}/api/v1/{path}"
    async with it.client.session.request(method, url, headers={"Authorization": f"Bearer {token}"}, **options) as response:
        return response.status, await response.json()


async def purge(it: Fronted, kind: str, *values: str, **order: Any) -> dict[str, Any]:
    status, answer = await api(it, "POST", "purge", json={"kind": kind, "values": list(values), **order})
    assert status == 200, answer
    return answer


async def cli(it: Fronted, *arguments: str) -> dict[str, Any]:
    """One command with --json, against the running edge."""
    data = str(it.edge.config.edge.data)
    done = await asyncio.to_thread(command, *arguments, "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    return json_of(done)


ALL = (f"{A}/blog/1", f"{A}/blog/2", f"{A}/about")

PURGES = [
    ("url", (f"{A}/blog/1",), [False, True, True]),
    ("url", (f"{A}/blog/1", f"{A}/about"), [False, True, False]),
    ("url", ("http://A.test:80/blog/1",), [False, True, True]),
    ("url", (f"{A}/blog",), [True, True, True]),
    ("prefix", (f"{A}/blog/",), [False, False, True]),
    ("prefix", ("/blog/",), [False, False, True]),
    ("prefix", (f"{A}/",), [False, False, False]),
    ("prefix", (f"{B}/",), [True, True, True]),
    ("tag", ("blog",), [False, False, True]),
    ("tag", ("post-2", "about"), [True, False, False]),
    ("tag", ("post",), [True, True, True]),
    ("site", ("a.test",), [False, False, False]),
]


@pytest.mark.parametrize(("kind", "values", "left"), PURGES, ids=[f"{kind} {' '.join(values)}" for kind, values, _ in PURGES])
async def test_a_purge_covers_what_it_names_and_nothing_else(
    tmp_path: Path, kind: str, values: tuple[str, ...], left: list[bool]
) -> None:
    async with fronted(tmp_path, SITE) as it:
        await kept(it, *ALL)
        matched = left.count(False)
        size = (await api(it, "GET", "ledger/head"))[1]["size"]
        dry = await purge(it, kind, *values, dry_run=True)
        assert dry == {"heights": [], "matched": matched, "dry_run": True}
        assert await hits(it, *ALL) == [True, True, True], "a dry run changes nothing"
        assert (await api(it, "GET", "ledger/head"))[1]["size"] == size
        done = await purge(it, kind, *values)
        assert done == {"heights": list(range(size, size + len(values))), "matched": matched, "dry_run": False}
        assert await hits(it, *ALL) == left
        status, block = await api(it, "GET", f"ledger/blocks/{size}")
        assert (status, block["block"]["op"], block["value"] is None) == (200, "purge", False)
    async with fronted(tmp_path, SITE) as it:
        assert await hits(it, *ALL) == left, "the rule holds over a restart"


async def test_a_purge_by_tag_counts_what_is_only_on_disk_too(tmp_path: Path) -> None:
    async with fronted(tmp_path, SITE) as it:
        await kept(it, *ALL)
    async with fronted(tmp_path, SITE) as it:
        assert (await purge(it, "tag", "blog", dry_run=True))["matched"] == 2
        assert (await purge(it, "tag", "blog"))["matched"] == 2
        assert await hits(it, *ALL) == [False, False, True]


async def test_a_page_is_purged_whatever_ignored_parameters_it_was_stored_under(tmp_path: Path) -> None:
    async with fronted(tmp_path, SITE, site='[site.cache]\nignore_query = ["utm_*"]\n') as it:
        await kept(it, f"{A}/about?utm_source=x")
        assert await hits(it, f"{A}/about") == [True]
        assert (await purge(it, "url", f"{A}/about"))["matched"] == 1
        assert await hits(it, f"{A}/about", f"{A}/about?utm_source=x") == [False, False]


async def test_every_variant_of_a_url_is_purged(tmp_path: Path) -> None:
    def choose(request: web.Request) -> Way:
        return page(request.headers["Accept-Language"], Cache_Control=KEEP, Vary="Accept-Language")

    async with fronted(tmp_path, {"/page": by(choose)}) as it:
        for language in ("de", "en"):
            await ask(it, f"{A}/page", **{"Accept-Language": language})
        assert (await purge(it, "url", f"{A}/page"))["matched"] == 2
        for language in ("de", "en"):
            assert "hit" not in (await ask(it, f"{A}/page", **{"Accept-Language": language}))["Cache-Status"]


# --- soft and hard


async def test_a_soft_purge_asks_the_origin_and_keeps_the_copy_for_when_it_is_dead(tmp_path: Path) -> None:
    way = in_turn(page("good", Cache_Control=KEEP, ETag='"a"'), page("trouble", 500), page("new", Cache_Control=KEEP, ETag='"b"'))
    async with fronted(tmp_path, {"/page": way}) as it:
        await kept(it, f"{A}/page")
        await purge(it, "url", f"{A}/page")
        stale = await ask(it, f"{A}/page")
        assert (stale.status, stale.body) == (200, b"good")
        assert "fwd=stale" in stale["Cache-Status"]
        assert it.origin.last("/page").fields["If-None-Match"] == '"a"'
        fresh = [await ask(it, f"{A}/page") for _ in range(2)]
        assert [answer.body for answer in fresh] == [b"new", b"new"]
        assert "hit" in fresh[1]["Cache-Status"]


async def test_a_hard_purge_is_as_if_it_had_never_been_stored(tmp_path: Path) -> None:
    way = in_turn(page("good", Cache_Control=KEEP, ETag='"a"'), page("trouble", 500))
    async with fronted(tmp_path, {"/page": way}) as it:
        await kept(it, f"{A}/page")
        await purge(it, "url", f"{A}/page", hard=True)
        answer = await ask(it, f"{A}/page")
        assert (answer.status, answer.body) == (500, b"trouble")
        assert "If-None-Match" not in it.origin.last("/page").fields
    async with fronted(tmp_path, {"/page": way}) as it:
        assert (await ask(it, f"{A}/page")).status == 500


# --- what is under way meanwhile


@pytest.mark.parametrize("kind", ["url", "tag", "site"])
async def test_a_fetch_under_way_during_a_purge_is_not_stored_as_if_it_came_after(tmp_path: Path, kind: str) -> None:
    values = {"url": f"{A}/page", "tag": "t", "site": "a.test"}
    gate = Gate(page("before", Cache_Control=KEEP, Surrogate_Key="t"))
    way = in_turn(gate, page("after", Cache_Control=KEEP, Surrogate_Key="t"))
    async with fronted(tmp_path, {"/page": way}) as it, asyncio.timeout(PATIENCE):
        early = asyncio.get_running_loop().create_task(ask(it, f"{A}/page"))
        await it.origin.was_asked("/page", 1)
        await purge(it, kind, values[kind], hard=True)
        gate.open()
        assert (await early).body == b"before"
        assert await hits(it, f"{A}/page") == [False]
        assert (await ask(it, f"{A}/page")).body == b"after"
    async with fronted(tmp_path, {"/page": way}) as it:
        assert (await ask(it, f"{A}/page")).body == b"after"


async def test_who_asks_after_a_purge_does_not_join_a_fetch_from_before_it(tmp_path: Path) -> None:
    gate = Gate(page("before", Cache_Control=KEEP))
    async with fronted(tmp_path, {"/page": in_turn(gate, page("after", Cache_Control=KEEP))}) as it, asyncio.timeout(PATIENCE):
        early = asyncio.get_running_loop().create_task(ask(it, f"{A}/page"))
        await it.origin.was_asked("/page", 1)
        await purge(it, "url", f"{A}/page")
        assert (await ask(it, f"{A}/page")).body == b"after"
        gate.open()
        assert (await early).body == b"before"
        assert (await ask(it, f"{A}/page")).body == b"after", "what came late does not replace what is newer"


# --- the command line


async def test_purge_explain_status_and_ledger_on_the_command_line(tmp_path: Path) -> None:
    async with fronted(tmp_path, SITE) as it:
        await kept(it, *ALL)
        url = ALL[0]

        said = await cli(it, "explain", url)
        assert {name: said[name] for name in ("url", "site", "key", "plan", "reason", "rule")} == {
            "url": url,
            "site": "*",
            "key": url,
            "plan": "Serve",
            "reason": "fresh",
            "rule": None,
        }
        (variant,) = said["variants"]
        assert (variant["height"], variant["status"], variant["selected"], variant["selecting"]) == (1, 200, True, {})
        before = len(it.origin.asked)

        assert await cli(it, "purge", "--prefix", "/blog/", "--dry-run") == {"heights": [], "matched": 2, "dry_run": True}
        assert await cli(it, "purge", "--prefix", "/blog/") == {"heights": [4], "matched": 2, "dry_run": False}
        assert await cli(it, "purge", "--tag", "about", "--hard") == {"heights": [5], "matched": 1, "dry_run": False}

        said = await cli(it, "explain", url)
        assert (said["plan"], said["reason"], said["rule"]) == ("Fetch", "purged", "soft")
        said = await cli(it, "explain", ALL[2])
        assert (said["plan"], said["reason"], said["rule"]) == ("Fetch", "purged", "gone")
        assert len(it.origin.asked) == before, "none of these asks the origin"

        status = await cli(it, "status")
        assert status["store"]["objects"] == 3
        assert (status["ledger"]["size"], status["ledger"]["pending"]) == (6, 0)
        (site,) = status["sites"]
        assert (site["name"], site["requests"] >= 6, site["hits"] >= 3) == ("*", True, True)
        # Auditors and validators ask for the ledger all day long; what visitors get from the store is another matter.
        for _ in range(3):
            assert (await it.client.ask("/.edge/ledger/checkpoint")).status == 200
        (asked,) = (await cli(it, "status"))["sites"]
        assert {**asked, "own": 0} == {**site, "own": 0}
        assert asked["own"] == site["own"] + 3

        head = await cli(it, "ledger", "head")
        assert {"origin", "size", "root", "vkey", "final_size"} <= head.keys()
        assert head["size"] == 6

        block = await cli(it, "ledger", "show", "4")
        assert (block["block"]["op"], block["value"], block["site"]) == ("purge", "/blog/", "*")
        stored = await cli(it, "ledger", "show", "1")
        assert (stored["block"]["op"], stored["url"], list(stored["block"])[:4]) == (
            "store",
            url,
            ["v", "height", "prev", "time"],
        )

        await ask(it, url)
        await it.client.recorded("/blog/1", headers={"Host": "a.test"})
        history = await cli(it, "ledger", "history", url)
        assert [version["height"] for version in history["versions"]] == [6, 1]
        assert {"height", "time", "op", "status", "body", "length", "selecting"} <= history["versions"][0].keys()


async def test_orders_that_make_no_sense_are_refused_and_write_nothing(tmp_path: Path) -> None:
    async with fronted(tmp_path, SITE) as it:
        for order in (
            {"kind": "url", "values": ["/blog/1"]},
            {"kind": "url", "values": []},
            {"kind": "everything", "values": ["*"]},
            {"kind": "tag", "values": ["blog"], "soft": True},
        ):
            status, answer = await api(it, "POST", "purge", json=order)
            assert (order, 400 <= status < 500) == (order, True)
            assert answer["error"]
        assert (await api(it, "GET", "ledger/head"))[1]["size"] == 1


async def test_a_purge_is_of_one_site_and_leaves_the_others(tmp_path: Path) -> None:
    hosts = '\n[[site]]\nhosts = ["b.test"]\norigins = ["http://127.0.0.1:9"]\n[site.origin]\nhost = "client"\n'
    async with fronted(tmp_path, SITE, site=hosts) as it:
        await kept(it, *ALL)
        assert (await purge(it, "site", "b.test"))["matched"] == 0
        assert (await purge(it, "tag", "blog", site="b.test"))["matched"] == 0
        assert await hits(it, *ALL) == [True, True, True]
        status, answer = await api(it, "POST", "purge", json={"kind": "tag", "values": ["blog"]})
        assert (status, answer["matched"], len(answer["heights"])) == (200, 2, 2), "without a site it is for all of them"
