"""What the cache keeps and gives out again, by the RFCs, through the whole edge (RFC 9111, 5861, 9213, 9211)."""

import asyncio
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.edge import Answer, until
from tests.support.scripted import PATIENCE, Fronted, Gate, Way, by, fronted, in_turn, page

KEEP = "max-age=600"
STALE = {"Cache_Control": "max-age=60", "Age": "100"}
"""Stored, and stale from the first moment."""


def is_hit(answer: Answer) -> bool:
    """Whether the origin was not asked, by RFC 9211 section 2.1."""
    return answer["Cache-Status"].startswith("edgeproxy;hit")


async def refreshed(it: Fronted, target: str, body: bytes) -> Answer:
    """Ask until the answer is `body`."""

    async def new() -> Answer | None:
        answer = await it.client.ask(target)
        return answer if answer.body == body else None

    return await until(new)


# --- stored, or not (sections 3, 3.5)

STORED = [
    ("explicit freshness", {"Cache_Control": KEEP}, True),
    ("s-maxage for shared caches only", {"Cache_Control": "max-age=0, s-maxage=600"}, True),
    ("s-maxage=0 for others only", {"Cache_Control": "max-age=600, s-maxage=0"}, False),
    ("9213 the targeted field keeps it", {"Cache_Control": "no-store", "CDN_Cache_Control": "max-age=600"}, True),
    ("9213 the targeted field forbids it", {"Cache_Control": KEEP, "CDN_Cache_Control": "no-store"}, False),
    ("9213 a malformed targeted field counts for nothing", {"Cache_Control": KEEP, "CDN_Cache_Control": "max-age=a;;"}, True),
    ("private", {"Cache_Control": "private, max-age=600"}, False),
    ("no-store", {"Cache_Control": "no-store, max-age=600"}, False),
    ("a cookie for one visitor", {"Cache_Control": KEEP, "Set_Cookie": "id=1"}, False),
    ("a cookie, though public", {"Cache_Control": "public, max-age=600", "Set_Cookie": "id=1"}, False),
    ("Vary: *", {"Cache_Control": KEEP, "Vary": "*"}, False),
    ("nothing said at all", {}, False),
    ("heuristic freshness, a tenth of its age", {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, True),
]


@pytest.mark.parametrize(("fields", "expected"), [case[1:] for case in STORED], ids=[case[0] for case in STORED])
async def test_what_is_given_out_again_without_asking(tmp_path: Path, fields: dict[str, str], expected: bool) -> None:
    async with fronted(tmp_path, {"/page": page("hello", **fields)}) as it:
        await it.client.ask("/page")
        again = await it.client.ask("/page")
    assert (is_hit(again), it.origin.count("/page")) == ((True, 1) if expected else (False, 2))
    assert again.body == b"hello"


async def test_set_cookie_is_stored_when_the_operator_says_so(tmp_path: Path) -> None:
    kept = page("hello", Cache_Control=KEEP, Set_Cookie="id=1")
    async with fronted(tmp_path, {"/page": kept}, site="[site.cache]\nstore_set_cookie = true\n") as it:
        await it.client.ask("/page")
        assert is_hit(await it.client.ask("/page"))


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [(KEEP, False), ("public, max-age=600", True), ("s-maxage=600", True), ("must-revalidate, max-age=600", True)],
)
async def test_authorized_answers_need_the_origins_leave(tmp_path: Path, cache_control: str, expected: bool) -> None:
    """Section 3.5."""
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=cache_control)}) as it:
        await it.client.ask("/page", headers={"Authorization": "Bearer x"})
        assert is_hit(await it.client.ask("/page")) is expected
    assert it.origin.asked[0].fields["Authorization"] == "Bearer x"


@pytest.mark.parametrize("fields", [{"Cache_Control": "private"}, {"Cache_Control": KEEP, "Set_Cookie": "id=1"}, {}])
async def test_private_answers_are_never_shared_not_even_between_simultaneous_clients(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    gate = asyncio.Event()

    async def way(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await page(f"account of {request.headers['Cookie']}", **fields)(request)

    async with fronted(tmp_path, {"/account": way}) as it, asyncio.timeout(PATIENCE):

        async def mine(name: str) -> tuple[str, bytes]:
            return name, (await it.client.ask("/account", headers={"Cookie": name})).body

        asked = [asyncio.get_running_loop().create_task(mine(f"user={number}")) for number in range(30)]
        await it.origin.was_asked("/account", 1)
        gate.set()
        first = await asyncio.gather(*asked)
        again = [await mine(name) for name, _ in first]
    assert all(body == f"account of {name}".encode() for name, body in [*first, *again])


async def test_a_stored_answer_says_where_it_comes_from(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP, Age="7", Connection="X-Hop", X_Hop="1")}) as it:
        miss = await it.client.ask("/page")
        hit = await it.client.recorded("/page")
    assert miss["Cache-Status"].startswith("edgeproxy;fwd=uri-miss;fwd-status=200;stored")
    assert hit["Cache-Status"].startswith("edgeproxy;hit;ttl=59")
    assert hit["Age"] in ("7", "8", "9")
    assert hit["Edge-Block"] == "1"
    assert hit["Repr-Digest"].startswith("sha-256=:")
    assert hit["Via"] == "1.1 edgeproxy"
    assert hit["X-Hop"] == ""
    assert "edge;dur=" in hit["Server-Timing"]


# --- Vary (section 4.1)


async def test_each_variant_has_its_own_answer_and_block(tmp_path: Path) -> None:
    def choose(request: web.Request) -> Way:
        language = request.headers.get("Accept-Language", "none")
        return page(language, Cache_Control=KEEP, Vary="Accept-Language")

    async with fronted(tmp_path, {"/page": by(choose)}) as it:
        blocks = set()
        for headers in ({"Accept-Language": "de"}, {"Accept-Language": "en"}, {}):
            expected = headers.get("Accept-Language", "none").encode()
            answers = [await it.client.ask("/page", headers=headers), await it.client.recorded("/page", headers=headers)]
            assert [answer.body for answer in answers] == [expected, expected]
            blocks.add(answers[1]["Edge-Block"])
    assert len(blocks) == 3
    assert it.origin.count("/page") == 3


async def test_a_request_that_selects_no_variant_says_so(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP, Vary="X-Kind")}) as it:
        await it.client.ask("/page", headers={"X-Kind": "a"})
        assert "fwd=vary-miss" in (await it.client.ask("/page", headers={"X-Kind": "b"}))["Cache-Status"]


# --- the client's own wishes (section 5.2.1)


async def test_only_if_cached_never_reaches_the_origin(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP)}) as it:
        only = {"Cache-Control": "only-if-cached"}
        assert (await it.client.ask("/page", headers=only)).status == 504
        assert it.origin.asked == []
        await it.client.ask("/page")
        assert (await it.client.ask("/page", headers=only)).body == b"hello"
    assert it.origin.count("/page") == 1


@pytest.mark.parametrize(
    ("wish", "asked"),
    [("no-cache", 2), ("max-age=3", 2), ("min-fresh=599", 2), ("max-age=30", 1), ("min-fresh=60", 1), ("max-stale", 1)],
)
async def test_what_a_client_may_ask_of_a_fresh_answer(tmp_path: Path, wish: str, asked: int) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP, Age="5")}) as it:
        await it.client.ask("/page")
        assert (await it.client.ask("/page", headers={"Cache-Control": wish})).body == b"hello"
    assert it.origin.count("/page") == asked


async def test_pragma_no_cache_counts_where_cache_control_is_absent(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP)}) as it:
        await it.client.ask("/page")
        await it.client.ask("/page", headers={"Pragma": "no-cache"})
    assert it.origin.count("/page") == 2


async def test_a_clients_no_store_keeps_its_exchange_out_of_the_store(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control=KEEP)}) as it:
        await it.client.ask("/page", headers={"Cache-Control": "no-store"})
        assert not is_hit(await it.client.ask("/page"))


# --- RFC 5861 section 3


async def test_stale_while_revalidate_answers_at_once_and_refreshes_behind(tmp_path: Path) -> None:
    lines = {"Cache_Control": "max-age=60, stale-while-revalidate=600"}
    gate = Gate(page("new", Cache_Control=KEEP, ETag='"2"'))
    ways = {"/page": in_turn(page("old", Age="100", ETag='"1"', **lines), gate)}
    async with fronted(tmp_path, ways) as it, asyncio.timeout(PATIENCE):
        await it.client.ask("/page")
        stale = [await it.client.ask("/page") for _ in range(5)]
        assert {answer.body for answer in stale} == {b"old"}
        assert all("detail=stale-while-revalidate" in answer["Cache-Status"] for answer in stale)
        await it.origin.was_asked("/page", 2)
        assert it.origin.last("/page").fields["If-None-Match"] == '"1"'
        gate.open()
        assert is_hit(await refreshed(it, "/page", b"new"))
    assert it.origin.count("/page") == 2, "one refresh, however many were answered meanwhile"


async def test_a_refresh_behind_that_fails_leaves_the_copy(tmp_path: Path) -> None:
    lines = {"Cache_Control": "max-age=60, stale-while-revalidate=600", "Age": "100"}
    ways = {"/page": in_turn(page("good", **lines), page("trouble", 500))}
    async with fronted(tmp_path, ways) as it, asyncio.timeout(PATIENCE):
        await it.client.ask("/page")
        for round_ in range(3):
            answer = await it.client.ask("/page")
            assert (answer.status, answer.body) == (200, b"good")
            await it.origin.was_asked("/page", 2 + round_)


# --- invalidation (section 4.4)


async def stored(it: Fronted, *targets: str) -> None:
    """Have them all stored, with their blocks."""
    for target in targets:
        await it.client.ask(target)
        await it.client.recorded(target)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "X"])
async def test_an_unsafe_request_that_succeeds_makes_the_stored_answer_suspect(tmp_path: Path, method: str) -> None:
    def choose(request: web.Request) -> Way:
        return page("hello", Cache_Control=KEEP, ETag='"a"') if request.method == "GET" else page("done")

    # The test's origin knows no made-up method.
    method = "PROPPATCH" if method == "X" else method
    async with fronted(tmp_path, {"/page": by(choose)}) as it:
        await stored(it, "/page")
        await it.client.ask("/page", method)
        again = await it.client.ask("/page")
    assert it.origin.last("/page").fields["If-None-Match"] == '"a"'
    assert "detail=validated" in again["Cache-Status"]
    assert again.body == b"hello"


@pytest.mark.parametrize(("method", "status"), [("POST", 400), ("POST", 500), ("OPTIONS", 200), ("GET", 200)])
async def test_nothing_is_invalidated_by_safe_or_failed_requests(tmp_path: Path, method: str, status: int) -> None:
    def choose(request: web.Request) -> Way:
        is_page = request.method == "GET" and "other" not in request.query
        return page("hello", Cache_Control=KEEP) if is_page else page("", status, Location="/page")

    async with fronted(tmp_path, {"/page": by(choose)}) as it:
        await stored(it, "/page")
        await it.client.ask("/page" if method != "GET" else "/page?other", method)
        assert is_hit(await it.client.ask("/page"))


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
async def test_location_names_what_else_has_changed_on_this_origin_only(tmp_path: Path, field: str) -> None:
    said = ""

    def choose(request: web.Request) -> Way:
        return page("hello", Cache_Control=KEEP) if request.method == "GET" else page("", 201, **{field: said})

    ways = {target: by(choose) for target in ("/form", "/list", "/other")}
    async with fronted(tmp_path, ways) as it:
        await stored(it, "/list", "/other")
        said = "/list"
        await it.client.ask("/form", "POST")
        assert not is_hit(await it.client.ask("/list"))
        said = "http://elsewhere.example/other"
        await it.client.ask("/form", "POST")
        assert is_hit(await it.client.ask("/other"))


async def test_a_fetch_from_before_an_invalidation_is_not_taken_for_news(tmp_path: Path) -> None:
    """Who asks after the POST must not be given what was fetched before it."""
    gate = Gate(page("old", Cache_Control=KEEP))
    gets = in_turn(gate, page("new", Cache_Control=KEEP))

    def choose(request: web.Request) -> Way:
        return gets if request.method == "GET" else page("done")

    async with fronted(tmp_path, {"/page": by(choose)}) as it, asyncio.timeout(PATIENCE):
        early = asyncio.get_running_loop().create_task(it.client.ask("/page"))
        await it.origin.was_asked("/page", 1)
        await it.client.ask("/page", "POST")
        late = asyncio.get_running_loop().create_task(it.client.ask("/page"))
        await it.origin.was_asked("/page", 3)
        assert (await late).body == b"new"
        gate.open()
        assert (await early).body == b"old"
        assert (await it.client.ask("/page")).body == b"new"


async def test_cache_groups_are_invalidated_together(tmp_path: Path) -> None:
    """RFC 9875."""

    def choose(request: web.Request) -> Way:
        if request.method == "POST":
            return page("done", Cache_Group_Invalidation='"prices"')
        group = '"prices", "all"' if request.path != "/c" else '"all"'
        return page("hello", Cache_Control=KEEP, Cache_Groups=group)

    async with fronted(tmp_path, {target: by(choose) for target in ("/a", "/b", "/c", "/form")}) as it:
        await stored(it, "/a", "/b", "/c")
        await it.client.ask("/form", "POST")

        async def forgotten() -> bool | None:
            return not is_hit(await it.client.ask("/a")) or None

        await until(forgotten)
        assert not is_hit(await it.client.ask("/b"))
        assert is_hit(await it.client.ask("/c"))


# --- keys


async def test_ignored_query_parameters_make_no_other_page(tmp_path: Path) -> None:
    async with fronted(
        tmp_path, {"/page": page("hello", Cache_Control=KEEP)}, site='[site.cache]\nignore_query = ["utm_*"]\n'
    ) as it:
        await it.client.ask("/page?a=1&utm_source=x")
        assert is_hit(await it.client.ask("/page?utm_medium=y&a=1"))
        assert not is_hit(await it.client.ask("/page?a=2"))


async def test_a_post_whose_answer_is_what_get_would_find_is_kept_as_that(tmp_path: Path) -> None:
    """RFC 9110 section 9.3.3."""
    answer = page("hello", Cache_Control=KEEP, Content_Location="/page", Date=formatdate(usegmt=True))
    async with fronted(tmp_path, {"/page": answer}) as it:
        assert (await it.client.ask("/page", "POST", data=b"x")).body == b"hello"

        async def kept() -> Answer | None:
            found = await it.client.ask("/page", headers={"Cache-Control": "only-if-cached"})
            return found if found.status == 200 else None

        assert (await until(kept)).body == b"hello"
    assert it.origin.count("/page") == 1
