"""A whole place for a visitor: an origin, an edge in front of it, and a mirror beside it, each of which can be taken away."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from aiohttp import web

from edgeproxy.admin.client import AdminClient
from tests.support.edge import EdgeProcess, command, write_config
from tests.support.raw_origin import free_port
from tests.support.visited_site import VisitedSite
from tests.support.visitor import Visitor, visiting
from tests.support.web_app import listening

HOST = "127.0.0.1"
WORKER = """[site.service_worker]
mode = "{mode}"
navigation_timeout = "1s"
mirrors = [{mirrors}]
{more}"""


@dataclass
class Place:
    """One site. `at` names its pages; the port stays the same whoever dies."""

    origin: VisitedSite
    edge: EdgeProcess
    port: int

    def at(self, path: str) -> str:
        return f"http://{HOST}:{self.port}{path}"

    def get(self, path: str, **headers: str) -> bytes:
        """The body that a client of no browser gets; raises HTTPError for an error status."""
        asked = Request(self.at(path), headers={name.replace("_", "-"): value for name, value in headers.items()})
        with urlopen(asked) as answer:
            body: bytes = answer.read()
        return body

    def has_block(self, path: str) -> bool:
        """Whether the edge gives a block of that page to service workers."""
        try:
            self.get(f"/.edge/api/v1/blocks?url={self.at(path)}")
        except HTTPError as error:
            error.close()
            return False
        return True

    def record(self, path: str) -> None:
        """Ask for a page as another visitor does, and wait until it is in a committed block."""
        self.get(path)
        for _ in range(500):
            if self.has_block(path):
                return
            time.sleep(0.02)
        raise AssertionError(f"{path} has no block")

    def pause(self) -> None:
        """The edge hangs: its sockets are there, and nothing answers."""
        assert self.edge.process is not None
        os.kill(self.edge.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.edge.process is not None
        os.kill(self.edge.process.pid, signal.SIGCONT)

    def order(self, *words: str) -> str:
        """Run a command of the operator on this edge; what it printed."""
        done = command(*words, "--data", str(self.edge.data))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def workers(self, mode: str) -> None:
        """What `edgeproxy sw MODE` does, without a process."""
        AdminClient.of_folder(self.edge.data).order_workers(mode, None)

    def export(self, folder: Path) -> None:
        self.order("mirror", "export", str(folder), "--site", HOST)

    def shown(self, height: int) -> dict[str, Any]:
        """A block, as `edgeproxy ledger show` tells it."""
        found: dict[str, Any] = json.loads(self.order("ledger", "show", str(height), "--json"))
        return found


async def receipts(site: Place) -> list[dict[str, Any]]:
    """The receipts among the blocks of the running edge, each with its URL and height."""
    operator = AdminClient.of_folder(site.edge.data)
    shown = [(height, operator.ledger_show(height)) for height in range(operator.ledger_head()["size"])]
    return [
        {**each["block"], "url": each.get("url"), "height": height}
        for height, each in shown
        if each and each["block"]["op"] == "receipt"
    ]


@contextmanager
def place(folder: Path, *mirrors: str, mode: str = "on", more: str = "", site: str = "") -> Iterator[Place]:
    """A running site with a service worker. `more`: keys of `[site.service_worker]`; `site`: tables of the site."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    worker = WORKER.format(mode=mode, mirrors=", ".join(f'"{each}"' for each in mirrors), more=more)
    with VisitedSite() as origin:
        edge = EdgeProcess(write_config(folder, origin.url, site=site + worker, http=f"{HOST}:{port}"))
        edge.start()
        try:
            yield Place(origin, edge, port)
        finally:
            edge.kill()


@dataclass
class Mirror:
    """A folder behind a web server that knows nothing of it."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        headers = {"Access-Control-Allow-Origin": "*"}
        path = self.folder / request.path.lstrip("/")
        if not path.is_file():
            return web.Response(status=404, headers=headers)
        return web.Response(body=path.read_bytes(), headers=headers)


@asynccontextmanager
async def mirror(folder: Path) -> AsyncIterator[Mirror]:
    """What lies in `folder`, on a port of its own."""
    made = Mirror(folder)
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with listening(app) as made.url:
        yield made


@dataclass
class Scene:
    """All of it, and who visits: one browser for the tests of a module. `folder` holds what they keep."""

    visitor: Visitor
    place: Place
    mirror: Mirror
    folder: Path


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """The mirror is empty at first: its folder is yet to be made."""
    async with mirror(folder / "mirror") as copies, visiting(folder) as visitor:
        with place(folder, copies.url) as site:
            yield Scene(visitor, site, copies, folder)
