"""A node rebuilt out of an export, or of a living edge, by what is public or by its admin side, serves with the origin dead."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.app import Edge, running
from edgeproxy.config import load
from edgeproxy.exchange.block_api import BlockApi
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.recovery.staging import STAGING_FILE
from tests.support.edge import ROOT, Answer, Client, command, json_of, running_edge, until, write_config
from tests.support.site import Site, content, running_site

HOST = {"Host": "www.example.test"}
"""The same whatever port an edge got, so that the URLs are the same."""
SIZE = WHOLE_BODY_LIMIT + 70_000
PAGES = ["/?max-age=60", "/a?max-age=60&etag=x", f"/big?max-age=60&size={SIZE}", *(f"/p{n}?max-age=60" for n in range(12))]
LANGUAGES = "/l?max-age=60&vary=accept-language"


async def _fill(client: Client) -> dict[str, bytes]:
    """Ask for every page until it is in a block; what was answered."""
    seen = {}
    for target in PAGES:
        seen[target] = (await client.recorded(target, headers=HOST)).body
    for language in ("de", "fr"):
        answer = await client.recorded(LANGUAGES, headers={**HOST, "Accept-Language": language})
        seen[f"{LANGUAGES} {language}"] = answer.body
    return seen


async def _ask(client: Client, page: str) -> Answer:
    target, _, language = page.partition(" ")
    return await client.ask(target, headers={**HOST, **({"Accept-Language": language} if language else {})})


async def _is_served(client: Client, seen: dict[str, bytes]) -> None:
    for page, body in seen.items():
        answer = await _ask(client, page)
        assert (answer.status, answer.body) == (200, body), page
        assert "Edge-Block" in answer.headers  # type: ignore[operator]


@asynccontextmanager
async def _node(folder: Path, origin: str) -> AsyncIterator[tuple[Edge, Client]]:
    """An edge over the restored folder `folder`/data."""
    config = load(write_config(folder, origin))
    async with running(config) as edge, aiohttp.ClientSession(auto_decompress=False) as session:
        yield edge, Client(f"http://{edge.listener.addresses[0]}", session)


async def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(command, *arguments)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Where the second node lives."""
    folder = tmp_path / "second"
    folder.mkdir()
    return folder


async def _kill_origin(origin: Site) -> None:
    origin.failing = 503


async def test_a_node_restored_from_an_export_serves_the_site_with_the_origin_dead(tmp_path: Path, second: Path) -> None:
    file, data = tmp_path / "site.warc.gz", str(tmp_path / "data")
    async with running_site() as origin:
        async with running_edge(tmp_path, origin.url) as (edge, client):
            seen = await _fill(client)
            assert (await _run("purge", "http://www.example.test/p3?max-age=60", "--hard", "--data", data)).returncode == 0
            erased = await _run("ledger", "erase", "http://www.example.test/p4?max-age=60", "--data", data)
            assert erased.returncode == 0, erased.stderr
            gone = [seen.pop(f"/p{number}?max-age=60") for number in (3, 4)]
            exported = json_of(await _run("ledger", "export", str(file), "--json", "--data", data))
            assert (exported["size"], exported["without_heads"]) == (edge.sequencer.head().size, [])
            size, vkey = exported["size"], str(exported["vkey"])
            # At rest it is the same file, but for when it was written and what the records are called.
        await _kill_origin(origin)
        to = ("--data", str(second / "data"))
        other = vkey.replace("127", "128") if "127" in vkey else "x" + vkey
        assert (await _run("restore", "--from", str(file), *to, "--key", other)).returncode != 0
        done = await _run("restore", "--from", str(file), *to, "--key", vkey, "--json")
        outcome = json_of(done)
        assert (outcome["size"], outcome["keeps_key"], outcome["missing_bodies"]) == (size, False, 0)
        assert "trusting" not in done.stderr
        assert (await _run("ledger", "verify", *to)).returncode == 0
        assert (await _run("restore", "--from", str(file), *to)).returncode == 1, "there is a ledger now"
        async with _node(second, origin.url) as (edge, client):
            await _is_served(client, seen)
            for number in (3, 4):
                assert (await client.ask(f"/p{number}?max-age=60", headers=HOST)).status == 503
            assert str(edge.sequencer.log) != vkey, "a log of its own"
            assert edge.sequencer.fold.history("http://www.example.test/")[:1] == []
            history = await _run("ledger", "history", "http://www.example.test/a?max-age=60&etag=x", *to)
            assert history.returncode == 0
            assert (await _run("ledger", "verify", *to)).returncode == 0
        assert gone[1] not in b"".join(path.read_bytes() for path in second.rglob("*") if path.is_file())


_FORCED_LOTS = """
import sys
from edgeproxy.recovery import lots
lots.MOST = 3
from edgeproxy.cli import run
sys.exit(run(sys.argv[1:]))
"""


class Watched:
    """What an edge was asked for below /.edge/, and the place where it holds an answer back."""

    def __init__(self, edge: Edge, hold_after: int) -> None:
        self.targets: list[str] = []
        self.held = asyncio.Event()
        self._left = hold_after
        self._answer = edge.block_api.answer
        edge.block_api.answer = self.answer  # type: ignore[method-assign,assignment]

    async def answer(self, request: object) -> object:
        target = str(request.target)  # type: ignore[attr-defined]
        self.targets.append(target)
        if "/bodies/" in target:
            self._left -= 1
            if self._left < 0 and not self.held.is_set():
                await self.held.wait()
        return await self._answer(request)  # type: ignore[arg-type]

    async def is_stuck(self) -> bool | None:
        return self._left < 0 or None


def _there(folder: Path) -> tuple[set[str], int]:
    """Durable bodies, and how many heads."""
    bodies = {path.name for path in (folder / "bodies").rglob("*") if path.is_file() and len(path.name) == 64}
    with closing(sqlite3.connect(folder / STAGING_FILE)) as connection:
        return bodies, connection.execute("SELECT count(*) FROM heads").fetchone()[0]


async def test_a_restore_from_a_living_edge_survives_sigkill_and_names_are_found_by_their_digests(
    tmp_path: Path, second: Path
) -> None:
    data = second / "data"
    async with running_site() as origin:
        async with running_edge(tmp_path, origin.url) as (edge, client):
            seen = await _fill(client)
            watched = Watched(edge, hold_after=8)
            arguments = ["restore", "--from", client.base, "--data", str(data), "--key", str(edge.sequencer.log), "--json"]
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", _FORCED_LOTS, *arguments, cwd=ROOT)
            await until(watched.is_stuck)
            await until(lambda: _has_some(data))
            process.kill()
            await process.wait()
            watched.held.set()
            bodies, heads = _there(data)
            assert heads == len(seen)
            assert not (data / "ledger.sqlite").exists()
            first, watched.targets = watched.targets, []
            assert len([target for target in first if "/heads/" in target]) == len(seen)

            outcome = json_of(await _run(*arguments))
            asked = {target.rpartition("/")[2] for target in watched.targets}
            assert not asked & bodies, "what was there was not fetched again"
            assert [target for target in watched.targets if "/heads/" in target] == []
            assert outcome["fetched"] == outcome["bodies"] - len(bodies) > 0  # type: ignore[operator]
            assert (outcome["missing_heads"], outcome["missing_bodies"]) == (0, 0)
        await _kill_origin(origin)
        assert (await _run("ledger", "verify", "--data", str(data))).returncode == 0
        assert "http://www.example.test" not in data.joinpath("ledger.sqlite").read_bytes().decode("latin-1")
        async with _node(second, origin.url) as (edge, client):
            assert edge.sequencer.fold.by_url == {}
            assert (await client.ask("/none?max-age=60", headers=HOST)).status == 503
            both = await asyncio.gather(*(_ask(client, PAGES[0]) for _ in range(4)))
            assert [answer.body for answer in both] == [seen[PAGES[0]]] * 4
            await _is_served(client, seen)
            assert edge.sequencer.fold.blind == {}
            told = json.loads((await client.ask(f"/.edge/api/v1/blocks?url={'http://www.example.test/p1%3Fmax-age=60'}")).body)
            assert told["length"] == len(seen["/p1?max-age=60"])
        async with _node(second, origin.url) as (edge, client):
            assert len(edge.sequencer.fold.by_url) == len(PAGES) + 1, "the names were written down"
            await _is_served(client, seen)
            assert (await _run("ledger", "verify", "--data", str(data))).returncode == 0


async def _has_some(data: Path) -> bool | None:
    return len(_there(data)[0]) >= 3 or None


async def test_a_restore_by_the_admin_side_has_everything(tmp_path: Path, second: Path) -> None:
    data = str(second / "data")
    async with running_site() as origin:
        async with running_edge(tmp_path, origin.url, more="[ledger]\npublish = false\n") as (edge, client):
            seen = await _fill(client)
            hidden = await _run("restore", "--from", client.base, "--data", data, "--trust-first-use")
            assert (hidden.returncode, "publishes no ledger" in hidden.stderr) == (1, True)
            admin, token = f"http://{edge.admin_address}", tmp_path / "data" / "admin-token"
            assert (await _run("restore", "--from", admin, "--data", data)).returncode == 2
            wrong = tmp_path / "token"
            wrong.write_text("wrong")
            refused = await _run("restore", "--from", admin, "--admin-token", str(wrong), "--data", data)
            assert (refused.returncode, "401" in refused.stderr) == (1, True)
            done = await _run("restore", "--from", admin, "--admin-token", str(token), "--data", data, "--json")
            outcome = json_of(done)
            assert (outcome["missing_heads"], outcome["missing_bodies"]) == (0, 0)
        await _kill_origin(origin)
        at_rest = await _run("ledger", "history", "http://www.example.test/a?max-age=60&etag=x", "--data", data)
        assert at_rest.returncode == 0, at_rest.stderr
        async with _node(second, origin.url) as (edge, client):
            assert edge.cache.adopt is None
            await _is_served(client, seen)


async def test_what_a_living_edge_does_not_give_out_is_not_there_and_no_fault(tmp_path: Path, second: Path) -> None:
    data = str(second / "data")
    async with running_site() as origin:
        async with running_edge(tmp_path, origin.url) as (edge, client):
            for target in PAGES[:4]:
                await client.recorded(target, headers=HOST)
            await _run("purge", "http://www.example.test/a?max-age=60&etag=x", "--hard", "--data", str(tmp_path / "data"))
            done = await _run("restore", "--from", client.base, "--data", data, "--trust-first-use", "--json")
            outcome = json_of(done)
            assert (outcome["missing_heads"], outcome["missing_bodies"], outcome["bodies"]) == (1, 1, 3)
            assert f"trusting the key that the source itself names, {edge.sequencer.log}" in done.stderr
        await _kill_origin(origin)
        assert (await _run("ledger", "verify", "--data", data)).returncode == 0
        async with _node(second, origin.url) as (_, client):
            assert (await client.ask(PAGES[1], headers=HOST)).status == 503
            assert (await client.ask(PAGES[0], headers=HOST)).body == content(PAGES[0])


@pytest.mark.parametrize("part", ["heads", "bodies", "blocks"])
async def test_an_edge_that_lies_is_found_out(tmp_path: Path, second: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeproxy.exchange.ledger_files import LedgerFiles
    from edgeproxy.exchange.pages import Page
    from edgeproxy.wire.fields import Fields

    answer, files = BlockApi.answer, LedgerFiles.answer

    async def lying(self: BlockApi, request: object) -> object:
        if f"/{part}/" in str(request.target):  # type: ignore[attr-defined]
            return Page(200, Fields(()), content("/x", size=100))
        return await answer(self, request)  # type: ignore[arg-type]

    async def lying_files(self: LedgerFiles, request: object) -> object:
        page = await files(self, request)  # type: ignore[arg-type]
        if part == "blocks" and page is not None and "entries" in str(request.target):  # type: ignore[attr-defined]
            return Page(200, Fields(()), page.body.replace(b'"status":200', b'"status":201', 1))
        return page

    monkeypatch.setattr(BlockApi, "answer", lying)
    monkeypatch.setattr(LedgerFiles, "answer", lying_files)
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        for target in PAGES[:2]:
            await client.recorded(target, headers=HOST)
        key = ("--key", str(edge.sequencer.log))
        done = await _run("restore", "--from", client.base, "--data", str(second / "data"), *key)
        assert (done.returncode, "block=" in done.stderr) == (1, True), done.stderr
        assert not (second / "data" / "ledger.sqlite").exists()
