"""What the service worker costs a navigation: the same page without it, with it running, and with it asleep.

`python -m benchmarks.navigation` writes benchmarks/results/navigation.json and navigation.md; takes about two minutes.

Debian's Chromium, two edges as processes, an origin in this one. All pages are hits at the edge, and no browser may keep them:
every navigation and every part goes to the edge. The three ways take turns in changing order. Times are the page's own
(Navigation Timing), from the start of the navigation; the worker is put to sleep with ServiceWorker.stopAllWorkers.
"""

import asyncio
import json
import os
import random
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks import machine
from tests.support.chromium import Browser, chromium
from tests.support.edge import EdgeProcess, write_config
from tests.support.scripted import Way, page, scripted
from tests.support.worker_pages import CONTROLLED, keeps

RESULTS = Path(__file__).parent / "results"
ROUNDS = 60
PARTS = 12
"""Style, script and images of a page."""
WAYS: Final = {"plain": "without the worker", "warm": "with it, running", "cold": "with it, asleep"}
TIMES = """JSON.stringify((entry => [entry.responseStart, entry.domContentLoadedEventEnd, entry.loadEventEnd])(
  performance.getEntriesByType('navigation')[0]))"""


@dataclass(frozen=True)
class Row:
    """Milliseconds since the start of the navigation."""

    way: str
    navigations: int
    first_byte_p50: float
    first_byte_p95: float
    loaded_p50: float
    loaded_p95: float


def site() -> dict[str, Way]:
    """A page of 20 KB and what it is made of; to be kept by the edge, and by no browser."""
    keep = "max-age=0, s-maxage=3600"
    names = ["style.css", "script.js", *(f"image{number}.svg" for number in range(PARTS - 2))]
    images = "".join(f'<img src="/{name}" alt="">' for name in names[2:])
    head = '<link rel="stylesheet" href="/style.css"><script src="/script.js"></script>'
    text = "<p>The quick brown fox jumps over the lazy dog.</p>\n" * 370
    html = f"<!doctype html><html><head><title>a page</title>{head}</head><body>{images}{text}</body></html>"
    ways = {"/": page(html, Content_Type="text/html; charset=utf-8", Cache_Control=keep)}
    for name in names:
        kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.rpartition(".")[2]]
        body = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>' if kind.endswith("xml") else "/* */" * 400
        ways[f"/{name}"] = page(body, Content_Type=kind, Cache_Control=keep)
    return ways


async def measured(browser: Browser, url: str, way: str) -> tuple[float, float]:
    """One navigation: its first byte, and its load event."""
    await browser.open("about:blank")
    if way == "cold":
        await browser.tell("ServiceWorker.stopAllWorkers")
    await browser.open(url)
    first, _, loaded = json.loads(await browser.ask(TIMES))
    return first, loaded


async def measure(folder: Path) -> list[Row]:
    """All ways in turn."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    chance = random.Random(5)
    async with scripted(site()) as origin, chromium(folder) as browser:
        # One site behind two edges: only one of them hands out the worker.
        edges = []
        for name, mode in (("plain", "off"), ("worker", "on")):
            place = folder / name
            place.mkdir()
            edges.append(EdgeProcess(write_config(place, origin.url, site=f'[site.service_worker]\nmode = "{mode}"\n')))
        try:
            plain, worker = [f"{edge.start()}/" for edge in edges]
            await browser.tell("ServiceWorker.enable")
            await browser.open(worker)
            await browser.until(CONTROLLED)
            for name in ("", "style.css", "script.js"):
                await browser.until(keeps(f"{worker}{name}"))
            urls = {"plain": plain, "warm": worker, "cold": worker}
            for number in range(ROUNDS + 3):
                for way in chance.sample(list(WAYS), len(WAYS)):
                    times = await measured(browser, urls[way], way)
                    if number >= 3:  # the first few warm up the edges
                        found[way].append(times)
        finally:
            for edge in edges:
                edge.stop()
    return [_row(way, times) for way, times in found.items()]


def _row(way: str, times: list[tuple[float, float]]) -> Row:
    first, loaded = sorted(each[0] for each in times), sorted(each[1] for each in times)
    high = round(len(times) * 0.95) - 1
    return Row(way, len(times), statistics.median(first), first[high], statistics.median(loaded), loaded[high])


def report(rows: list[Row], load: float) -> str:
    """The figures in words."""
    lines = [
        "# What the service worker costs a navigation",
        "",
        "Made by `python -m benchmarks.navigation`; Debian's Chromium, two edges and an origin on the same machine.",
        f"{machine.line()}; load average before the run {load:.1f}.",
        "",
        f"A page of 20 KB with {PARTS} parts, all hits at the edge, none kept by the browser's HTTP cache; {rows[0].navigations}",
        "navigations of each way, in changing order. Milliseconds from the start of the navigation. A worker that is asleep",
        "is one that the browser has stopped, as it does after half a minute without work.",
        "",
        "| navigation | first byte p50 | p95 | load event p50 | p95 |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        figures = (row.first_byte_p50, row.first_byte_p95, row.loaded_p50, row.loaded_p95)
        lines.append(f"| {WAYS[row.way]} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder)))
    content = {"machine": machine.describe(), "load_average": load, "rows": [asdict(row) for row in rows]}
    (RESULTS / "navigation.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "navigation.md").write_text(report(rows, load))
    print(report(rows, load))


if __name__ == "__main__":
    main()
