"""Many clients, one fetch; and when the answer is not for all, nobody waits for anybody: seen by who stands at a gate in the
origin."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.edge import Answer, connected, running_edge, until
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.raw_origin import answer as raw_answer
from tests.support.scripted import PATIENCE, Fronted, Gate, Way, by, fronted, in_turn, page

CLIENTS = 100
KEPT = page("for all", Cache_Control="max-age=60", ETag='"a"')
MINE = page("for one", Cache_Control="private", Set_Cookie="id=1")


async def waiting(it: Fronted, count: int) -> None:
    """Until `count` exchanges are under way in the edge."""

    async def there() -> bool | None:
        return it.edge.listener.counts().get("exchange", 0) >= count or None

    await until(there)


def together(it: Fronted, target: str, count: int, **options: object) -> list["asyncio.Task[Answer]"]:
    """`count` requests at once."""
    return [asyncio.get_running_loop().create_task(it.client.ask(target, **options)) for _ in range(count)]


async def test_a_hundred_clients_are_one_fetch(tmp_path: Path) -> None:
    gate = Gate(KEPT)
    async with fronted(tmp_path, {"/page": gate}) as it, asyncio.timeout(PATIENCE):
        asked = together(it, "/page", CLIENTS)
        await waiting(it, CLIENTS)
        gate.open()
        answers = await asyncio.gather(*asked)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"for all")}
    assert gate.arrived == 1
    told = Counter("collapsed" in answer["Cache-Status"] for answer in answers)
    assert told == {True: CLIENTS - 1, False: 1}, "RFC 9211 section 2.6"


async def test_a_hundred_clients_read_one_body_while_it_arrives(tmp_path: Path) -> None:
    half = asyncio.Event()

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "max-age=60"})
        await response.prepare(request)
        await response.write(b"a" * 400_000)
        await half.wait()
        await response.write(b"b" * 400_000)
        return response

    async with fronted(tmp_path, {"/page": way}) as it, asyncio.timeout(2 * PATIENCE):

        async def one(has_half: asyncio.Semaphore) -> int:
            async with it.client.session.get(it.client.base + "/page") as response:
                assert await response.content.readexactly(400_000) == b"a" * 400_000
                has_half.release()
                return len(await response.read())

        has_half = asyncio.Semaphore(0)
        readers = [asyncio.get_running_loop().create_task(one(has_half)) for _ in range(CLIENTS)]
        for _ in range(CLIENTS):
            await has_half.acquire()
        half.set()
        assert await asyncio.gather(*readers) == [400_000] * CLIENTS
    assert it.origin.count("/page") == 1


async def test_a_hundred_clients_revalidate_once(tmp_path: Path) -> None:
    gate = Gate(page("for all", Cache_Control="max-age=0", ETag='"a"'))
    first = page("for all", Cache_Control="max-age=0", ETag='"a"')
    async with fronted(tmp_path, {"/page": in_turn(first, gate)}) as it, asyncio.timeout(PATIENCE):
        await it.client.ask("/page")
        asked = together(it, "/page", CLIENTS)
        await waiting(it, CLIENTS)
        gate.open()
        answers = await asyncio.gather(*asked)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"for all")}
    assert it.origin.count("/page") == 2
    assert it.origin.last("/page").fields["If-None-Match"] == '"a"'


# --- what frees those who wait


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        (MINE, "private"),
        (page("for one", Cache_Control="no-store"), "no-store"),
        (page("for one", Cache_Control="max-age=60", Vary="*"), "vary-star"),
        (page("for one", Cache_Control="max-age=60", Set_Cookie="id=1"), "set-cookie"),
    ],
    ids=["private", "no-store", "vary-star", "set-cookie"],
)
async def test_an_answer_for_one_frees_all_others_at_once_and_side_by_side(tmp_path: Path, mine: Way, reason: str) -> None:
    leader, others = Gate(mine), Gate(mine)
    async with fronted(tmp_path, {"/page": in_turn(leader, others)}) as it, asyncio.timeout(PATIENCE):
        asked = together(it, "/page", CLIENTS)
        await waiting(it, CLIENTS)
        await it.origin.was_asked("/page", 1)
        assert (leader.arrived, others.arrived) == (1, 0)
        leader.open()
        # All of them stand at the second gate together: none waits for the answer of another.
        await it.origin.was_asked("/page", CLIENTS)
        assert others.arrived == CLIENTS - 1
        others.open()
        answers = await asyncio.gather(*asked)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"for one")}
    assert sum(f"detail={reason}" in answer["Cache-Status"] for answer in answers) == CLIENTS


async def test_a_leader_that_leaves_takes_nobody_with_it(tmp_path: Path) -> None:
    gate = Gate(KEPT)
    async with fronted(tmp_path, {"/page": gate}) as it, asyncio.timeout(PATIENCE):
        async with connected(it.edge) as leader:
            leader.send(f"GET /page HTTP/1.1\r\nHost: {it.client.base[7:]}\r\n\r\n".encode())
            await it.origin.was_asked("/page", 1)
            asked = together(it, "/page", 20)
            await waiting(it, 21)
            leader.writer.transport.abort()
        gate.open()
        answers = await asyncio.gather(*asked)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"for all")}
    assert gate.arrived == 1


async def test_a_leader_that_leaves_before_a_private_answer_gives_it_to_nobody(tmp_path: Path) -> None:
    leaders, others = Gate(page("the leader's", Cache_Control="private")), Gate(page("their own", Cache_Control="private"))
    async with fronted(tmp_path, {"/page": in_turn(leaders, others)}) as it, asyncio.timeout(PATIENCE):
        async with connected(it.edge) as leader:
            leader.send(f"GET /page HTTP/1.1\r\nHost: {it.client.base[7:]}\r\n\r\n".encode())
            await it.origin.was_asked("/page", 1)
            asked = together(it, "/page", 20)
            await waiting(it, 21)
            leader.writer.transport.abort()
        leaders.open()
        await it.origin.was_asked("/page", 21)
        others.open()
        answers = await asyncio.gather(*asked)
    assert {answer.body for answer in answers} == {b"their own"}


async def test_a_leader_whose_origin_fails_frees_all_with_the_same_error_and_no_second_try(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await gate.wait()
        connection.reset()

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, client), asyncio.timeout(PATIENCE):
        asked = [asyncio.get_running_loop().create_task(client.ask("/page")) for _ in range(20)]

        async def there() -> bool | None:
            return edge.listener.counts().get("exchange", 0) >= 20 or None

        await until(there)
        gate.set()
        answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers} == {502}
        assert len(origin.heads) == 1


async def test_a_body_that_breaks_off_breaks_off_for_all_and_the_next_one_asks_anew(tmp_path: Path) -> None:
    half = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        if connection.number > 1:
            await connection.send(raw_answer(b"whole", b"Cache-Control: max-age=60"))
            return
        await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nhalf")
        await half.wait()

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, client), asyncio.timeout(PATIENCE):
        async with connected(edge) as one, connected(edge) as other:
            for raw in (one, other):
                raw.send(f"GET /page HTTP/1.1\r\nHost: {client.base[7:]}\r\n\r\n".encode())
                await raw.reader.readuntil(b"half")
            half.set()
            assert (await one.rest(), await other.rest()) == (b"", b"")
        assert len(origin.heads) == 1
        assert (await client.ask("/page")).body == b"whole"
        assert len(origin.heads) == 2


# --- what is not waited for


async def test_a_key_known_to_be_uncacheable_is_never_serialised(tmp_path: Path) -> None:
    gate = Gate(MINE)
    async with fronted(tmp_path, {"/page": in_turn(MINE, gate)}) as it, asyncio.timeout(PATIENCE):
        await it.client.ask("/page")
        asked = together(it, "/page", CLIENTS)
        # Nobody opens the gate for a first one: all stand at it.
        await it.origin.was_asked("/page", 1 + CLIENTS)
        assert gate.arrived == CLIENTS
        gate.open()
        answers = await asyncio.gather(*asked)
    assert {answer.body for answer in answers} == {b"for one"}


async def test_a_key_that_becomes_cacheable_again_is_shared_again(tmp_path: Path) -> None:
    gate = Gate(KEPT)
    async with fronted(tmp_path, {"/page": in_turn(MINE, KEPT, gate)}) as it, asyncio.timeout(PATIENCE):
        assert (await it.client.ask("/page")).body == b"for one"
        assert (await it.client.ask("/page")).body == b"for all"
        again = await it.client.ask("/page")
    assert "hit" in again["Cache-Status"]
    assert gate.arrived == 0


async def test_requests_with_credentials_do_not_wait_for_each_other(tmp_path: Path) -> None:
    gate = Gate(page("for one", Cache_Control="max-age=60"))
    async with fronted(tmp_path, {"/page": gate}) as it, asyncio.timeout(PATIENCE):
        asked = together(it, "/page", 10, headers={"Authorization": "Bearer x"})
        await it.origin.was_asked("/page", 10)
        gate.open()
        await asyncio.gather(*asked)


async def test_requests_that_select_different_variants_do_not_wait_for_each_other(tmp_path: Path) -> None:
    gates = {"de": Gate(page("deutsch", Cache_Control="max-age=0", Vary="Accept-Language", ETag='"de"'))}
    gates["en"] = Gate(page("english", Cache_Control="max-age=0", Vary="Accept-Language", ETag='"en"'))

    def choose(request: web.Request) -> Way:
        gate = gates[request.headers["Accept-Language"]]
        return gate if request.headers.get("If-None-Match") else gate.way

    async with fronted(tmp_path, {"/page": by(choose)}) as it, asyncio.timeout(PATIENCE):
        for language in gates:
            await it.client.ask("/page", headers={"Accept-Language": language})
        asked = {name: together(it, "/page", 10, headers={"Accept-Language": name}) for name in gates}
        await waiting(it, 20)
        gates["en"].open()
        assert {answer.body for answer in await asyncio.gather(*asked["en"])} == {b"english"}
        gates["de"].open()
        assert {answer.body for answer in await asyncio.gather(*asked["de"])} == {b"deutsch"}
    assert (gates["de"].arrived, gates["en"].arrived) == (1, 1)


async def test_followers_whose_variant_it_turns_out_not_to_be_go_at_once(tmp_path: Path) -> None:
    """Until the first answer says so, nobody knows that the page varies."""
    first, others = asyncio.Event(), asyncio.Event()

    async def way(request: web.Request) -> web.StreamResponse:
        language = request.headers["Accept-Language"]
        await (first if it.origin.count("/page") == 1 else others).wait()
        return web.Response(text=language, headers={"Cache-Control": "max-age=60", "Vary": "Accept-Language"})

    async with fronted(tmp_path, {"/page": way}) as it, asyncio.timeout(PATIENCE):
        asked = [*together(it, "/page", 1, headers={"Accept-Language": "en"})]
        await it.origin.was_asked("/page", 1)
        asked += [task for name in ("de", "en") for task in together(it, "/page", 10, headers={"Accept-Language": name})]
        await waiting(it, 21)
        first.set()
        await it.origin.was_asked("/page", 11)
        others.set()
        answers = await asyncio.gather(*asked)
    assert [answer.body for answer in answers] == [b"en"] + [b"de"] * 10 + [b"en"] * 10
    assert it.origin.count("/page") == 11


async def test_a_body_too_large_to_keep_is_read_by_all_who_were_there_and_the_next_one_asks_anew(tmp_path: Path) -> None:
    large = bytes(range(256)) * 8192
    gate = Gate(page(large, Cache_Control="max-age=60"))

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "max-age=60"})
        await response.prepare(request)
        gate.arrived += 1
        await gate._open.wait()
        await response.write(large)
        return response

    async with fronted(tmp_path, {"/page": way}, site='[site.cache]\nmax_object = "1MiB"\n') as it, asyncio.timeout(PATIENCE):
        asked = together(it, "/page", 10)
        await waiting(it, 10)
        gate.open()
        assert {answer.body == large for answer in await asyncio.gather(*asked)} == {True}
        assert gate.arrived == 1
        assert (await it.client.ask("/page")).body == large
        assert gate.arrived == 2
