"""`ledger erase`: what was stored of a URL is gone for good, from every file, and the chain holds."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.app import Edge, running
from edgeproxy.caching.model import Digest
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.shards import Shards
from tests.support.edge import command, json_of, running_edge, until
from tests.support.ledgers import store_draft
from tests.support.site import Site, content, running_site
from tests.support.traces import traces


async def _erase(edge: Edge, *arguments: str) -> dict[str, object]:
    data = str(edge.config.edge.data)
    return json_of(await asyncio.to_thread(command, "ledger", "erase", *arguments, "--json", "--data", data))


async def _ledger(edge: Edge, *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(command, "ledger", *arguments, "--data", str(edge.config.edge.data))
    return done.returncode, done.stdout, done.stderr


def _body(edge: Edge, url: str) -> Digest:
    return edge.sequencer.fold.history(url)[-1].body.digest


async def test_what_was_erased_is_in_no_file_and_in_no_answer_and_the_ledger_holds(tmp_path: Path) -> None:
    target = "/secret-page?max-age=60&etag=sesame-tag&vary=accept-language&content-type=text/plain&size=3000"
    other = "/b?max-age=60"
    data = tmp_path / "data"
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        for language in ("de", "fr"):
            await client.recorded(target, headers={"Accept-Language": language})
        origin.version = "2"
        for scope in (("--prefix", "/"), (client.base + target,)):
            purged = await asyncio.to_thread(command, "purge", *scope, "--data", str(data))
            assert purged.returncode == 0, purged.stderr
        await client.recorded(target, headers={"Accept-Language": "de"})
        await client.recorded(other)
        bodies = [_body(edge, client.base + target), *{v.body.digest for v in edge.sequencer.fold.history(client.base + target)}]
        url = client.base + target
        before = await client.ask("/.edge/ledger/tile/entries/000.p/5")
        gone = (content(target, "1", 3000), content(target, "2", 3000), b"sesame-tag", b"secret-page", *bodies)
        assert len(traces(data, *gone)) > 4
        dry = await _erase(edge, url, "--dry-run")
        assert (dry["versions"], dry["bodies"], dry["heights"], dry["dry_run"]) == (3, 2, [], True)
        assert (await client.ask(target, headers={"Accept-Language": "de"})).status == 200

        done = await _erase(edge, url)
        (height,) = done["heights"]  # type: ignore[misc]
        assert (done["versions"], done["bodies"], done["bytes"], done["others"]) == (3, 2, 6000, 0)
        assert traces(data, *gone) == []
        assert (await client.ask("/.edge/ledger/tile/entries/000.p/5")).body == before.body, "the chain is as it was"
        assert (await client.ask(f"/.edge/api/v1/bodies/{bodies[0].hex()}")).status == 404
        origin.failing = 503
        assert (await client.ask(target, headers={"Accept-Language": "de"})).status == 503
        assert (await client.ask(other)).status == 200
        status, _, errors = await _ledger(edge, "history", url)
        assert (status, f"erased in block {height}" in errors) == (1, True)
        shown = await _ledger(edge, "show", str(height))
        assert "erase" in shown[1]
        assert (await _ledger(edge, "erase", url))[0] == 1, "there is nothing left to erase"
        assert (await _ledger(edge, "verify"))[0] == 0
        config = edge.config
    assert audit_now(data).is_clean
    assert traces(data, *gone) == []
    assert f"erased in block {height}" in command("ledger", "history", url, "--data", str(data)).stderr
    # The next start reads a ledger whose erased rows have no heads and no names.
    async with running(config) as again:
        assert again.sequencer.recovered is not None
        assert again.sequencer.recovered.faults == ()
        assert again.sequencer.fold.history(url) == []


async def test_bodies_that_others_have_stay_unless_they_are_to_go_everywhere(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        targets = [f"/{name}?max-age=60&status=204&size=0" for name in ("a", "b", "c")]
        for target in targets:
            await client.recorded(target)
        digest = _body(edge, client.base + targets[0])
        done = await _erase(edge, client.base + targets[0])
        assert (done["bodies"], done["kept"], done["others"]) == (0, 1, 0)
        # Who asks for it twice is told when it was done.
        status, _, said = await _ledger(edge, "erase", client.base + targets[0])
        assert (status, f"since its contents were erased, in block {done['heights'][-1]}" in said) == (1, True), said
        assert edge.bodies.exists(digest)
        assert "Edge-Block" in (await client.ask(targets[1])).headers  # type: ignore[operator]
        done = await _erase(edge, client.base + targets[1], "--everywhere")
        assert (done["bodies"], done["kept"], done["others"]) == (1, 0, 1)
        assert not edge.bodies.exists(digest)
        origin.failing = 503
        assert (await client.ask(targets[2])).status == 503
        assert (await _ledger(edge, "verify"))[0] == 0


async def test_what_was_stored_while_the_site_had_another_name_goes_too(tmp_path: Path) -> None:
    target = "/secret-page?max-age=60"
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        shown = await client.recorded(target)
        url, version = client.base + target, edge.sequencer.fold.history(client.base + target)[0]
        await edge.sequencer.append(store_draft(1, url=url, site="former.example", body=version.body, time=version.time))
        assert (await _erase(edge, url))["versions"] == 2
        assert traces(tmp_path / "data", url.encode(), shown.body) == []
        assert (await _ledger(edge, "verify"))[0] == 0


async def test_it_comes_back_only_from_the_origin(tmp_path: Path) -> None:
    target = "/a?max-age=60"
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await client.recorded(target)
        origin.gate = asyncio.Event()
        edge.cache.tier.remove(client.base + target)
        refetch = asyncio.create_task(client.ask(target, headers={"Cache-Control": "no-cache"}))
        await until(lambda: _asked_twice(origin))
        await _erase(edge, client.base + target)
        origin.gate.set()
        await refetch
        await edge.sequencer.flush()
        assert edge.sequencer.fold.history(client.base + target) == [], "what was on its way is not kept"
        assert "Edge-Block" in (await client.recorded(target)).headers  # type: ignore[operator]
        assert len(edge.sequencer.fold.history(client.base + target)) == 1
        assert (await _ledger(edge, "verify"))[0] == 0


async def _asked_twice(origin: Site) -> bool | None:
    return len(origin.seen) == 2 or None


async def test_a_copy_that_was_set_aside_goes_too(tmp_path: Path) -> None:
    target = "/a?max-age=60"
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await client.recorded(target)
        digest = _body(edge, client.base + target)
        path = Shards(edge.config.edge.data).path(digest)
        edge.cache.tier.remove(client.base + target)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        origin.failing = 503
        await client.ask(target)
        aside = Shards(edge.config.edge.data).quarantine / digest.hex()
        assert aside.exists()
        await _erase(edge, client.base + target)
        assert not aside.exists()


@pytest.mark.parametrize("url", ["/a", "ftp://a/"])
async def test_only_a_running_edge_erases(tmp_path: Path, url: str) -> None:
    assert command("ledger", "erase", url, "--data", str(tmp_path)).returncode == 2
    told = command("ledger", "erase", "http://a/", "--data", str(tmp_path))
    assert (told.returncode, "no edge is running" in told.stderr) == (1, True)


