"""A visitor: a tab of Chromium that goes to pages of a site with a service worker, and what the tests want to know of it."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support.chromium import PATIENCE, Browser, chromium
from tests.support.worker_pages import CONTROLLED, KEPT_BLOCKS

T = TypeVar("T")

REGISTERED = "navigator.serviceWorker.getRegistrations().then(all => all.map(each => each.active?.scriptURL ?? ''))"
LEFT = """(async () => ({
  registrations: (await navigator.serviceWorker.getRegistrations()).length,
  caches: (await caches.keys()).filter(name => name.startsWith("edge-sw-")),
  databases: (await indexedDB.databases()).map(each => each.name).filter(name => name === "edge-sw"),
}))()"""
NOTHING_LEFT = {"registrations": 0, "caches": [], "databases": []}
SOUGHT = """new Promise((resolve, reject) => {
  const sound = document.getElementById("tone");
  setTimeout(() => reject(new Error(`the sound is at ${sound.readyState}, ${sound.error?.message}`)), 15000);
  sound.onseeked = () => resolve(sound.currentTime);
  sound.onloadedmetadata = () => { sound.currentTime = 4; };
  if (sound.readyState) sound.onloadedmetadata();
})"""

EMPTY_STORE = """(async () => {
  await caches.delete("edge-sw-blocks-1");
  await new Promise((resolve, reject) => {
    const request = indexedDB.open("edge-sw");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const work = request.result.transaction("blocks", "readwrite");
      work.objectStore("blocks").clear();
      work.oncomplete = () => { request.result.close(); resolve(); };
    };
  });
})()"""
"""What any script of the page can do."""
EDIT_KEPT = """new Promise((resolve, reject) => {
  const request = indexedDB.open("edge-sw");
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    const store = request.result.transaction("blocks", "readwrite").objectStore("blocks");
    store.get(%(url)s).onsuccess = ({target: {result: kept}}) => {
      store.get(%(donor)s).onsuccess = ({target: {result: donor}}) => {
        const before = JSON.stringify(kept);
        %(change)s;
        if (JSON.stringify(kept) === before && %(url)s === %(donor)s) reject(new Error("nothing was changed"));
        store.put(kept);
      };
    };
    store.transaction.oncomplete = () => { request.result.close(); resolve(); };
  };
})"""
"""This too: change what the worker keeps of one URL, by what it keeps of another."""

NOBODY_WAITS = 1 << 30
"""First id of what is said without waiting for an answer."""


@dataclass
class Arrival:
    """How a navigation ended. `error` as Chromium names it, empty when there was an answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    by_worker: bool = False
    error: str = ""

    @property
    def source(self) -> str | None:
        """Where a recovered page came from; None for what the network sent."""
        return self.headers.get("x-edge-recovery")


@dataclass
class Visitor(Browser):
    """One tab."""

    arrivals: dict[str, Arrival] = field(default_factory=dict)
    """Of documents in this tab, by the loader's id."""
    clock: str = "0"
    """What sets the clock of workers."""
    loaded: set[str] = field(default_factory=set)

    async def go(self, url: str) -> Arrival:
        """Go there, and wait until the page is loaded, or what Chromium shows in its place."""
        return await self._navigated(await self._call("Page.navigate", url=url))

    async def _navigated(self, started: dict[str, Any]) -> Arrival:
        loader = started["loaderId"]
        async with asyncio.timeout(PATIENCE):
            while loader not in self.loaded:
                await self._message()
        arrival = self.arrivals.setdefault(loader, Arrival())
        arrival.error = started.get("errorText", "")
        return arrival

    async def follow(self, selector: str, title: str) -> None:
        """Click a link, and wait for the page with this title."""
        await self.ask(f"document.querySelector({selector!r}).click()")
        await self.eventually(f"the page {title!r}", lambda: self.is_true(f"document.title === {title!r}"))

    async def is_true(self, expression: str) -> bool:
        return bool(await self.ask(expression))

    async def is_protected(self, *kept: str) -> None:
        """Wait until our worker controls the page and keeps these URLs."""
        await self.eventually("our worker controls the page", lambda: self.ask(CONTROLLED))

        async def are_kept() -> bool:
            found = await self.ask(KEPT_BLOCKS)
            return all(url in found for url in kept)

        await self.eventually(f"kept: {kept}", are_kept)

    async def banner(self) -> str | None:
        """What the banner says, or None where there is none. Its shadow root is closed; the tree for screen readers is not."""
        nodes = (await self._call("Accessibility.getFullAXTree"))["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}

        def texts(node: dict[str, Any]) -> str:
            if node.get("role", {}).get("value") == "StaticText":
                return str(node.get("name", {}).get("value", ""))
            return "".join(texts(by_id[each]) for each in node.get("childIds", ()) if each in by_id)

        said = [texts(node) for node in nodes if node.get("role", {}).get("value") == "status"]
        return said[0] if said else None

    async def shown_banner(self) -> str:
        """What the banner says, once it does."""
        return str(await self.eventually("the banner speaks", self.banner))

    async def eventually(self, what: str, look: Callable[[], Awaitable[T]], deadline: float = 30.0) -> T:
        """What `look` gives once it is true; pages may be exchanged meanwhile."""
        end, last = time.monotonic() + deadline, None
        while time.monotonic() < end:
            try:
                last = await look()
            except (AssertionError, KeyError) as error:
                last = error  # type: ignore[assignment]
            else:
                if last:
                    return last
            await asyncio.sleep(0.03)
        raise AssertionError(f"{what}: not within {deadline} s; last: {last!r}")

    async def stop_workers(self) -> None:
        """End the worker as browsers do it to idle ones; the next event starts it anew."""
        await self._call("ServiceWorker.stopAllWorkers")

    async def set_workers_clock(self, days: float) -> None:
        """Workers that start from now on live so many days from now, unless they are quicker than this."""
        self.clock = f"(now => {{ Date.now = () => now() + {round(days * 86_400_000)}; }})(Date.now)"
        await self._call("Target.setAutoAttach", autoAttach=False, waitForDebuggerOnStart=False, flatten=True)
        await self.stop_workers()
        await self._call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    async def tell_worker(self, kind: str) -> None:
        await self.ask(f"navigator.serviceWorker.controller.postMessage({{type: {kind!r}}})")

    async def picture(self, name: str) -> None:
        """A picture for the docs: written where SCREENSHOTS=folder asks for it."""
        if folder := os.environ.get("SCREENSHOTS"):
            shot = await self._call("Page.captureScreenshot", format="png")
            Path(folder, f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    async def _message(self) -> dict[str, Any]:
        message = await super()._message()
        params = message.get("params", {})
        match message.get("method"):
            case "Target.attachedToTarget":
                # It waits before its first line.
                first = {"id": NOBODY_WAITS, "method": "Runtime.evaluate", "params": {"expression": self.clock}}
                then = {"id": NOBODY_WAITS + 1, "method": "Runtime.runIfWaitingForDebugger"}
                for said in (first, then):
                    await self.socket.send_json({**said, "sessionId": params["sessionId"]})
            case "Network.responseReceived" if params["type"] == "Document":
                response = params["response"]
                headers = {name.lower(): value for name, value in response["headers"].items()}
                self.arrivals[params["loaderId"]] = Arrival(response["status"], headers, response.get("fromServiceWorker", False))
            case "Page.lifecycleEvent" if params["name"] == "load":
                self.loaded.add(params["loaderId"])
        return message


@asynccontextmanager
async def visiting(folder: Path) -> AsyncIterator[Visitor]:
    """A visitor with a fresh browser, whose profile is in `folder`."""
    async with chromium(folder) as tab:
        visitor = Visitor(tab.socket)
        for domain in ("Page", "Log", "Runtime", "Network", "Accessibility", "ServiceWorker"):
            await visitor._call(f"{domain}.enable")
        await visitor._call("Page.setLifecycleEventsEnabled", enabled=True)
        await visitor._call("Emulation.setDeviceMetricsOverride", width=860, height=520, deviceScaleFactor=1, mobile=False)
        await visitor._call("Emulation.setScrollbarsHidden", hidden=True)
        await visitor._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        yield visitor


def script(value: object) -> str:
    """A value as it stands in a script."""
    return json.dumps(value)
