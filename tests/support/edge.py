"""A whole edge for tests: inside the test's own loop, or as a process that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp

from edgeproxy.app import Edge, running
from edgeproxy.config import load
from tests.support.serving import Client as RawClient

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

NO_SECOND_START = {"GLIBC_TUNABLES": ""}
"""Given, so that an edge does not start over for its allocator's sake (`edgeproxy.launch`): tests start many."""


def write_config(
    folder: Path,
    origin: str,
    *,
    more: str = "",
    site: str = "",
    name: str = "edge.toml",
    edge: str = "",
    http: str = "127.0.0.1:0",
    access_log: str = "off",
) -> Path:
    """A config file for one site on free ports of 127.0.0.1. `more`: other tables; `site`: tables of the site; `edge`: keys of
    `[edge]`; `http`: addresses, separated by spaces."""
    addresses = ", ".join(f'"{address}"' for address in http.split())
    path = folder / name
    path.write_text(
        f"""
[edge]
data = "{folder / "data"}"
{edge}
[listen]
http = [{addresses}]
admin = "127.0.0.1:0"
[telemetry]
access_log = "{access_log}"
{more}
[[site]]
hosts = ["*"]
origins = ["{origin}"]
{site}
"""
    )
    return path


@dataclass
class Answer:
    """One response as a client sees it."""

    status: int
    headers: "aiohttp.typedefs.LooseHeaders"
    body: bytes
    received: float = field(default_factory=time.time)
    """POSIX seconds; `Age` is true for a moment between `asked` and this."""
    asked: float = 0.0

    def __getitem__(self, name: str) -> str:
        return self.headers.get(name, "")  # type: ignore[union-attr]


@dataclass
class Client:
    """Asks one edge; connections are pooled."""

    base: str
    session: aiohttp.ClientSession

    async def ask(self, target: str, method: str = "GET", **options: object) -> Answer:
        asked = time.time()
        async with self.session.request(method, self.base + target, **options) as response:  # type: ignore[arg-type]
            return Answer(response.status, response.headers, await response.read(), asked=asked)

    async def recorded(self, target: str, **options: object) -> Answer:
        """Ask until the answer comes out of a committed block."""

        async def has_block() -> Answer | None:
            answer = await self.ask(target, **options)
            return answer if "Edge-Block" in answer.headers else None  # type: ignore[operator]

        return await until(has_block)


@asynccontextmanager
async def running_edge(
    folder: Path, origin: str, *, more: str = "", site: str = "", edge: str = "", access_log: str = "off"
) -> AsyncIterator[tuple[Edge, Client]]:
    """An edge in this loop, and a client for it."""
    config = load(write_config(folder, origin, more=more, site=site, edge=edge, access_log=access_log))
    async with running(config) as started, aiohttp.ClientSession(auto_decompress=False) as session:
        yield started, Client(f"http://{started.listener.addresses[0]}", session)


@asynccontextmanager
async def client_at(address: str, base: str) -> AsyncIterator[Client]:
    """Another client, whose connections come from `address` (a loopback one)."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield Client(base, session)


@asynccontextmanager
async def connected(edge: Edge, address: int = 0) -> AsyncIterator[RawClient]:
    """A raw connection to one of the edge's addresses (TCP), with a strict reader of answers; for 30 seconds at most."""
    host, _, port = edge.listener.addresses[address].rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    client = RawClient(reader, writer)
    try:
        async with asyncio.timeout(30):
            yield client
    finally:
        await client.close()


async def until(check: Callable[[], Awaitable[T | None]], deadline: float = 20.0) -> T:
    """Wait until `check` gives something; fails the test when it does not in time."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if (result := await check()) is not None:
            return result
        await asyncio.sleep(0.01)
    raise AssertionError(f"{check} gave nothing within {deadline} s")


@dataclass
class EdgeProcess:
    """An edge as a process of its own, started by the command line."""

    config: Path
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    flags: tuple[str, ...] = ()
    """Of `run`, instead of the file `config`, which then only says where the log goes."""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.config.with_suffix(".log")

    @property
    def data(self) -> Path:
        return self.config.parent / "data"

    def start(self, deadline: float = 30.0) -> str:
        """Start and wait until it says where it listens; returns the base URL."""
        with self.log.open("a") as log:
            offset = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeproxy", "run", *(self.flags or ("--config", str(self.config)))],
                cwd=ROOT,
                stderr=log,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **NO_SECOND_START, **self.environ},
                text=True,
            )
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            said = self.log.read_text()[offset:]
            for line in said.splitlines():
                if " in front of " in line:
                    return line.split(": ", 1)[1].split(" in front of ")[0].split(", ")[0]
            if self.process.poll() is not None:
                raise AssertionError(f"the edge ended at its start with {self.process.returncode}: {said}")
            time.sleep(0.01)
        raise AssertionError(f"the edge did not start: {self.log.read_text()[offset:]}")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self, deadline: float = 20.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline)


def command(*arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run one `edgeproxy` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edgeproxy", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def json_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What a command printed with --json."""
    assert done.stdout, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result
