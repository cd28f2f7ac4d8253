"""A site with a service worker of its own, in both orders: it is left as it is, and ours goes away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.chromium import Browser, chromium
from tests.support.edge import client_at, until
from tests.support.parts import need
from tests.support.scripted import Fronted, fronted, page
from tests.support.worker_pages import CONTROLLED, REGISTERED, TAGS, keeps

ON = '[site.service_worker]\nmode = "on"\n'
FOREIGN = "addEventListener('fetch', e => e.request.url.endsWith('/theirs') && e.respondWith(new Response('of their worker')))"
THEIRS = "fetch('/theirs').then(each => each.text())"
PLAIN = "<!doctype html><html><head><title>plain</title></head><body>a page</body></html>"
REGISTERING = PLAIN.replace("</body>", "<script>navigator.serviceWorker.register('/worker.js')</script></body>")


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Fronted, Browser]]:
    """`/` has a page without a worker of its own, `/theirs` the answer of the network to what their worker answers."""
    need("chromium")
    ways = {
        "/": page(PLAIN, Content_Type="text/html", Cache_Control="max-age=0"),
        "/theirs": page("of the network"),
        "/worker.js": page(FOREIGN, Content_Type="text/javascript"),
    }
    async with fronted(folder, ways, site=ON) as it, chromium(folder) as browser:
        yield it, browser


async def others_have_it(base: str) -> None:
    """Two more visitors' browsers look for a new version of their worker: then the edge knows that the site has it."""
    for address in ("127.0.0.2", "127.0.0.3"):
        async with client_at(address, base) as visitor:
            answer = await visitor.ask("/worker.js", headers={"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"})
            assert answer.status == 200


async def test_the_sites_own_worker_was_first(tmp_path: Path) -> None:
    async with site(tmp_path) as (it, browser):
        it.origin.ways["/"] = page(REGISTERING, Content_Type="text/html", Cache_Control="max-age=0")
        await browser.open(f"{it.client.base}/")
        assert await browser.ask(TAGS) == 1, "nobody knew of it yet"
        await browser.until("sessionStorage.getItem('edge-sw')")
        # Seen by our page script, or, while theirs was still on its way, by our worker, which then was not installed.
        await browser.until(f"({REGISTERED}).then(all => all.length === 1 && all[0][2] === '/worker.js')")
        # While the edge knows it of one visitor only, that one's browser alone leaves theirs as it is.
        for _ in range(3):
            await browser.open(f"{it.client.base}/")
            assert await browser.ask(TAGS) == 1
            await browser.until("document.readyState === 'complete' && sessionStorage.getItem('edge-sw') === 'foreign_sw'")
            assert await browser.ask(REGISTERED) == [[None, None, "/worker.js"]]
            assert await browser.ask(THEIRS) == "of their worker"
        await others_have_it(it.client.base)
        await browser.open(f"{it.client.base}/")
        assert await browser.ask(TAGS) == 0, "now it is known"
        assert await browser.ask(REGISTERED) == [[None, None, "/worker.js"]]
        assert await browser.ask(THEIRS) == "of their worker"


async def test_ours_was_first_and_yields_without_a_trace_of_harm(tmp_path: Path) -> None:
    """The new worker waits in ours's own registration: who took that away would take theirs with it."""
    async with site(tmp_path) as (it, browser):
        base = it.client.base
        await browser.open(f"{base}/")
        await browser.until(CONTROLLED)
        await browser.until(keeps(f"{base}/"))
        it.origin.ways["/"] = page(REGISTERING, Content_Type="text/html", Cache_Control="max-age=0")
        await browser.open(f"{base}/")
        await browser.until(f"({REGISTERED}).then(all => all[0]?.[1] === '/worker.js')")
        assert await browser.ask(REGISTERED) == [[None, "/worker.js", "/.edge/sw.js"]]
        await others_have_it(base)
        it.origin.ways["/"] = page(PLAIN, Content_Type="text/html", Cache_Control="max-age=0")
        # Ours hears of it when it asks for orders: at its next start.
        await browser.tell("ServiceWorker.enable")
        await browser.tell("ServiceWorker.stopAllWorkers")
        await browser.open(f"{base}/")
        assert await browser.ask(TAGS) == 0
        await browser.until("caches.keys().then(all => all.length === 0)")
        await browser.until("indexedDB.databases().then(all => all.length === 0)")
        assert await browser.ask(REGISTERED) == [[None, "/worker.js", "/.edge/sw.js"]], "theirs is still there"
        # Ours goes with the last page that it controls.

        async def gone() -> bool | None:
            await browser.open("about:blank")
            await browser.tell("ServiceWorker.stopAllWorkers")
            await browser.open(f"{base}/")
            return await browser.ask(REGISTERED) == [[None, None, "/worker.js"]] or None

        await until(gone, 60)
        assert await browser.ask(THEIRS) == "of their worker"


async def test_ours_goes_where_the_site_has_one_for_a_part_of_it(tmp_path: Path) -> None:
    async with site(tmp_path) as (it, browser):
        base = it.client.base
        await browser.open(f"{base}/")
        await browser.until(CONTROLLED)
        await browser.until(keeps(f"{base}/"))
        await browser.ask("navigator.serviceWorker.register('/worker.js', {scope: '/app/'}).then(() => 1)")
        await others_have_it(base)
        await browser.tell("ServiceWorker.enable")
        await browser.tell("ServiceWorker.stopAllWorkers")
        await browser.open(f"{base}/")
        assert await browser.ask(TAGS) == 0
        await browser.until(f"({REGISTERED}).then(all => all.length === 1 && all[0][2] === '/worker.js')")
        assert await browser.ask("caches.keys()") == []
