"""Bytes on the disk change behind the edge's back: never served, named by `ledger verify`, and the rest of the site unharmed."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.app import Edge
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.ledger_db import LEDGER_FILE
from tests.support.edge import Answer, Client, EdgeProcess, command, json_of, running_edge, until, write_config
from tests.support.raw_origin import free_port
from tests.support.site import Site, content, running_site

SMALL = "/small?cc=max-age=0&size=5000"
CHUNKED = "/chunked?cc=max-age=0&size=400000"
OTHERS = [f"/other-{number}?max-age=600&size={3000 + number}" for number in range(5)]
LARGE_OTHER = "/other-large?max-age=600&size=300000"
CHUNK = 65_536
FROM_DISK = '[site.cache]\nmemory_object = "1KiB"'
"""Bodies are read, and proved, for each answer."""


def body_of(target: str, version: str) -> bytes:
    return content(target, version, int(target.rpartition("size=")[2]))


@dataclass(frozen=True)
class Damage:
    """What is done to the file of a body. `late`: only after the first chunk, so that a part of it may have been sent."""

    name: str
    apply: Callable[[Path], None]
    targets: tuple[str, ...] = (SMALL, CHUNKED)
    late: bool = False


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def chunks_of(path: Path) -> Path:
    return path.with_name(path.name + ".chunks")


DAMAGES = [
    Damage("first byte", lambda path: flip(path, 0)),
    Damage("last byte", lambda path: flip(path, -1), targets=(SMALL,)),
    Damage("byte in the last chunk", lambda path: flip(path, -1), targets=(CHUNKED,), late=True),
    Damage("byte in the third chunk", lambda path: flip(path, 2 * CHUNK + 7), targets=(CHUNKED,), late=True),
    Damage("hash of a chunk", lambda path: flip(chunks_of(path), 40), targets=(CHUNKED,)),
    Damage("hashes of the chunks gone", lambda path: chunks_of(path).unlink(), targets=(CHUNKED,)),
    Damage("cut short", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    Damage("grown", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    Damage("emptied", lambda path: path.write_bytes(b"")),
    Damage("gone", lambda path: path.unlink()),
]
CASES = [
    pytest.param(damage, target, id=f"{damage.name}, {target.split('?')[0][1:]}")
    for damage in DAMAGES
    for target in damage.targets
]


@dataclass
class Kept:
    """A data folder at rest. `versions` are the blocks that hold the two versions of a page."""

    folder: Path
    versions: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def database(self) -> Path:
        return self.data / LEDGER_FILE

    def file(self, target: str, version: str) -> Path:
        name = digest_of(target, version)
        return self.data / "bodies" / name[:2] / name

    def quarantined(self) -> set[str]:
        return {path.name for path in (self.data / "quarantine").iterdir() if path.suffix != ".chunks"}


def digest_of(target: str, version: str) -> str:
    return hashlib.sha256(body_of(target, version)).hexdigest()


@asynccontextmanager
async def edge_over(kept: Kept, origin: str | None, *, site: str = "") -> AsyncIterator[tuple[Edge, Client]]:
    """An edge over this data folder; without `origin` one whose origin is dead."""
    async with running_edge(kept.folder, origin or f"http://127.0.0.1:{free_port()}", site=site) as (edge, client):
        # Keys have the port in them: the same name at each start, whatever port the edge got.
        client.session.headers["Host"] = "site.test"
        yield edge, client


async def fill(kept: Kept, client: Client, site: Site, *, versions: tuple[str, ...]) -> None:
    """Have everything stored, the two pages in each of `versions`, and note their blocks."""
    for version in versions:
        site.version = version
        targets = [SMALL, CHUNKED] + ([*OTHERS, LARGE_OTHER] if version == versions[-1] else [])
        for target in targets:
            assert (await client.ask(target)).body == body_of(target, version)
        for target in targets:
            kept.versions[target, version] = await block_of(client, target, version)


async def block_of(client: Client, target: str, version: str) -> str:
    """The block that holds this version, once it is committed; asks nobody but the edge."""

    async def committed() -> str | None:
        peek = await client.ask(target, headers={"Cache-Control": "only-if-cached, max-stale=600"})
        return (peek["Edge-Block"] or None) if peek.body == body_of(target, version) else None

    return await until(committed)


@asynccontextmanager
async def kept_site(folder: Path, *, versions: tuple[str, ...] = ("1", "2")) -> AsyncIterator[tuple[Kept, Site]]:
    """A site, and the data folder of an edge that stored all of it and was stopped."""
    kept = Kept(folder)
    async with running_site() as site:
        async with edge_over(kept, site.url) as (_, client):
            await fill(kept, client, site, versions=versions)
        assert audit_now(kept.data).is_clean
        yield kept, site


async def ask_whatever_comes(client: Client, target: str) -> tuple[Answer | None, bytes]:
    """The answer, or None when it broke off; and the bytes that came in any case."""
    came = b""
    try:
        async with client.session.get(client.base + target) as response:
            async for piece in response.content.iter_any():
                came += piece
            return Answer(response.status, response.headers, came), came
    except aiohttp.ClientPayloadError:
        return None, came


async def assert_unharmed(client: Client, version: str, *, except_for: str = "") -> None:
    for target in (*OTHERS, LARGE_OTHER):
        if target != except_for:
            answer = await client.ask(target)
            assert (answer.status, answer.body) == (200, body_of(target, version)), target
            assert answer["Cache-Status"].startswith("edgeproxy;hit")


async def first_whole_answer(client: Client, damage: Damage, target: str, bad: str) -> Answer:
    """The first answer after the damage; one that was found too late may break off before, after right bytes only."""
    answer, came = await ask_whatever_comes(client, target)
    if damage.late and answer is None:
        assert body_of(target, bad).startswith(came)
        assert len(came) < len(body_of(target, bad))
        answer, came = await ask_whatever_comes(client, target)
    assert answer is not None
    return answer


@pytest.mark.parametrize(("damage", "target"), CASES)
async def test_damaged_body_with_a_dead_origin_gives_way_to_the_block_before_it(
    tmp_path: Path, damage: Damage, target: str
) -> None:
    async with kept_site(tmp_path) as (kept, _):
        damage.apply(kept.file(target, "2"))
        named = {fault.digest.hex() for fault in audit_now(kept.data).faults if fault.digest}
        assert named == {digest_of(target, "2")}
        async with edge_over(kept, None, site=FROM_DISK if target == CHUNKED else "") as (_, client):
            answer = await first_whole_answer(client, damage, target, bad="2")
            again = await client.ask(target)
            await assert_unharmed(client, "2")
            undamaged = SMALL if target == CHUNKED else CHUNKED
            assert (await client.ask(undamaged)).body == body_of(undamaged, "2")
    for each in (answer, again):
        assert (each.status, each.body) == (200, body_of(target, "1"))
        assert each["Edge-Block"] == kept.versions[target, "1"]
        assert each["Cache-Status"].startswith("edgeproxy;fwd=")
        assert each["Proxy-Status"] == "edgeproxy;error=connection_refused"
    if not damage.late:
        assert answer["Cache-Status"].endswith("detail=previous-block")
    if damage.name != "gone":
        assert kept.quarantined() == {digest_of(target, "2")}
    assert not kept.file(target, "2").exists()


@pytest.mark.parametrize(("damage", "target"), CASES)
async def test_damaged_body_without_a_block_before_it_is_our_error_page(tmp_path: Path, damage: Damage, target: str) -> None:
    async with kept_site(tmp_path, versions=("1",)) as (kept, _):
        damage.apply(kept.file(target, "1"))
        async with edge_over(kept, None, site=FROM_DISK if target == CHUNKED else "") as (_, client):
            answer = await first_whole_answer(client, damage, target, bad="1")
            await assert_unharmed(client, "1")
    assert answer.status in (502, 503)
    assert answer["Content-Type"].startswith("text/html")
    assert answer["Proxy-Status"] == "edgeproxy;error=connection_refused"
    assert "Edge-Block" not in answer.headers  # type: ignore[operator]


@pytest.mark.parametrize(("damage", "target"), CASES)
async def test_damaged_body_with_a_living_origin_is_fetched_anew_and_whole_again(
    tmp_path: Path, damage: Damage, target: str
) -> None:
    fresh = OTHERS[0] if target == SMALL else LARGE_OTHER
    async with kept_site(tmp_path, versions=("1",)) as (kept, site):
        damage.apply(kept.file(fresh, "1"))
        async with edge_over(kept, site.url, site=FROM_DISK if fresh == LARGE_OTHER else "") as (_, client):
            answer = await first_whole_answer(client, damage, fresh, bad="1")
            await assert_unharmed(client, "1", except_for=fresh)
            await block_of(client, fresh, "1")
        assert (answer.status, answer.body) == (200, body_of(fresh, "1"))
        assert "fwd=" in answer["Cache-Status"]
        # The same bytes came again: the blocks that name them are whole, the old one too.
        assert audit_now(kept.data).is_clean
        async with edge_over(kept, None) as (_, client):
            await assert_unharmed(client, "1")


@pytest.mark.parametrize(("damage", "target"), [case for case in CASES if case.values[1] == CHUNKED])
async def test_body_that_is_taken_into_memory_is_proved_whole(tmp_path: Path, damage: Damage, target: str) -> None:
    """Then nothing of it goes out before; and the hashes of its chunks do not matter."""
    async with kept_site(tmp_path) as (kept, _):
        damage.apply(kept.file(target, "2"))
        async with edge_over(kept, None) as (_, client):
            answer = await client.ask(target)
    version = "2" if "hash" in damage.name else "1"
    assert (answer.status, answer.body) == (200, body_of(target, version))
    assert answer["Edge-Block"] == kept.versions[target, version]


@pytest.mark.parametrize("target", [OTHERS[0], LARGE_OTHER], ids=["small", "chunked"])
@pytest.mark.parametrize("is_dead", [True, False], ids=["dead", "alive"])
async def test_damage_under_a_running_edge_is_found_when_the_fresh_body_is_read(
    tmp_path: Path, target: str, is_dead: bool
) -> None:
    """With bodies read from the disk for each answer; what is in memory was verified before, and stays good."""
    kept = Kept(tmp_path)
    async with running_site() as site, edge_over(kept, site.url, site=FROM_DISK) as (edge, client):
        await fill(kept, client, site, versions=("1",))
        for _ in range(2):
            hit = await client.ask(target)
            assert hit.body == body_of(target, "1")
            assert hit["Cache-Status"].startswith("edgeproxy;hit")
        flip(kept.file(target, "1"), 100)
        site.failing = 503 if is_dead else None
        answer = await client.ask(target)
        if is_dead:
            assert (answer.status, answer.body) == (503, b"origin is in trouble")
        else:
            assert (answer.status, answer.body) == (200, body_of(target, "1"))
            assert answer["Cache-Status"].startswith("edgeproxy;fwd=")
        await assert_unharmed(client, "1", except_for=target)
        assert edge.metrics.site("*").corrupt_bodies == 1
        assert kept.quarantined() == {digest_of(target, "1")}


async def test_ranges_are_proved_too(tmp_path: Path) -> None:
    """A range away from the damage is served; one over it is not."""
    kept = Kept(tmp_path)
    async with running_site() as site, edge_over(kept, site.url, site=FROM_DISK) as (_, client):
        await fill(kept, client, site, versions=("1",))
        flip(kept.file(LARGE_OTHER, "1"), 200_000)
        site.failing = 503
        away = await client.ask(LARGE_OTHER, headers={"Range": "bytes=10-69999"})
        assert (away.status, away.body) == (206, body_of(LARGE_OTHER, "1")[10:70_000])
        over = await client.ask(LARGE_OTHER, headers={"Range": "bytes=199990-200010"})
        assert over.status == 503


async def test_bodies_smaller_than_a_chunk_tree_are_served_from_disk_when_memory_is_not_for_them(tmp_path: Path) -> None:
    """`memory_object` below 256 KiB: such bodies have no chunks, and are proved whole each time they are read."""
    target = "/page?max-age=600&size=100000"
    async with running_site() as site:
        site_tables = '[site.cache]\nmemory_object = "64KiB"'
        async with running_edge(tmp_path, site.url, site=site_tables) as (_, client):
            await client.recorded(target)
            answer = await client.ask(target, headers={"Range": "bytes=5000-5999"})
            assert (answer.status, answer.body) == (206, body_of(target, "1")[5000:6000])
            assert (await client.ask(target)).body == body_of(target, "1")
        assert site.seen == [target]


def test_verify_names_the_damaged_body_and_exits_with_1(tmp_path: Path) -> None:
    """The command itself, beside a running edge as well."""

    async def make() -> Kept:
        async with kept_site(tmp_path) as (kept, _):
            return kept

    kept = asyncio.run(make())
    flip(kept.file(CHUNKED, "2"), 300_000)
    flip(kept.file(SMALL, "1"), 1)
    bad = {digest_of(CHUNKED, "2"), digest_of(SMALL, "1")}
    done = command("ledger", "verify", "--data", str(kept.data))
    assert done.returncode == 1
    assert all(name in done.stderr for name in bad)
    edge = EdgeProcess(write_config(tmp_path, f"http://127.0.0.1:{free_port()}"))
    edge.start()
    try:
        beside = command("ledger", "verify", "--data", str(kept.data), "--json")
    finally:
        assert edge.stop() == 0
    assert beside.returncode == 1
    report = json_of(beside)
    assert report["ok"] is False
    assert {fault["body"] for fault in report["faults"]} == bad  # type: ignore[attr-defined]


# --- the database ---


def row_of(kept: Kept, height: str) -> dict[str, bytes]:
    """What the database has of one block, in its own columns."""
    with closing(sqlite3.connect(kept.database)) as connection:
        raw, leaf = connection.execute("SELECT raw, leaf FROM blocks WHERE height = ?", (int(height),)).fetchone()
        (head,) = connection.execute("SELECT bytes FROM heads WHERE height = ?", (int(height),)).fetchone()
        value, extra = connection.execute("SELECT value, extra FROM private WHERE height = ?", (int(height),)).fetchone()
    return {"block": raw, "leaf": leaf, "head": head, "names": value + extra}


def flip_in_database(kept: Kept, height: str, column: str) -> None:
    """Change one bit in the middle of one column, in the file itself."""
    whole = row_of(kept, height)
    # Heads and names may be the same in two rows: the place is found by what only this row has beside it.
    data = bytearray(kept.database.read_bytes())
    places = [at for at in range(len(data)) if data.startswith(whole[column], at)]
    assert places, "the row is in one piece on its page"
    for place in places:
        data[place + len(whole[column]) // 2] ^= 0x01
        kept.database.write_bytes(data)
        if row_of(kept, height)[column] != whole[column]:
            return
        data[place + len(whole[column]) // 2] ^= 0x01
    raise AssertionError("the byte is not that of the row")


COLUMNS = ["block", "head", "names"]


@pytest.mark.parametrize("column", COLUMNS)
async def test_damaged_row_with_a_dead_origin_gives_way_to_the_block_before_it(tmp_path: Path, column: str) -> None:
    async with kept_site(tmp_path) as (kept, _):
        height = kept.versions[SMALL, "2"]
        flip_in_database(kept, height, column)
        assert height in {str(fault.height) for fault in audit_now(kept.data).faults}
        async with edge_over(kept, None) as (_, client):
            answer = await client.ask(SMALL)
            await assert_unharmed(client, "2")
            assert (await client.ask(CHUNKED)).body == body_of(CHUNKED, "2")
    assert (answer.status, answer.body) == (200, body_of(SMALL, "1"))
    assert answer["Edge-Block"] == kept.versions[SMALL, "1"]
    assert answer["Proxy-Status"] == "edgeproxy;error=connection_refused"


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("is_dead", [True, False], ids=["dead", "alive"])
async def test_damaged_row_without_a_block_before_it_is_an_error_page_or_fresh(
    tmp_path: Path, column: str, is_dead: bool
) -> None:
    target = OTHERS[2]
    async with kept_site(tmp_path, versions=("1",)) as (kept, site):
        flip_in_database(kept, kept.versions[target, "1"], column)
        async with edge_over(kept, None if is_dead else site.url) as (edge, client):
            answer = await client.ask(target)
            await assert_unharmed(client, "1", except_for=target)
            health = edge.backend.healthy()
        assert "damaged" in str(health[1]["ledger"]) or column == "head"
        if is_dead:
            assert answer.status in (502, 503)
            assert "Edge-Block" not in answer.headers  # type: ignore[operator]
        else:
            assert (answer.status, answer.body) == (200, body_of(target, "1"))
            assert "fwd=" in answer["Cache-Status"]


async def test_damaged_leaf_hash_costs_nothing_and_is_named(tmp_path: Path) -> None:
    """The next block names the hash too, so that the block is proved all the same."""
    async with kept_site(tmp_path, versions=("1",)) as (kept, _):
        height = kept.versions[OTHERS[2], "1"]
        flip_in_database(kept, height, "leaf")
        assert height in {str(fault.height) for fault in audit_now(kept.data).faults}
        async with edge_over(kept, None) as (_, client):
            await assert_unharmed(client, "1")


async def test_rule_of_a_purge_holds_when_its_row_is_damaged(tmp_path: Path) -> None:
    """A page that was purged for good is not served again because a byte of the purge has changed."""
    async with kept_site(tmp_path, versions=("1",)) as (kept, site):
        async with edge_over(kept, site.url) as (_, client):
            url = f"http://site.test{OTHERS[0]}"
            done = await asyncio.to_thread(command, "purge", url, "--hard", "--data", str(kept.data), "--json")
            (height,) = json_of(done)["heights"]  # type: ignore[misc]
        with closing(sqlite3.connect(kept.database)) as connection:
            (value,) = connection.execute("SELECT value FROM private WHERE height = ?", (height,)).fetchone()
        assert value == url.encode()
        data = bytearray(kept.database.read_bytes())
        places = [at for at in range(len(data)) if data.startswith(value, at)]
        assert len(places) == 2, "the page's own row, and that of the purge"
        for place in places:
            data[place + 3] ^= 0x01
        kept.database.write_bytes(data)
        async with edge_over(kept, None) as (_, client):
            assert (await client.ask(OTHERS[0])).status in (502, 503)
