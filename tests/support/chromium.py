"""Debian's Chromium, spoken to over its DevTools protocol: enough to open a page and to ask it something.

async with chromium(tmp_path) as browser:
    await browser.open("http://127.0.0.1:8080/page")
    assert await browser.ask("document.title") == "a page"
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.parts import located
from tests.support.waiting import until_true

PATIENCE = 60.0
# fmt: off
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
)
# fmt: on


@dataclass
class Browser:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    said: list[str] = field(default_factory=list)
    """What stood in the console since the page was opened."""
    _asked: int = 0

    async def open(self, url: str) -> None:
        """Go there, and wait for the page's load event."""
        self.said.clear()
        await self._call("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            while (await self._message()).get("method") != "Page.loadEventFired":
                pass

    async def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result."""
        return await self._call(method, **params)

    async def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression gives something true; fails the test with what it gave last, and the console."""
        return await until_true(self.ask, expression, seconds, self.said)

    async def ask(self, expression: str) -> Any:
        """The value of an expression, awaited when it is a promise."""
        found = await self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._asked += 1
        await self.socket.send_json({"id": self._asked, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE):
            while (message := await self._message()).get("id") != self._asked:
                pass
        result: dict[str, Any] = message["result"]
        return result

    async def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.receive_str())
        if message.get("method") == "Log.entryAdded":
            self.said.append(message["params"]["entry"]["text"])
        return message


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A browser with a profile of its own in `folder`, and one empty tab."""
    process = await asyncio.create_subprocess_exec(
        located("chromium"),
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while b"DevTools listening on" not in (line := await process.stderr.readline()):
                assert line, "the browser ended"
        reading = asyncio.ensure_future(process.stderr.read())
        port = line.decode().rpartition("ws://")[2].partition("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://{port}/json/new?about:blank") as response:
                tab = await response.json()
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                for domain in ("Page", "Log", "Runtime"):
                    await browser._call(f"{domain}.enable")
                yield browser
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()
