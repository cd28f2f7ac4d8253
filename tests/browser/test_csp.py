"""The table of policies in a real browser: for each line our script runs, registers a worker and loads another script of ours,
and the page's own script runs or is blocked as before.

The scripts are stand-ins that do what ours need; what the edge's own do is tested where they are built.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from edgeproxy.inject.csp import amend
from edgeproxy.inject.injector import Injector, tag
from edgeproxy.wire.fields import Fields
from tests.support import csp_pages
from tests.support.chromium import Browser, chromium
from tests.support.csp_pages import Row
from tests.support.parts import need

REGISTER = """
window.outcome = (async () => {
  const known = ["/.edge/sw.js", "/.edge/ui/banner.js"];
  const createScriptURL = url => { if (known.includes(url)) return url; throw new TypeError(url); };
  const wrapped = window.trustedTypes ? trustedTypes.createPolicy("edge-sw", { createScriptURL }) : { createScriptURL };
  const worker = await navigator.serviceWorker.register(wrapped.createScriptURL(known[0]), { scope: "/" });
  await worker.unregister();
  return (await import(known[1])).default;
})().catch(String);
"""
SCRIPTS = {"/.edge/ui/register.js": REGISTER, "/.edge/ui/banner.js": "export default 'all of it';", "/.edge/sw.js": "// nothing"}


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The pages of the table: `/amended/NAME` as the edge would send it, `/before/NAME` as it came from its origin."""
    base = ""

    async def answer(request: web.Request) -> web.Response:
        if request.path in SCRIPTS:
            lines = {"Service-Worker-Allowed": "/"}
            return web.Response(text=SCRIPTS[request.path], content_type="text/javascript", headers=lines)
        _, how, name = request.path.split("/")
        row = next(row for row in csp_pages.ROWS if row.name == name)
        body, fields = csp_pages.html(name).encode(), Fields(row.policies)
        amended = amend(fields, base, "extend")
        assert (amended.skip is None) is row.injected
        if how == "amended" and amended.skip is None:
            injector, fields = Injector(tag(amended.nonce)), amended.fields
            body = injector.feed(body) + injector.finish()
        response = web.Response(body=body, content_type="text/html", charset="utf-8")
        response.headers.extend(fields.lines)
        return response

    app = web.Application()
    app.router.add_get("/{path:.+}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield base
    finally:
        await runner.cleanup()


async def looked_at(browser: Browser, url: str) -> tuple[str, str | None]:
    """Title of the page, which its own script sets, and what became of ours."""
    await browser.open(url)
    found = json.loads(
        await browser.ask("Promise.resolve(window.outcome).then(o => JSON.stringify([document.title, o ?? null]))")
    )
    return found[0], found[1]


def title(row: Row) -> str:
    return "ran" if row.runs else row.name


async def test_each_line_of_the_table(tmp_path: Path) -> None:
    need("chromium")
    async with served() as base, chromium(tmp_path) as browser:
        wrong = []
        for row in csp_pages.ROWS:
            before = await looked_at(browser, f"{base}/before/{row.name}")
            amended = await looked_at(browser, f"{base}/amended/{row.name}")
            if (before, amended) != ((title(row), None), (title(row), "all of it" if row.injected else None)):
                wrong.append((row.name, before, amended, browser.said))
        assert wrong == []
