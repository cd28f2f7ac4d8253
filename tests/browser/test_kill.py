"""The ways to end a service worker, each by itself; a new worker under open pages; and `observe`, which changes nothing."""

import json

import pytest

from edgeproxy.inject.injector import tag
from tests.support.outage import Scene, receipts
from tests.support.visited_site import FILES
from tests.support.visitor import LEFT, NOTHING_LEFT, REGISTERED, Visitor
from tests.support.worker_pages import CONTROLLED

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPDATE = "navigator.serviceWorker.getRegistration('/').then(each => each.update()).then(() => 0)"
FETCHED = "fetch('/v/style.css', {cache: 'no-store'}).then(answer => answer.status, () => 0)"
"""A request that is no navigation: browsers look for a new script at those."""
RUN_REGISTER = """(async () => {
  await fetch("/.edge/ui/register.js", {cache: "reload"});
  const script = document.createElement("script");
  script.src = "/.edge/ui/register.js";
  document.head.append(script);
})()"""


async def settled(scene: Scene, mode: str = "on") -> None:
    """A worker that has just fetched its orders, so that it will not ask again within the test."""
    visitor, site = scene.visitor, scene.place
    site.workers(mode)
    await visitor.go(site.at("/v/"))
    await visitor.is_protected(*([site.at("/v/"), site.at("/v/style.css")] if mode == "on" else []))


async def is_gone(visitor: Visitor) -> None:
    async def left_nothing() -> bool:
        return bool(await visitor.ask(LEFT) == NOTHING_LEFT)

    await visitor.eventually("nothing of the worker is left", left_nothing)
    assert await visitor.ask("document.title") == "The lighthouse", "the page stays"


async def test_the_signed_orders_end_it(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    assert json.loads(site.order("sw", "kill", "--json"))["sites"][0]["mode"] == "kill"
    # An idle worker is stopped; the next request starts it, and it asks for orders.
    await visitor.stop_workers()
    assert await visitor.ask(FETCHED) == 200
    await is_gone(visitor)
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.by_worker) == (200, False)
    assert await visitor.ask(REGISTERED) == []


async def test_a_mirror_brings_the_orders_when_the_edge_is_gone(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    site.workers("kill")
    site.edge.kill()
    site.export(scene.mirror.folder)
    await visitor.stop_workers()
    assert await visitor.ask(FETCHED) in (0, 200), "from the store, as long as there is one"
    await is_gone(visitor)
    assert (await visitor.go(site.at("/v/"))).error == "net::ERR_CONNECTION_REFUSED"
    site.edge.start()


async def test_another_script_at_its_url_ends_it(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    site.workers("kill")
    await visitor.ask(UPDATE)
    await is_gone(visitor)


async def test_the_page_s_script_ends_it(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    site.workers("kill")
    await visitor.ask(RUN_REGISTER)
    await visitor.eventually("nothing is registered", lambda: visitor.is_true(f"{REGISTERED}.then(all => all.length === 0)"))
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.by_worker) == (200, False)


async def test_the_last_resort_ends_it_and_takes_the_site_s_own_data(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    await visitor.ask("localStorage.setItem('of the site', 'x')")
    site.workers("kill")
    # Chromium waits for ever when a service worker itself passes this field on: so where ours keeps out.
    await visitor.go(site.at("/v/wipe?edge-sw=off"))
    assert await visitor.ask(LEFT) == NOTHING_LEFT
    assert await visitor.ask("localStorage.getItem('of the site')") is None


async def test_a_visitor_ends_it_and_takes_it_back(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    await visitor.go(site.at("/v/?edge-sw=off"))
    await visitor.eventually("nothing is registered", lambda: visitor.is_true(f"{REGISTERED}.then(all => all.length === 0)"))
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.by_worker) == (200, False)
    assert await visitor.ask("localStorage.getItem('edge-sw')") == "off"
    await visitor.go(site.at("/v/?edge-sw=on"))
    await visitor.is_protected()


async def test_a_new_worker_under_an_open_page(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await settled(scene)
    before = len(visitor.arrivals)
    old = await visitor.ask("window.old = navigator.serviceWorker.controller, old.scriptURL")
    site.order("ledger", "rotate")
    await visitor.ask(UPDATE)
    await visitor.eventually(
        "another worker controls the page", lambda: visitor.ask(f"navigator.serviceWorker.controller !== old && {CONTROLLED}")
    )
    assert await visitor.ask(CONTROLLED) == old, "at the same URL"
    assert await visitor.ask(FETCHED) == 200
    assert len(visitor.arrivals) == before, "the page was not loaded again"
    # What the old key proved holds, and so does what the new one proves.
    await visitor.go(site.at("/v/second"))
    await visitor.is_protected(site.at("/v/"), site.at("/v/second"))
    site.edge.kill()
    for path in ("/v/", "/v/second"):
        arrival = await visitor.go(site.at(path))
        assert (arrival.status, arrival.source) == (200, "cache")
    assert "This is a verified copy from" in await visitor.shown_banner()
    site.edge.start()


async def test_observe_sees_and_tells_and_changes_nothing(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    site.workers("kill")
    await visitor.go(site.at("/v/"))
    await visitor.ask(UPDATE + ".catch(() => 0)")
    await is_gone(visitor)
    await settled(scene, "observe")
    for path in ("/v/", "/v/style.css", "/v/tone.wav"):
        made = FILES[path][1]
        sent = made if isinstance(made, bytes) else made.encode()
        got = await visitor.ask(f"fetch('{path}').then(each => each.arrayBuffer()).then(each => [...new Uint8Array(each)])")
        assert bytes(got) == sent
    page = site.get("/v/", Sec_Fetch_Dest="document")
    assert page.replace(tag(), b"") == str(FILES["/v/"][1]).encode()
    assert page.count(tag()) == 1
    site.origin.set("down")
    arrival = await visitor.go(site.at("/v/brittle"))
    assert (arrival.status, arrival.source) == (502, None)
    site.origin.set("ok")
    site.edge.kill()
    arrival = await visitor.go(site.at("/v/"))
    assert arrival.status == 0
    assert arrival.error
    site.edge.start()
    await visitor.go(site.at("/v/"))
    assert await visitor.banner() is None
    await visitor.is_protected()
    await visitor.tell_worker("edge:flush")
    found = await visitor.eventually("receipts are blocks", lambda: receipts(site))
    told = {(block["url"], block["source"], block["cause"]) for block in found}
    assert {(site.at("/v/brittle"), "none", "status-502"), (site.at("/v/"), "none", "network")} <= told
