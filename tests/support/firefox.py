"""Debian's Firefox, spoken to over WebDriver BiDi: enough to open a page and to ask it something.

async with firefox(tmp_path) as browser:
    await browser.open("http://127.0.0.1:8080/page")
    assert await browser.ask("document.title") == "a page"
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.parts import located
from tests.support.waiting import until_true

PATIENCE = 60.0
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


@dataclass
class Firefox:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    tab: str = ""
    _asked: int = 0

    async def open(self, url: str) -> None:
        """Go there, and wait for the page's load event."""
        await self.tell("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    async def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression gives something true; fails the test with what it gave last."""
        return await until_true(self.ask, expression, seconds)

    async def ask(self, expression: str) -> Any:
        """The value of an expression, awaited when it is a promise; it has to be one that JSON can carry."""
        wrapped = f"Promise.resolve({expression}).then(value => JSON.stringify(value) ?? 'null')"
        target = {"context": self.tab}
        found = await self.tell("script.evaluate", expression=wrapped, target=target, awaitPromise=True)
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    async def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of WebDriver BiDi, and its result."""
        self._asked += 1
        await self.socket.send_json({"id": self._asked, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE):
            while (message := json.loads(await self.socket.receive_str())).get("id") != self._asked:
                pass
        assert message["type"] == "success", message
        result: dict[str, Any] = message["result"]
        return result


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Firefox]:
    """A browser with a profile of its own in `folder`, and one empty tab."""
    profile = folder / "firefox"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        located("firefox-esr"),
        *("--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while b"WebDriver BiDi listening on" not in (line := await process.stderr.readline()):
                assert line, "the browser ended"
        reading = asyncio.ensure_future(process.stderr.read())
        address = line.decode().rpartition(" ")[2].strip()
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/session", max_msg_size=0) as socket:
            browser = Firefox(socket)
            await browser.tell("session.new", capabilities={})
            browser.tab = (await browser.tell("browsingContext.getTree"))["contexts"][0]["context"]
            yield browser
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()
