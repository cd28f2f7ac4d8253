"""`edgeproxy mirror export`: what lies in the folder, proved with nothing but the log's key."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from edgeproxy.cli import run
from edgeproxy.ledger.block_document import check_document
from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.control import open_control
from edgeproxy.ledger.digests import sha256, url_digest
from edgeproxy.ledger.merkle import leaf_hash, root_of
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.tiles import Tile, decode_bundle, tiles_of
from edgeproxy.recovery.mirror_export import export
from tests.support.edge import Client, running_edge, until
from tests.support.site import content, running_site
from tests.support.worker_files import placeholder_scripts

__all__ = ["placeholder_scripts"]
pytestmark = pytest.mark.usefixtures("placeholder_scripts")

ON = '[site.service_worker]\nmode = "on"\npercent = 40\n'
HOST = "127.0.0.1"


def proved(folder: Path, log: Verifier) -> dict[str, bytes]:
    """Every block of a mirror with its body, by the hex of its URL's digest, checked from the files alone."""
    found = {}
    named = set()
    for path in (folder / "blocks").iterdir():
        assert path.suffix == ".json"
        entry = check_document(path.read_bytes(), bytes.fromhex(path.stem), log)
        assert (
            json.loads(path.read_bytes())["block"]
            == base64.b64encode(base64.b64decode(json.loads(path.read_bytes())["block"])).decode()
        )
        body = (folder / "bodies" / entry.body.hex()).read_bytes()
        assert (sha256(body), len(body)) == (entry.body, entry.length)
        found[path.stem] = body
        named.add(entry.body.hex())
    assert {path.name for path in (folder / "bodies").iterdir()} == named, "no body that no block names"
    return found


def audited(folder: Path, log: Verifier) -> int:
    """The number of blocks in the mirror's copy of the log, whose tiles add up to its checkpoint."""
    stated = open_checkpoint((folder / "ledger/checkpoint").read_bytes(), log, log.name).checkpoint
    leaves = []
    for tile in tiles_of(stated.size):
        data = (folder / "ledger" / tile.path).read_bytes()
        if tile.level is None:
            leaves += [leaf_hash(entry) for entry in decode_bundle(data, tile.width)]
        elif tile.level == 0:
            assert data == b"".join(leaves[tile.start : tile.start + tile.width])
    assert root_of(leaves) == stated.root
    return stated.size


async def ask_all(client: Client, *targets: str) -> None:
    for target in targets:
        await client.recorded(target)


async def test_a_mirror_is_what_the_edge_would_give_and_is_kept_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "data", tmp_path / "mirror"
    pages = (
        "/a?max-age=60",
        "/b?max-age=60&size=300000",
        "/c?max-age=60&surrogate-key=news",
        "/v?max-age=60&vary=accept-language",
    )
    async with running_site() as site, running_edge(tmp_path, site.url, site=ON) as (edge, client):
        await ask_all(client, *pages)
        await client.ask("/mine?cc=must-revalidate,max-age=0&etag=m", headers={"Authorization": "Basic YTpi"})
        await client.recorded("/gone?max-age=60&status=404")
        salt, log = edge.cache.salt("*"), edge.sequencer.log

        def name(target: str) -> str:
            return url_digest(salt, client.base + target).hex()

        # Beside the running edge.
        first = export(data, folder, HOST)
        assert proved(folder, log) == {
            name(target): content(target, size=300_000 if "size" in target else 100) for target in pages
        }
        assert first.left_out == {"shown to nobody without the origin": 1}
        assert audited(folder, log) == first.size == edge.sequencer.head().size
        control = open_control((folder / "control").read_bytes(), log)
        assert (control.mode, control.percent, control.site, control.salt) == ("on", 40, HOST, salt)
        assert (folder / "control").read_bytes() == (await client.ask("/.edge/api/v1/control")).body
        text = "".join(path.read_text() for path in (folder / "blocks").iterdir() if path.stem != name(pages[3]))
        assert client.base not in text, "who does not know a URL does not find it here"

        # Only what changed is written anew.
        again = export(data, folder, HOST)
        assert (again.written, again.removed) == (0, 0)
        site.version = "2"
        status = await edge.backend.purge(order(f"{client.base}{pages[0]}"))
        assert status["matched"] == 1

        async def newer() -> bool | None:
            return (await client.ask(pages[0])).body == content(pages[0], "2") or None

        await until(newer)
        await client.recorded(pages[0])
        await edge.backend.purge(order("news", kind="tag", hard=True))
        damaged = folder / "blocks" / f"{name(pages[1])}.json"
        damaged.write_bytes(damaged.read_bytes().replace(b'"length":300000', b'"length":300001'))
        (folder / "notes.txt").write_text("of the operator")
        await edge.browsers.order(None, "kill")
        third = export(data, folder, HOST)
        left = proved(folder, log)
        assert set(left) == {name(target) for target in (pages[0], pages[1], pages[3])}
        assert left[name(pages[0])] == content(pages[0], "2")
        assert third.removed == 3, "the purged block, its body, and the body of the older version"
        assert open_control((folder / "control").read_bytes(), log).mode == "kill"
        assert (folder / "notes.txt").exists()
        vkey = str(log)

    # At rest, by the command, into a new folder.
    shutil.rmtree(folder)
    assert run(["mirror", "export", str(folder), "--site", HOST, "--data", str(data), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["urls"] == 3
    assert proved(folder, parse_verifier(vkey)).keys() == left.keys()
    assert Tile(0, 0, answer["size"]).path
    assert run(["mirror", "export", str(folder), "--data", str(data)]) == 1
    assert "name the one that visitors use with --site" in capsys.readouterr().err
    assert run(["mirror", "export", str(folder), "--data", str(tmp_path / "none")]) == 1


def order(value: str, *, kind: str = "url", hard: bool = False):  # type: ignore[no-untyped-def]
    from edgeproxy.admin.backend import PurgeKind, PurgeOrder

    return PurgeOrder(PurgeKind(kind), (value,), hard=hard)
