"""One whole run of a load test: servers are started, asked, checked, loaded in turn, and ended.

Must not know how a tool is called (`benchmarks.tools`) or how figures are shown (`benchmarks.report`).
"""

import asyncio
import shutil
import ssl
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import client, connects
from benchmarks.authority import client_context, make_identity, write_identity
from benchmarks.peers import ALL
from benchmarks.peers.peer import Peer, Place
from benchmarks.ports import free_port
from benchmarks.processes import Running
from benchmarks.rows import line, row_of
from benchmarks.scenarios import HANDSHAKES, PLAIN, Scenario, scenarios
from benchmarks.tools import PACKAGES, ToolFailed, run_tool

SERVER_CORE, LOAD_CORE = 0, 1
CROWD = 100
CROWD_TITLE = f"{CROWD} clients at once, cold, origin takes 500 ms"


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how much."""

    seconds: float
    rounds: int
    objects: int
    only: frozenset[str]
    keys: frozenset[str]
    install: bool

    def takes_part(self, peer: Peer) -> bool:
        """Whether this server was asked for."""
        return not self.only or peer.name.lower() in self.only

    def wants(self, scenario: str) -> bool:
        """Whether the scenario of this key was asked for."""
        return not self.keys or scenario in self.keys


@dataclass(slots=True)
class Server:
    """One running peer."""

    peer: Peer
    port: int
    tls_port: int
    running: Running

    def port_for(self, scenario: Scenario) -> int:
        """Where the scenario asks."""
        return self.tls_port if scenario.protocol else self.port


class Measuring:
    """Starts the servers, measures, stops them."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._identity = write_identity(make_identity(), folder / "identity")
        self._contexts: dict[str, ssl.SSLContext | None] = {
            "": None,
            **{protocol: client_context(self._identity, protocol) for protocol in ("http/1.1", "h2")},
        }
        self._origin_port = free_port()
        self._servers: list[Server] = []
        self.left_out: list[str] = []
        """Servers that are here but did not come up."""
        self._started: list[Running] = []

    def _start(self, name: str, command: Sequence[str], core: int) -> Running:
        running = Running(name, command, core=core, log=self._folder / f"{name}.log")
        self._started.append(running)
        return running

    async def start(self) -> None:
        """Start the origin and every peer that is here and has something to do."""
        self._start("origin", [sys.executable, "-m", "benchmarks.origin", str(self._origin_port)], LOAD_CORE)
        await client.until_ready(self._origin_port, "/count")
        keys = [scenario.key for scenario in scenarios(1, "")] + ["crowd"]
        for peer in ALL:
            busy = any(self._options.wants(key) and peer.lacks(key) is None for key in keys)
            if busy and self._options.takes_part(peer) and shutil.which(peer.binary):
                await self._start_peer(peer)

    async def _start_peer(self, peer: Peer) -> None:
        place = Place(self._folder / peer.name, free_port(), free_port(), self._origin_port, self._identity)
        place.folder.mkdir()
        log = self._folder / f"{peer.name}.log"
        try:
            running = self._start(peer.name, peer.command(place), SERVER_CORE)
            if any(peer.lacks(key) is None for key in PLAIN):
                await client.until_ready(place.port, "/b/100")
            if any(peer.lacks(key) is None for key in HANDSHAKES):
                await client.until_ready(place.tls_port, "/b/100", tls=self._contexts["http/1.1"])
        except (TimeoutError, ssl.SSLError, subprocess.CalledProcessError) as error:
            said = log.read_text(errors="replace") if log.exists() else ""
            self.left_out.append(peer.name)
            print(f"{peer.name} does not answer and is left out ({error!r}):\n{said}", flush=True)
            return
        self._servers.append(Server(peer, place.port, place.tls_port, running))

    def stop(self) -> None:
        """Stop everything that was started here."""
        for running in reversed(self._started):
            running.stop()

    async def measure(self) -> list[dict[str, Any]]:
        """All scenarios for all servers: one row for each pair."""
        rows = []
        run = uuid.uuid4().hex[:8]
        for scenario in scenarios(self._options.objects, run):
            if self._options.wants(scenario.key):
                rows += await self._measure_scenario(scenario)
        for server in self._servers if self._options.wants("crowd") else []:
            lacking = server.peer.lacks("crowd")
            rows.append(_lacking("crowd", CROWD_TITLE, server, lacking) if lacking else await self._crowd(server, run))
        return rows

    async def _measure_scenario(self, scenario: Scenario) -> list[dict[str, Any]]:
        began = time.monotonic()
        rows, unfit = [], {}
        for server in self._servers:
            lacking = server.peer.lacks(scenario.key)
            if lacking:
                rows.append(_lacking(scenario.key, scenario.title, server, lacking))
            else:
                unfit[server.peer.name] = await self._prepare(server, scenario)
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in unfit}
        for _ in range(self._options.rounds):
            for server in self._servers:
                if unfit.get(server.peer.name, "lacking") is None:
                    samples[server.peer.name] += await self._sample_with_retry(server, scenario)
        for name, reason in unfit.items():
            rows.append(row_of(scenario, name, samples[name], reason))
            print(line(rows[-1]), flush=True)
        print(f"{'':10} {scenario.title:38} took {time.monotonic() - began:.0f} s", flush=True)
        return rows

    async def _prepare(self, server: Server, scenario: Scenario) -> str | None:
        """Fill the cache, and see that the answers are right; why there can be no figure when they are not."""
        if shutil.which(scenario.tool) is None and scenario.tool in PACKAGES:
            return f"{scenario.tool} is not here (Debian package {PACKAGES[scenario.tool]})"
        try:
            return await self._check(server, scenario)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError) as error:
            return f"no right answer: {error!r}"

    async def _check(self, server: Server, scenario: Scenario) -> str | None:
        port = server.port_for(scenario)
        warming = self._contexts["http/1.1" if scenario.protocol else ""]
        good = await client.get_all(port, scenario.warm, tls=warming, connections=1 if scenario.key in HANDSHAKES else 16)
        if good != len(scenario.warm):
            return f"{len(scenario.warm) - good} of {len(scenario.warm)} objects did not answer 200"
        context = self._contexts[scenario.protocol]
        if scenario.protocol == "h2" and context is not None:
            got = await client.get_http2(port, scenario.probe, context)
        else:
            got = await client.get(port, scenario.probe, *scenario.probe_fields, tls=context)
        if (got.status, got.body) != (scenario.status, scenario.body):
            return f"wrong answer: status {got.status}, {len(got.body)} bytes"
        if got.status == 304 and got.fields.get("content-length", "0") != "0":
            return "its 304 carries Content-Length, as RFC 9110 section 8.6 allows; wrk then waits for a body for ever"
        if scenario.key == "resumed" and not await asyncio.to_thread(connects.resumes, port):
            return "it does not resume sessions"
        return None

    async def _sample_with_retry(self, server: Server, scenario: Scenario) -> list[dict[str, Any]]:
        """One sample, and a second one after a first in which the tool got no answer at all; both are kept in the record."""
        samples = [await self._sample(server, scenario)]
        if not samples[0]["requests"]:
            samples.append(await self._sample(server, scenario))
        return samples

    async def _sample(self, server: Server, scenario: Scenario) -> dict[str, Any]:
        """Nothing is run in before: the cache is filled, and the median leaves out a cold first round."""
        server.running.wait_until_quiet()
        asked = int((await client.get(self._origin_port, "/count")).body)
        cpu = server.running.cpu_seconds()
        result = self._load(server, scenario, self._options.seconds)
        result["cpu_seconds"] = server.running.cpu_seconds() - cpu
        if result["requests"]:
            result["cpu_us"] = result["cpu_seconds"] / result["requests"] * 1e6
        result["memory_bytes"] = server.running.memory_bytes()
        result["origin_requests"] = int((await client.get(self._origin_port, "/count")).body) - asked
        return result

    def _load(self, server: Server, scenario: Scenario, seconds: float) -> dict[str, Any]:
        port = server.port_for(scenario)
        try:
            return run_tool(scenario, port, seconds, core=LOAD_CORE, client_conf=self._identity.client_conf)
        except ToolFailed as error:
            print(f"{server.peer.name}, {scenario.title}: {error}", flush=True)
            return {"requests": 0, "seconds": seconds, "bad_status": 0, "socket_errors": 1}

    async def _crowd(self, server: Server, run: str, times: int = 3) -> dict[str, Any]:
        """A hundred clients ask at once for something cold and slow: how often is the origin asked, and how long do they wait?"""
        asked, waits, wrong = [], [], 0
        loop = asyncio.get_running_loop()
        for number in range(times):
            before = int((await client.get(self._origin_port, "/count")).body)
            began = loop.time()
            answers = await client.get_at_once(server.port, f"/b/10240?delay=500&{run}{number}", CROWD)
            waits.append(loop.time() - began)
            asked.append(int((await client.get(self._origin_port, "/count")).body) - before)
            wrong += sum(answer.status != 200 or len(answer.body) != 10_240 for answer in answers)
        row = {
            "scenario": "crowd",
            "title": CROWD_TITLE,
            "server": server.peer.name,
            "origin_requests": statistics.median(asked),
            "all_answered_ms": statistics.median(waits) * 1000,
            "wrong": wrong,
        }
        print(
            f"{server.peer.name:10} crowd: {row['origin_requests']:.0f} origin requests, {row['all_answered_ms']:.0f} ms",
            flush=True,
        )
        return row


def _lacking(key: str, title: str, server: Server, reason: str) -> dict[str, Any]:
    """The row of a server that cannot be asked this, by what it is."""
    return {"scenario": key, "title": title, "server": server.peer.name, "lacks": reason}
