"""The ledger on the public side: what anyone may fetch, with which fields, and that it is the ledger as committed."""

import asyncio
import gzip
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from edgeproxy.app import Edge
from edgeproxy.config import load
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint
from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.ledger.merkle import leaf_hash, root_of
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.ledger.tiles import decode_bundle, decode_hash_tile, tiles_of, verify_bundle
from edgeproxy.storage.ledger_key import KEY_FILE
from tests.support.edge import Client, command, json_of, running_edge, write_config
from tests.support.site import running_site

PREFIX = "/.edge/ledger/"


async def _grow(edge: Edge, size: int) -> None:
    """Until the ledger has `size` blocks."""
    for number in range(edge.sequencer.head().size, size):
        edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
    await edge.sequencer.flush()
    assert edge.sequencer.head().size == size


async def _stated(client: Client, edge: Edge) -> Checkpoint:
    answer = await client.ask(f"{PREFIX}checkpoint")
    assert answer.status == 200
    log = edge.sequencer.log
    return open_checkpoint(answer.body, log, log.name).checkpoint


async def test_a_stranger_can_fetch_the_whole_ledger_and_prove_it(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await client.recorded("/a?max-age=60")
        await edge.sequencer.flush()
        head = json_of(await asyncio.to_thread(command, "ledger", "head", "--json", "--data", str(edge.config.edge.data)))
        note = await client.ask(f"{PREFIX}checkpoint")
        stated = open_checkpoint(note.body, parse_verifier(head["vkey"]), head["origin"]).checkpoint
        assert (stated.size, stated.root) == (2, edge.sequencer.head().root)
        leaves = (await client.ask(f"{PREFIX}tile/0/000.p/2")).body
        entries = decode_bundle((await client.ask(f"{PREFIX}tile/entries/000.p/2")).body, 2)
        verify_bundle(entries, decode_hash_tile(leaves, 2))
        assert root_of(leaf_hash(entry) for entry in entries) == stated.root
        assert b"/a?" not in b"".join(entries), "blocks carry digests, not URLs"


async def test_every_resource_of_a_larger_ledger_is_there_and_nothing_beyond(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await _grow(edge, 600)
        assert (await _stated(client, edge)).size == 600
        for tile in tiles_of(600):
            answer = await client.ask(PREFIX + tile.path)
            assert answer.status == 200
            assert answer["Content-Type"] == "application/octet-stream"
            assert answer["Cache-Control"] == "public, max-age=604800, immutable"
            assert answer["Access-Control-Allow-Origin"] == "*"
            if tile.level is not None:
                assert len(answer.body) == 32 * tile.width
        for path in ("tile/0/002", "tile/0/002.p/89", "tile/0/003.p/1", "tile/1/000", "tile/2/000.p/1", "tile/entries/002"):
            assert (await client.ask(PREFIX + path)).status == 404
        assert origin.seen == []


async def test_a_bundle_is_compressed_for_those_who_can_read_it(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await _grow(edge, 256)
        plain = await client.ask(f"{PREFIX}tile/entries/000", headers={"Accept-Encoding": "identity"})
        for _ in range(2):
            coded = await client.ask(f"{PREFIX}tile/entries/000", headers={"Accept-Encoding": "gzip, br"})
            assert (coded["Content-Encoding"], coded["Vary"]) == ("gzip", "Accept-Encoding")
            assert gzip.decompress(coded.body) == plain.body
        assert plain["Vary"] == "Accept-Encoding"
        assert len(coded.body) < len(plain.body)
        assert coded["ETag"] != plain["ETag"]


async def test_checkpoints_are_not_kept_and_tiles_are(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        first = await client.ask(f"{PREFIX}checkpoint?again=1")
        assert first["Content-Type"] == "text/plain; charset=utf-8"
        assert first["Cache-Control"] == "no-store"
        assert first["Access-Control-Allow-Origin"] == "*"
        for path in ("checkpoint", "tile/0/000.p/1"):
            whole = await client.ask(PREFIX + path)
            head = await client.ask(PREFIX + path, "HEAD")
            assert (head.status, head.body, head["ETag"]) == (200, b"", whole["ETag"])
            assert head["Content-Length"] == str(len(whole.body))
            for known in (whole["ETag"], f'"x", W/{whole["ETag"]}', "*"):
                same = await client.ask(PREFIX + path, headers={"If-None-Match": known})
                assert (same.status, same.body, same["ETag"]) == (304, b"", whole["ETag"])
                assert same["Access-Control-Allow-Origin"] == "*"
            assert (await client.ask(PREFIX + path, headers={"If-None-Match": '"x"'})).status == 200
        await _grow(edge, 2)
        moved = await client.ask(f"{PREFIX}checkpoint", headers={"If-None-Match": first["ETag"]})
        assert moved.status == 200


async def test_other_methods_are_refused_and_a_browser_may_ask_first(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (_, client):
        for method in ("POST", "PUT", "DELETE"):
            refused = await client.ask(f"{PREFIX}checkpoint", method)
            assert (refused.status, refused["Allow"]) == (405, "GET, HEAD, OPTIONS")
        asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}
        first = await client.ask(f"{PREFIX}checkpoint", "OPTIONS", headers=asked)
        assert first.status == 204
        assert first["Access-Control-Allow-Origin"] == "*"
        assert first["Access-Control-Allow-Headers"] == "If-None-Match"
        assert origin.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "", "Checkpoint", "checkpoint/", "tile", "tile/0/000.p/0", "tile/0/0", "tile/64/000", "tile/0/x000/000",
        "tile/0/000.p/1/", "tile/0/%30%30%30", "tile/entries/000.p/01", "../ledger/checkpoint", "checkpoint%00", "tile/-1/000",
    ],
)  # fmt: skip
async def test_whatever_else_is_asked_for_is_not_there(tmp_path: Path, path: str) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (_, client):
        async with client.session.get(URL(client.base + PREFIX + path, encoded=True)) as answer:
            assert answer.status == 404
        assert origin.seen == []


async def test_a_private_site_publishes_nothing_from_the_moment_it_says_so(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        assert (await client.ask(f"{PREFIX}checkpoint")).status == 200
        edge.config.remember(write_config(tmp_path, origin.url, more="[ledger]\npublish = false"), edge.config.flags)
        assert await edge.reload() == []
        for path in ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"):
            for method in ("GET", "HEAD", "OPTIONS"):
                assert (await client.ask(PREFIX + path, method)).status == 404
        assert origin.seen == []
        assert json_of(await asyncio.to_thread(command, "ledger", "head", "--json", "--data", str(edge.config.edge.data)))["vkey"]


@pytest.mark.parametrize(
    ("ledger", "hosts", "name"),
    [
        ("", '["*"]', "edge-1"),
        ("", '["shop.example.org", "*"]', "shop.example.org"),
        ("", '["*.example.org", "a.example.org"]', "edge-1"),
        ('[ledger]\nhost = "log.example.org:8443"', '["shop.example.org"]', "log.example.org:8443"),
    ],
)
async def test_the_log_is_named_after_its_host(tmp_path: Path, ledger: str, hosts: str, name: str) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", more=ledger)
    config.write_text(config.read_text().replace('hosts = ["*"]', f"hosts = {hosts}"))
    edge = Edge(load(config))
    await edge.start()
    try:
        base = f"http://{edge.listener.addresses[0]}"
        host = "shop.example.org" if "shop" in hosts else "a.example.org"
        async with aiohttp.ClientSession() as session, session.get(f"{base}{PREFIX}checkpoint", headers={"Host": host}) as answer:
            note = await answer.read()
        assert open_checkpoint(note, edge.sequencer.log, f"{name}/.edge/ledger").checkpoint.size == 1
        with pytest.raises(ProofRefused, match="another log"):
            open_checkpoint(note, edge.sequencer.log, "another/.edge/ledger")
    finally:
        await edge.stop()
    assert (edge.config.edge.data / KEY_FILE).stat().st_mode & 0o777 == 0o600


async def test_damage_is_answered_with_an_error_and_not_with_bytes(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await _grow(edge, 257)
        with sqlite3.connect(edge.db.path) as connection:
            connection.execute("UPDATE blocks SET raw = x'00' WHERE height = 9")
        connection.close()
        assert (await client.ask(f"{PREFIX}tile/entries/000")).status == 503
        assert (await client.ask(f"{PREFIX}tile/0/000")).status == 200
        assert (await client.ask(f"{PREFIX}tile/entries/001.p/1")).status == 200


async def test_a_running_edge_gets_a_new_key(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        old, data = edge.sequencer.log, str(edge.config.edge.data)
        told = json_of(await asyncio.to_thread(command, "ledger", "rotate", "--json", "--data", data))
        assert (told["height"], told["old"], told["vkey"]) == (1, str(old), str(edge.sequencer.log))
        assert (await _stated(client, edge)).size == 2
        shown = json_of(await asyncio.to_thread(command, "ledger", "show", "1", "--json", "--data", data))
        assert shown["block"]["op"] == "rotate"
        with pytest.raises(ProofRefused, match="known key"):
            open_checkpoint((await client.ask(f"{PREFIX}checkpoint")).body, old, old.name)
