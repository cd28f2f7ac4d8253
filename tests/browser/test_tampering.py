"""What does not prove itself is never served, whoever changed it, and a receipt says so: a script of the page, a mirror, an edge
that was set back, a clock."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edgeproxy.ledger.checkpoint import read_checkpoint, sign_checkpoint
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.proof_file import parse_proof_file
from tests.support.outage import Scene, receipts
from tests.support.visitor import EDIT_KEPT, EMPTY_STORE, REGISTERED, Arrival, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

Document = dict[str, Any]
OFFLINE = "This page cannot be reached"
PAGES = ("/v/", "/v/second", "/v/third", "/v/patched", "/v/brittle")
TAMPERED = "new Response('<title>TAMPERED</title>', {headers: {'content-type': 'text/html'}})"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(scene: Scene) -> Scene:
    """A browser that keeps all pages, an edge that was killed, and beside it: `good`, a mirror of all; `older`, its data of
    before the visit; `old-control`, an order to end that was taken back since."""
    visitor, site, folder = scene.visitor, scene.place, scene.folder
    for path in PAGES:
        site.record(path)
    site.workers("kill")
    (folder / "old-control").write_bytes(site.get("/.edge/api/v1/control"))
    site.workers("on")
    site.edge.kill()
    shutil.copytree(site.edge.data, folder / "older")
    site.edge.start()
    await visitor.go(site.at("/v/"))
    await visitor.is_protected(site.at("/v/"))
    for path in PAGES[1:]:
        await visitor.go(site.at(path))
    await visitor.is_protected(*(site.at(path) for path in PAGES))
    site.edge.kill()
    site.export(folder / "good")
    return scene


async def is_refused(visitor: Visitor, url: str) -> None:
    arrival = await visitor.go(url)
    assert (arrival.status, arrival.source) == (503, None)
    assert await visitor.ask("document.title") == OFFLINE


async def test_a_script_of_the_page_changes_what_is_kept(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    first, second, third, patched, brittle = (site.at(path) for path in PAGES)
    changes = {
        "a body": (first, f"caches.open('edge-sw-blocks-1').then(cache => cache.put({first!r}, {TAMPERED}))"),
        "a head": (second, edit(second, "kept.head = btoa(atob(kept.head).replace('max-age=0', 'max-age=9'))")),
        "another page in its place": (third, edit(third, "Object.assign(kept, {...donor, id: kept.id})", donor=brittle)),
        "a checkpoint": (patched, edit(patched, r"kept.proof = kept.proof.replace(/\n(\d+)\n(.+\n\n)/, '\n1$1\n$2')")),
    }
    for _, change in changes.values():
        await visitor.ask(change)
    for url, _ in changes.values():
        await is_refused(visitor, url)
    arrival = await visitor.go(site.at("/v/brittle"))
    assert arrival.source == "cache", "what nobody touched is served"


def edit(url: str, change: str, donor: str = "") -> str:
    return EDIT_KEPT % {"url": json.dumps(url), "donor": json.dumps(donor or url), "change": change}


def other_body(folder: Path, document: Document, path: Path) -> None:
    body = folder / "bodies" / document["body"]
    body.write_bytes(body.read_bytes().replace(b"lighthouse", b"lighthorse"))


def other_head(folder: Path, document: Document, path: Path) -> None:
    head = base64.b64decode(document["head"]).replace(b"text/html", b"text/HTML")
    path.write_text(json.dumps({**document, "head": base64.b64encode(head).decode()}))


def other_proof(folder: Path, document: Document, path: Path) -> None:
    proof = parse_proof_file(document["proof"].encode())
    shorter = replace(proof, path=proof.path[:-1])
    path.write_text(json.dumps({**document, "proof": shorter.encode().decode()}))


def other_key(folder: Path, document: Document, path: Path) -> None:
    """All of it is as it should be, but for who signed."""
    proof = parse_proof_file(document["proof"].encode())
    checkpoint = read_checkpoint(proof.note)
    assert checkpoint is not None
    signed = replace(proof, note=sign_checkpoint(checkpoint, Signer(checkpoint.origin, b"\7" * 32)))
    path.write_text(json.dumps({**document, "proof": signed.encode().decode()}))


def other_page(folder: Path, document: Document, path: Path) -> None:
    shutil.copy(next(each for each in path.parent.iterdir() if each != path), path)


def not_even_json(folder: Path, document: Document, path: Path) -> None:
    path.write_bytes(b'{"block": 7')


Lie = Callable[[Path, Document, Path], None]
LIES: tuple[Lie, ...] = (other_body, other_head, other_proof, other_key, other_page, not_even_json)


@contextmanager
def lying(scene: Scene, lie: Lie) -> Iterator[None]:
    """The mirror is a copy of the good one with one lie in it, about the first page."""
    folder = scene.mirror.folder = scene.folder / lie.__name__
    shutil.copytree(scene.folder / "good", folder)
    for path in (folder / "blocks").iterdir():
        document = json.loads(path.read_bytes())
        if b"<title>The lighthouse<" in (folder / "bodies" / document["body"]).read_bytes():
            lie(folder, document, path)
            break
    else:
        raise AssertionError("the page is not on the mirror")
    yield
    scene.mirror.folder = scene.folder / "nothing"


async def test_a_mirror_lies(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await visitor.ask(EMPTY_STORE)
    for lie in LIES:
        # A mirror that lied is left alone for an hour, as long as the worker remembers.
        await visitor.stop_workers()
        with lying(scene, lie):
            await is_refused(visitor, site.at("/v/"))
            assert scene.mirror.asked, lie
        scene.mirror.asked.clear()
    await visitor.stop_workers()
    scene.mirror.folder = scene.folder / "good"
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source) == (200, "mirror")


async def test_a_mirror_repeats_an_order_that_was_taken_back(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await visitor.stop_workers()
    folder = scene.mirror.folder = scene.folder / "old-order"
    shutil.copytree(scene.folder / "good", folder)
    shutil.copy(scene.folder / "old-control", folder / "control")
    scene.mirror.asked.clear()
    assert (await visitor.go(site.at("/v/"))).source == "cache"

    async def was_asked() -> bool:
        return "/control" in scene.mirror.asked

    await visitor.eventually("the mirror was asked for orders", was_asked)
    assert (await visitor.go(site.at("/v/"))).source == "cache"
    assert len(await visitor.ask(REGISTERED)) == 1


async def test_an_edge_is_set_back_to_an_older_ledger(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await visitor.ask(EMPTY_STORE)
    scene.mirror.folder = scene.folder / "nothing"
    site.origin.kill()
    shutil.move(site.edge.data, scene.folder / "newer")
    shutil.copytree(scene.folder / "older", site.edge.data)
    site.edge.start()
    assert site.has_block("/v/brittle")
    arrival = await visitor.go(site.at("/v/brittle"))
    assert (arrival.status, arrival.source) == (503, None)
    site.edge.kill()
    shutil.rmtree(site.edge.data)
    shutil.move(scene.folder / "newer", site.edge.data)
    site.origin.start()
    site.edge.start()


async def test_all_of_it_is_in_the_ledger(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    assert (await visitor.go(site.at("/v/second"))).source is None
    await visitor.tell_worker("edge:flush")
    found = await visitor.eventually("receipts are blocks", lambda: receipts(site))
    bad = {
        (block["url"].removeprefix(site.at("")), block["source"], block["cause"]): block
        for block in found
        if block["block"] is None
    }
    refused = {(path, "cache", "cache-bad") for path in PAGES[:4]}
    refused |= {("/v/", "mirror", "mirror-bad"), ("/v/brittle", "edge", "edge-bad")}
    assert refused <= bad.keys()
    lies = [block["count"] for block in found if block["cause"] == "mirror-bad"]
    assert sum(lies) == len(LIES)
    shown = site.shown(bad["/v/", "cache", "cache-bad"]["height"])
    assert shown["url"] == site.at("/v/")
    assert (shown["block"]["op"], shown["block"]["source"], shown["block"]["cause"]) == ("receipt", "cache", "cache-bad")


async def test_the_browser_s_clock_is_wrong(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await visitor.is_protected(site.at("/v/second"))
    site.edge.kill()

    async def lived(days: float) -> Arrival:
        # The clock is sometimes set a moment after the worker has looked for it.
        await visitor.set_workers_clock(days)
        return await visitor.go(site.at("/v/second"))

    async def refused() -> bool:
        return (await lived(8)).status == 503

    async def served_as_old() -> bool:
        arrival = await lived(6)
        return arrival.source == "cache" and 0 <= int(arrival.headers["x-edge-age"]) - 6 * 86_400 < 3_600

    await visitor.eventually("too old by a clock that is ahead", refused)
    await visitor.eventually("not too old, and kept all the while", served_as_old)
