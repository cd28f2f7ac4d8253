"""The table of policies in a real browser, with the real scripts through a real edge, and once more when the edge is gone.

Each page has a host of its own, so that no worker of another page helps it.
"""

import json
from pathlib import Path
from typing import Any

from tests.support import csp_pages
from tests.support.chromium import Browser, chromium
from tests.support.csp_pages import Row
from tests.support.edge import running_edge
from tests.support.parts import need
from tests.support.scripted import scripted
from tests.support.worker_pages import BANNER, CONTROLLED, STATE, TAGS, keeps

ON = '[site.service_worker]\nmode = "on"\n'
OWN_SCRIPT = "document.title"


def title(row: Row) -> str:
    """Of a page: its own script sets it, where its policy lets it."""
    return "ran" if row.runs else row.name


async def installed(browser: Browser, url: str) -> bool:
    """Wait until our worker controls the page, and keeps it with its proof."""
    await browser.until(CONTROLLED)
    return bool(await browser.until(keeps(url)))


async def seen(browser: Browser, row: Row, url: str) -> list[Any]:
    """A visit while all is well: what the page's own script did, the number of our tags, what became of the worker."""
    await browser.open(url)
    found = [await browser.ask(OWN_SCRIPT), await browser.ask(TAGS)]
    if row.injected:
        return [*found, await installed(browser, url)]
    # In a sandbox without an origin even asking throws.
    asked = "(async () => (await navigator.serviceWorker.getRegistrations()).length)().catch(() => 0)"
    return [*found, await browser.ask(asked) > 0]


async def has_banner(browser: Browser) -> bool:
    """Whether the page comes to show it: the script behind it is loaded lazily."""
    looking = f"""new Promise(resolve => {{
      const look = left => {BANNER} || !left ? resolve({BANNER}) : setTimeout(look, 20, left - 1)
      look(500)
    }})"""
    return bool(await browser.ask(looking))


async def test_each_line_of_the_table(tmp_path: Path) -> None:
    need("chromium")
    wrong: dict[str, Any] = {}
    async with scripted(csp_pages.ways()) as origin, chromium(tmp_path) as browser:
        async with running_edge(tmp_path, origin.url, site=ON) as (_, client):
            port = client.base.rpartition(":")[2]
            urls = {row: f"http://{row.name}.localhost:{port}/{row.name}" for row in csp_pages.ROWS}
            for row, url in urls.items():
                await browser.open(f"{origin.url}/{row.name}")
                assert await browser.ask(OWN_SCRIPT) == title(row), f"{row.name}, without an edge"
                found = await seen(browser, row, url)
                if found != [title(row), int(row.injected), row.injected]:
                    wrong[row.name] = (found, browser.said)
        assert wrong == {}
        # The edge is gone.
        for row, url in urls.items():
            await browser.open(url)
            if row.injected:
                shown = [await browser.ask(OWN_SCRIPT), await browser.ask(STATE), await has_banner(browser)]
                if shown != [title(row), "recovered", True]:
                    wrong[row.name] = (shown, browser.said)
            elif await browser.ask("document.querySelector('h1')?.textContent") == row.name:
                wrong[row.name] = "who answered?"
        assert wrong == {}, json.dumps(wrong)
