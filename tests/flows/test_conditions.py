"""Conditional and partial requests, to the origin and from the client, through the whole edge (RFC 9110 sections 13 and 14)."""

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.bodies import patterned
from tests.support.edge import Answer, until
from tests.support.scripted import PATIENCE, Fronted, Gate, Way, by, fronted, in_turn, page

KEEP = "max-age=600"
STALE = {"Cache_Control": "max-age=60", "Age": "100"}
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
LARGE = patterned(5_000_001)
"""Larger than `memory_object`: comes from the disk, chunk by chunk."""


async def history(it: Fronted, target: str) -> list[dict[str, object]]:
    """The versions of a page as the ledger has them, newest first."""
    found: list[dict[str, object]] = (await it.edge.backend.ledger_history(it.client.base + target, 10))["versions"]
    return found


async def committed(it: Fronted, target: str, count: int) -> list[dict[str, object]]:
    """Wait until the ledger has `count` versions."""

    async def there() -> list[dict[str, object]] | None:
        found = await history(it, target)
        return found if len(found) >= count else None

    return await until(there)


# --- validation with the origin (RFC 9111 section 4.3)


async def test_a_stale_answer_is_validated_with_both_validators_and_a_304_becomes_a_refresh_block(tmp_path: Path) -> None:
    first = page("hello", ETag='"a"', Last_Modified=MODIFIED, X_Version="1", **STALE)
    confirms = page("", 304, ETag='"a"', Cache_Control=KEEP, X_Version="2")
    async with fronted(tmp_path, {"/page": in_turn(first, confirms)}) as it:
        await it.client.ask("/page")
        await committed(it, "/page", 1)
        validated = await it.client.ask("/page")
        asked = it.origin.last("/page").fields
        assert (asked["If-None-Match"], asked["If-Modified-Since"]) == ('"a"', MODIFIED)
        assert (validated.status, validated.body, validated["X-Version"]) == (200, b"hello", "2")
        assert "fwd=stale;fwd-status=304" in validated["Cache-Status"]
        refresh, store = await committed(it, "/page", 2)
        hit = await it.client.recorded("/page")
    assert [store["op"], refresh["op"]] == ["store", "refresh"]
    assert store["body"] == refresh["body"]
    assert hit["Edge-Block"] == str(refresh["height"])
    assert hit["Cache-Status"].startswith("edgeproxy;hit")
    assert hit["X-Version"] == "2"
    assert it.origin.count("/page") == 2


@pytest.mark.parametrize(
    ("validators", "expected"),
    [({"ETag": 'W/"a"'}, ("If-None-Match", 'W/"a"')), ({"Last_Modified": MODIFIED}, ("If-Modified-Since", MODIFIED))],
)
async def test_one_validator_is_enough(tmp_path: Path, validators: dict[str, str], expected: tuple[str, str]) -> None:
    async with fronted(tmp_path, {"/page": page("hello", **STALE, **validators)}) as it:
        await it.client.ask("/page")
        assert (await it.client.ask("/page")).body == b"hello"
    assert it.origin.last("/page").fields[expected[0]] == expected[1]


async def test_a_changed_page_replaces_the_stale_one(tmp_path: Path) -> None:
    async with fronted(
        tmp_path, {"/page": in_turn(page("old", ETag='"a"', **STALE), page("new", ETag='"b"', Cache_Control=KEEP))}
    ) as it:
        await it.client.ask("/page")
        assert [(await it.client.ask("/page")).body for _ in range(2)] == [b"new", b"new"]
        assert [version["op"] for version in await committed(it, "/page", 2)] == ["store", "store"]
    assert it.origin.count("/page") == 2


async def test_a_clients_own_condition_does_not_stand_in_for_that_of_the_cache(tmp_path: Path) -> None:
    """The cache asks for the whole when it has nothing, and answers the client's condition from that."""
    async with fronted(tmp_path, {"/page": page("hello", ETag='"a"', Cache_Control=KEEP)}) as it:
        answer = await it.client.ask("/page", headers={"If-None-Match": '"a"'})
        assert (answer.status, answer.body) == (304, b"")
        assert "If-None-Match" not in it.origin.last("/page").fields
        assert (await it.client.ask("/page")).body == b"hello"
    assert it.origin.count("/page") == 1


# --- the client's conditions against the stored answer (RFC 9110 section 13.2.2)

CONDITIONS = [
    ({"If-None-Match": '"a"'}, 304),
    ({"If-None-Match": 'W/"a"'}, 304),
    ({"If-None-Match": '"x", "a"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"b"'}, 200),
    ({"If-Modified-Since": MODIFIED}, 304),
    ({"If-Modified-Since": "Tue, 02 Jan 2024 00:00:00 GMT"}, 304),
    ({"If-Modified-Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-None-Match": '"b"', "If-Modified-Since": MODIFIED}, 200),
]


async def test_client_conditions_are_answered_from_the_store(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", ETag='"a"', Last_Modified=MODIFIED, Cache_Control=KEEP)}) as it:
        await it.client.recorded("/page")
        for headers, status in CONDITIONS:
            for _ in range(2):  # the second time out of the ready answers
                answer = await it.client.ask("/page", headers=headers)
                assert (headers, answer.status) == (headers, status)
                assert answer.body == (b"" if status == 304 else b"hello")
                assert answer["ETag"] == '"a"'
                assert answer["Edge-Block"] == "1"
    assert it.origin.count("/page") == 1


# --- HEAD (RFC 9111 section 4.3.5)


def head_says(**fields: str) -> Way:
    """GET gives the page, HEAD the fields of a newer one."""

    def choose(request: web.Request) -> Way:
        return page("hello", ETag='"a"', X_Version="1", **STALE) if request.method == "GET" else page("hello", **fields)

    return by(choose)


async def test_a_head_freshens_what_is_stored(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": head_says(ETag='"a"', X_Version="2", Cache_Control=KEEP)}) as it:
        await it.client.ask("/page")
        assert (await it.client.ask("/page", "HEAD"))["X-Version"] == "2"
        hit = await it.client.ask("/page")
    assert hit["Cache-Status"].startswith("edgeproxy;hit")
    assert (hit.body, hit["X-Version"]) == (b"hello", "2")
    assert [asked.method for asked in it.origin.asked] == ["GET", "HEAD"]


async def test_a_head_that_tells_of_another_page_makes_the_stored_one_stale(tmp_path: Path) -> None:
    ways = {"/page": head_says(ETag='"b"', Cache_Control=KEEP)}
    async with fronted(tmp_path, ways) as it:
        await it.client.ask("/page")
        await it.client.ask("/page", "HEAD")
        assert not (await it.client.ask("/page"))["Cache-Status"].startswith("edgeproxy;hit")
    assert [asked.method for asked in it.origin.asked] == ["GET", "HEAD", "GET"]


# --- ranges (RFC 9110 section 14)

RANGES = [
    ("bytes=0-99", (0, 99)),
    ("bytes=100-100", (100, 100)),
    ("bytes=65530-65545", (65_530, 65_545)),
    ("bytes=-10", (-10, None)),
    ("bytes=1000-", (1000, None)),
]


@pytest.mark.parametrize("size", [300_000, len(LARGE)], ids=["out of memory", "from disk"])
async def test_ranges_of_a_stored_body(tmp_path: Path, size: int) -> None:
    body = LARGE[:size]
    async with fronted(tmp_path, {"/page": page(body, ETag='"a"', Cache_Control=KEEP)}) as it:
        await it.client.recorded("/page")
        for value, (first, last) in RANGES:
            answer = await it.client.ask("/page", headers={"Range": value})
            start = first if first >= 0 else size + first
            end = size - 1 if last is None else last
            assert answer.status == 206
            assert answer.body == body[start : end + 1]
            assert answer["Content-Range"] == f"bytes {start}-{end}/{size}"
            assert answer["Cache-Status"].startswith("edgeproxy;hit")
        too_far = await it.client.ask("/page", headers={"Range": f"bytes={size}-"})
        assert (too_far.status, too_far.body, too_far["Content-Range"]) == (416, b"", f"bytes */{size}")
        for ignored in ("bytes=9-1", "lines=1-2", "bytes=a-b"):
            answer = await it.client.ask("/page", headers={"Range": ignored})
            assert (ignored, answer.status, len(answer.body)) == (ignored, 200, size)
    assert it.origin.count("/page") == 1


@pytest.mark.parametrize("size", [300_000, len(LARGE)], ids=["out of memory", "from disk"])
async def test_several_ranges_are_a_multipart_answer(tmp_path: Path, size: int) -> None:
    body = LARGE[:size]
    async with fronted(tmp_path, {"/page": page(body, Content_Type="text/x-a", Cache_Control=KEEP)}) as it:
        await it.client.recorded("/page")
        answer = await it.client.ask("/page", headers={"Range": "bytes=0-9, 70000-70009,-5"})
    assert answer.status == 206
    found = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", answer["Content-Type"])
    assert found is not None
    assert int(answer["Content-Length"]) == len(answer.body)
    before, *parts, after = answer.body.split(b"--" + found[1].encode())
    assert (before.strip(), after.strip()) == (b"", b"--")
    read = [part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for part in parts]
    spans = [(0, 9), (70_000, 70_009), (size - 5, size - 1)]
    assert [content for _, _, content in read] == [body[first : last + 1] for first, last in spans]
    for (head, _, _), (first, last) in zip(read, spans, strict=True):
        assert b"content-type: text/x-a" in head.lower()
        assert f"content-range: bytes {first}-{last}/{size}".encode() in head.lower()


@pytest.mark.parametrize(
    ("condition", "status"), [('"a"', 206), ('"b"', 200), ('W/"a"', 200), (MODIFIED, 206), ("Tue, 02 Jan 2024 00:00:00 GMT", 200)]
)
async def test_if_range_wants_the_strong_validator_of_what_is_stored(tmp_path: Path, condition: str, status: int) -> None:
    """RFC 9110 section 13.1.5."""
    async with fronted(tmp_path, {"/page": page("hello", ETag='"a"', Last_Modified=MODIFIED, Cache_Control=KEEP)}) as it:
        await it.client.recorded("/page")
        answer = await it.client.ask("/page", headers={"Range": "bytes=0-1", "If-Range": condition})
    assert (answer.status, answer.body) == (status, b"he" if status == 206 else b"hello")


async def test_a_range_of_what_is_not_stored_fetches_the_whole_once(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page(LARGE[:100_000], Cache_Control=KEEP)}) as it:
        part = await it.client.ask("/page", headers={"Range": "bytes=500-599"})
        assert (part.status, part.body) == (206, LARGE[500:600])
        assert "Range" not in it.origin.last("/page").fields
        assert (await it.client.recorded("/page")).body == LARGE[:100_000]
    assert it.origin.count("/page") == 1


async def test_a_range_far_into_what_is_not_stored_is_asked_of_the_origin_as_it_is(tmp_path: Path) -> None:
    def choose(request: web.Request) -> Way:
        partial = page("far", 206, Content_Range="bytes 9000000-9000002/9000003", Cache_Control=KEEP)
        return partial if "Range" in request.headers else page("whole", Cache_Control=KEEP)

    async with fronted(tmp_path, {"/page": by(choose)}) as it:
        part = await it.client.ask("/page", headers={"Range": "bytes=9000000-"})
        assert (part.status, part.body) == (206, b"far")
        assert it.origin.last("/page").fields["Range"] == "bytes=9000000-"
        assert (await it.client.ask("/page")).body == b"whole", "a part is never stored as the whole"


async def test_followers_with_ranges_of_their_own_share_one_fetch(tmp_path: Path) -> None:
    gate = Gate(page(LARGE[:200_000], Cache_Control=KEEP))
    async with fronted(tmp_path, {"/page": gate}) as it, asyncio.timeout(PATIENCE):

        async def part(number: int) -> Answer:
            return await it.client.ask("/page", headers={"Range": f"bytes={number * 1000}-{number * 1000 + 9}"})

        asked = [asyncio.get_running_loop().create_task(part(number)) for number in range(20)]
        await it.origin.was_asked("/page", 1)
        gate.open()
        answers = await asyncio.gather(*asked)
    assert [answer.body for answer in answers] == [LARGE[number * 1000 :][:10] for number in range(20)]
    assert gate.arrived == 1


# --- bodies larger than the memory tier takes


async def test_a_large_body_is_streamed_from_disk_with_every_chunk_checked(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page(LARGE, ETag='"a"', Cache_Control=KEEP)}) as it:
        await it.client.recorded("/page")
        used = it.edge.tier.used
        answer = await it.client.ask("/page")
        assert answer.body == LARGE
        assert answer["Cache-Status"].startswith("edgeproxy;hit")
        assert used < 100_000, "the body is not in the memory tier"
        (file,) = (path for path in (tmp_path / "data" / "bodies").rglob("*") if path.stat().st_size == len(LARGE))
        damaged = bytearray(LARGE)
        damaged[3_000_000] ^= 1
        file.write_bytes(damaged)
        intact = await it.client.ask("/page", headers={"Range": "bytes=0-65535"})
        assert (intact.status, intact.body) == (206, LARGE[:65_536])
        part = await it.client.ask("/page", headers={"Range": "bytes=3000000-3000009"})
        assert part.body == LARGE[3_000_000:3_000_010], "the damaged chunk is not sent, the origin is asked again"
        assert (await it.client.ask("/page")).body == LARGE
