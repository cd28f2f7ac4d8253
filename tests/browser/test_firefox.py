"""The same site in another browser's engine: Firefox, which has no static routing and its own cryptography."""

import json
from pathlib import Path

from tests.support.edge import until
from tests.support.firefox import Firefox, firefox
from tests.support.outage import Place, mirror, place, receipts
from tests.support.parts import need
from tests.support.visitor import LEFT, NOTHING_LEFT, SOUGHT
from tests.support.worker_pages import BANNER, CONTROLLED, KEPT_BLOCKS, STATE

GREEN = "rgb(19, 111, 99)"
NAVIGATION = "performance.getEntriesByType('navigation')[0]"


async def keeps(browser: Firefox, *urls: str) -> None:
    """Wait until our worker controls the page and keeps these URLs."""
    await browser.until(CONTROLLED)
    await browser.until(f"{KEPT_BLOCKS}.then(kept => {list(urls)!r}.every(url => kept.includes(url)))")


async def is_whole(browser: Firefox) -> None:
    await browser.until("said.textContent === 'The script has run.'")
    assert await browser.ask("getComputedStyle(document.querySelector('h1')).color") == GREEN
    await browser.until("document.querySelector('img').naturalWidth > 0")
    assert await browser.ask(SOUGHT) == 4


async def recovered(browser: Firefox, site: Place, path: str, status: int = 200) -> str:
    """Go there; where the page came from, after the banner has been shown for a copy."""
    await browser.open(site.at(path))
    assert await browser.ask(f"{NAVIGATION}.responseStatus") == status
    source = str(await browser.ask(STATE.replace("edgeState", "edgeSource")))
    if source:
        await browser.until(BANNER)
    return source


async def test_the_site_outlives_origin_and_edge_in_firefox(tmp_path: Path) -> None:
    need("firefox-esr")
    async with mirror(tmp_path / "mirror") as copies, firefox(tmp_path) as browser:
        with place(tmp_path / "place", copies.url) as site:
            await browser.open(site.at("/v/"))
            parts = ("/v/style.css", "/v/page.js", "/v/picture.svg", "/v/tone.wav")
            await keeps(browser, *(site.at(path) for path in ("/v/", *parts)))
            assert not await browser.ask(BANNER)
            site.record("/v/third")
            # Origin and edge die; the mirror has what was exported.
            site.origin.kill()
            site.edge.kill()
            site.export(copies.folder)
            assert await recovered(browser, site, "/v/") == "cache"
            await is_whole(browser)
            assert await recovered(browser, site, "/v/third") == "mirror"
            assert await browser.ask("document.title") == "The third page"
            await recovered(browser, site, "/v/never", 503)
            assert await browser.ask("document.querySelector('h1').textContent") == "This page cannot be reached"
            # Back to normal: the page of the network, and the ledger says what happened.
            site.origin.start()
            site.edge.start()
            assert await recovered(browser, site, "/v/") == ""
            await is_whole(browser)
            assert not await browser.ask(BANNER)
            await browser.ask("navigator.serviceWorker.controller.postMessage({type: 'edge:flush'}) ?? 1")

            async def told() -> bool | None:
                return {block["source"] for block in await receipts(site)} == {"cache", "mirror", "none"} or None

            await until(told, 60)
            # And it leaves without a trace when it is told to.
            site.workers("kill")
            await browser.open(site.at("/v/"))
            nothing = json.dumps(NOTHING_LEFT, separators=(",", ":"))
            await browser.until(f"{LEFT}.then(left => JSON.stringify(left) === {nothing!r})")
