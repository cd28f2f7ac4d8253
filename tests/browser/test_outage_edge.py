"""The site survives in a real browser: origin, edge and network are taken away one after the other, with SIGKILL and SIGSTOP."""

import pytest

from tests.support.outage import Scene, receipts
from tests.support.visitor import EMPTY_STORE, SOUGHT, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARTS = ("/v/style.css", "/v/page.js", "/v/picture.svg", "/v/tone.wav")
GREEN = "rgb(19, 111, 99)"


async def is_whole(visitor: Visitor) -> None:
    """Script, style, picture and sound of the page are there and do what they should."""
    await visitor.eventually("the script", lambda: visitor.is_true("said.textContent === 'The script has run.'"))
    assert await visitor.ask("getComputedStyle(document.querySelector('h1')).color") == GREEN
    await visitor.eventually("the picture", lambda: visitor.is_true("document.querySelector('img').naturalWidth > 0"))
    assert await visitor.ask(SOUGHT) == 4


async def test_the_first_visit_is_protected_while_it_lasts(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.by_worker) == (200, False)
    await visitor.is_protected(*(site.at(path) for path in ("/v/", *PARTS)))
    assert await visitor.banner() is None
    for path in ("/v/second", "/v/brittle", "/v/patched", "/articles/keepers-night"):
        await visitor.go(site.at(path))
    await visitor.is_protected(*(site.at(path) for path in ("/v/second", "/v/brittle", "/v/patched", "/v/brittle.css")))
    await visitor.is_protected(site.at("/articles/keepers-night"))


async def test_a_dead_origin_is_the_edge_s_business(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    site.origin.kill()
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source) == (200, None)
    await is_whole(visitor)
    assert await visitor.banner() is None


async def test_a_page_or_a_part_that_the_edge_cannot_give_comes_from_the_browser(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    arrival = await visitor.go(site.at("/v/brittle"))
    assert (arrival.status, arrival.source) == (200, "cache")
    assert "cannot be reached" in await visitor.shown_banner()
    # The page itself is well; its style is not, since the origin now resets connections without a word.
    site.origin.start()
    site.origin.set("down")
    arrival = await visitor.go(site.at("/v/patched"))
    assert (arrival.status, arrival.source) == (200, None)
    assert "Parts of this page are verified copies" in await visitor.shown_banner()
    await is_whole(visitor)
    site.origin.set("ok")


async def test_a_dead_edge_leaves_the_whole_page(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    await visitor.go(site.at("/v/"))
    site.record("/v/third")
    site.edge.kill()
    site.export(scene.mirror.folder)
    await visitor.follow("#next", "The second page")
    assert "cannot be reached" in await visitor.shown_banner()
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source, arrival.by_worker) == (200, "cache", True)
    await is_whole(visitor)
    assert "This is a verified copy from" in await visitor.shown_banner()
    arrival = await visitor.go(site.at("/articles/keepers-night"))
    assert (arrival.status, arrival.source) == (200, "cache")
    assert "This is a verified copy from" in await visitor.shown_banner()
    await visitor.picture("service-worker-banner")


async def test_a_page_that_nobody_knows_is_said_to_be_out_of_reach(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    arrival = await visitor.go(site.at("/v/never"))
    assert (arrival.status, arrival.by_worker) == (503, True)
    assert await visitor.ask("document.querySelector('h1').textContent") == "This page cannot be reached"
    await visitor.picture("service-worker-offline")


async def test_what_this_browser_never_had_or_has_lost_comes_from_a_mirror(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    arrival = await visitor.go(site.at("/v/third"))
    assert (arrival.status, arrival.source) == (200, "mirror")
    assert await visitor.ask("document.title") == "The third page"
    await visitor.ask(EMPTY_STORE)
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source) == (200, "mirror")
    await is_whole(visitor)
    assert "This is a verified copy from" in await visitor.shown_banner()
    assert (await visitor.go(site.at("/v/"))).source == "cache", "what a mirror had is kept"


async def test_the_edge_is_back_and_so_is_the_site(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    site.edge.start()
    before = len(visitor.arrivals)
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source) == (200, None)
    await is_whole(visitor)
    assert await visitor.banner() is None
    await visitor.tell_worker("edge:flush")
    blocks = await visitor.eventually("receipts are blocks", lambda: receipts(site))
    told = {(block["source"], block["cause"]) for block in blocks}
    assert told == {
        ("cache", "status-503"),
        ("cache", "status-502"),
        ("cache", "network"),
        ("mirror", "network"),
        ("none", "network"),
    }
    assert len(visitor.arrivals) == before + 1, "no page is loaded twice"


async def test_an_edge_that_hangs_is_given_up(scene: Scene) -> None:
    visitor, site = scene.visitor, scene.place
    site.pause()
    arrival = await visitor.go(site.at("/v/"))

    assert (arrival.status, arrival.source) == (200, "cache")
    await is_whole(visitor)

    assert "This is a verified copy from" in await visitor.shown_banner()
    site.resume()
    arrival = await visitor.go(site.at("/v/"))
    assert (arrival.status, arrival.source) == (200, None)
