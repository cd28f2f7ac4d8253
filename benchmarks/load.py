"""Side by side on one machine: edgeproxy, nginx, HAProxy and Varnish in front of the same origin, under the same load.

`python -m benchmarks.load` takes some minutes, `--quick` less than one. Server on core 0, wrk and the origin on core 1,
keep-alive, loopback. Writes benchmarks/results/load.json, load.md and load.png (with `--quick`: load-quick.*).

Every scenario is run for all servers in turn, several times over, and the median is kept: the machine's mood meets all alike.
CPU time per request is the figure that holds still; requests per second move. Compare only within one run.
"""

import argparse
import asyncio
import fcntl
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import client, machine, report
from benchmarks.peers import ALL
from benchmarks.peers.peer import Peer, said_by
from benchmarks.ports import free_port
from benchmarks.processes import Running
from benchmarks.scenarios import SEED, Scenario, scenarios

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
CROWD = 100
_seeds = itertools.count(1)

SCRIPTS = Path(__file__).parent / "wrk"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how much."""

    seconds: float
    rounds: int
    objects: int
    only: frozenset[str]
    keys: frozenset[str]
    install: bool


@dataclass(slots=True)
class Server:
    """One running peer."""

    peer: Peer
    port: int
    running: Running


def missing(only: frozenset[str]) -> dict[str, str]:
    """Programs that are not here, with the Debian package that brings each."""
    wanted = {peer.binary: peer.package for peer in ALL if peer.package and (not only or peer.name.lower() in only)}
    wanted["wrk"] = "wrk"
    return {binary: package for binary, package in wanted.items() if shutil.which(binary) is None}


def provide(options: Options) -> None:
    """Install what is missing where that is possible; name what stays missing, and end when it is wrk."""
    lacking = missing(options.only)
    if lacking and options.install and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {', '.join(lacking.values())}", flush=True)
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *lacking.values()],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
        )
        lacking = missing(options.only)
    for binary, package in lacking.items():
        print(f"missing: {binary} (Debian package {package}); it is left out", flush=True)
    if "wrk" in lacking:
        sys.exit("nothing can be measured without wrk")


def run_wrk(scenario: Scenario, port: int, seconds: float) -> dict[str, Any]:
    """One run of wrk; what its script reported."""
    arguments = [str(next(_seeds)) if argument == SEED else argument for argument in scenario.arguments]
    command = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
    ]
    command += ["--latency", "-s", str(SCRIPTS / scenario.script), f"http://127.0.0.1:{port}", "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


class Measuring:
    """One whole run: starts the servers, measures, stops them."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._origin_port = free_port()
        self._origin: Running | None = None
        self._servers: list[Server] = []
        self._started: list[Running] = []

    def _start(self, name: str, command: Sequence[str], core: int) -> Running:
        running = Running(name, command, core=core, log=self._folder / f"{name}.log")
        self._started.append(running)
        return running

    async def start(self) -> None:
        """Start the origin and every peer that is here."""
        self._origin = self._start("origin", [sys.executable, "-m", "benchmarks.origin", str(self._origin_port)], LOAD_CORE)
        await client.until_ready(self._origin_port, "/count")
        for peer in ALL:
            if shutil.which(peer.binary) is None or (self._options.only and peer.name.lower() not in self._options.only):
                continue
            folder = self._folder / peer.name
            folder.mkdir()
            port = free_port()
            running = self._start(peer.name, peer.command(folder, port, self._origin_port), SERVER_CORE)
            try:
                await client.until_ready(port, "/b/100")
            except TimeoutError:
                print(
                    f"{peer.name} does not answer and is left out:\n{(self._folder / (peer.name + '.log')).read_text()}",
                    flush=True,
                )
                running.stop()
                continue
            self._servers.append(Server(peer, port, running))

    def stop(self) -> None:
        """Stop everything that was started here."""
        for running in reversed(self._started):
            running.stop()

    async def measure(self) -> list[dict[str, Any]]:
        """All scenarios for all servers: one row for each pair."""
        rows = []
        run = uuid.uuid4().hex[:8]
        for scenario in scenarios(self._options.objects, run):
            if self._options.keys and scenario.key not in self._options.keys:
                continue
            unfit = {server.peer.name: await self._prepare(server, scenario) for server in self._servers}
            samples: dict[str, list[dict[str, Any]]] = {name: [] for name in unfit}
            for _ in range(self._options.rounds):
                for server in self._servers:
                    if unfit[server.peer.name] is None:
                        samples[server.peer.name] += await self._sample_with_retry(server, scenario)
            for name, reason in unfit.items():
                rows.append(_row(scenario, name, samples[name], reason))
                print(_line(rows[-1]), flush=True)
        if not self._options.keys or "crowd" in self._options.keys:
            rows += [await self._crowd(server, run) for server in self._servers]
        return rows

    async def _prepare(self, server: Server, scenario: Scenario) -> str | None:
        """Fill the cache, and see that the answers are right; why there can be no figure when they are not."""
        good = await client.get_all(server.port, scenario.warm)
        if good != len(scenario.warm):
            return f"{len(scenario.warm) - good} of {len(scenario.warm)} objects did not answer 200"
        got = await client.get(server.port, scenario.probe, *scenario.probe_fields)
        if (got.status, got.body) != (scenario.status, scenario.body):
            return f"wrong answer: status {got.status}, {len(got.body)} bytes"
        if got.status == 304 and got.fields.get("content-length", "0") != "0":
            return "its 304 carries Content-Length, as RFC 9110 section 8.6 allows; wrk then waits for a body for ever"
        return None

    async def _sample_with_retry(self, server: Server, scenario: Scenario) -> list[dict[str, Any]]:
        """One sample, and a second one after a first in which wrk got no answer at all; both are kept in the record."""
        samples = [await self._sample(server, scenario)]
        if not samples[0]["requests"]:
            samples.append(await self._sample(server, scenario))
        return samples

    async def _sample(self, server: Server, scenario: Scenario) -> dict[str, Any]:
        server.running.wait_until_quiet()
        run_wrk(scenario, server.port, 1)
        asked = int((await client.get(self._origin_port, "/count")).body)
        cpu = server.running.cpu_seconds()
        result = run_wrk(scenario, server.port, self._options.seconds)
        result["cpu_seconds"] = server.running.cpu_seconds() - cpu
        if result["requests"]:
            result["cpu_us"] = result["cpu_seconds"] / result["requests"] * 1e6
        result["memory_bytes"] = server.running.memory_bytes()
        result["origin_requests"] = int((await client.get(self._origin_port, "/count")).body) - asked
        return result

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
            "title": f"{CROWD} clients at once, cold, origin takes 500 ms",
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


def _row(scenario: Scenario, server: str, samples: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    """The median of each figure over the samples that have one; what must not happen is summed over all.

    A sample without a single answer has no figures: it is counted in `empty_samples`, never averaged in as zeros.
    """
    row: dict[str, Any] = {"scenario": scenario.key, "title": scenario.title, "server": server, "samples": samples}
    usable = [sample for sample in samples if sample["requests"]]
    row["empty_samples"] = len(samples) - len(usable)
    if not usable:
        row["not_measured"] = reason or f"no answer in {len(samples)} tries"
        return row
    for sample in usable:
        sample["per_second"] = sample["requests"] / sample["seconds"]
    for figure in ("cpu_us", "per_second", "p50_us", "p99_us", "memory_bytes"):
        row[figure] = statistics.median(sample[figure] for sample in usable)
    for figure in ("bad_status", "socket_errors", "origin_requests", "requests"):
        row[figure] = sum(sample[figure] for sample in samples)
    row["from_cache"] = scenario.from_cache
    return row


def _line(row: dict[str, Any]) -> str:
    if "not_measured" in row:
        return f"{row['server']:10} {row['title']:38} not measured: {row['not_measured']}"
    return (
        f"{row['server']:10} {row['title']:38} {row['cpu_us']:8.1f} µs CPU {row['per_second']:9.0f}/s "
        f"p50 {row['p50_us']:6.0f} µs p99 {row['p99_us']:7.0f} µs {row['memory_bytes'] / 1e6:7.1f} MB "
        f"bad {row['bad_status'] + row['socket_errors']} origin {row['origin_requests']} empty {row['empty_samples']}"
    )


def parse(arguments: Sequence[str] | None) -> tuple[Options, str]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__.partition("\n")[0] if __doc__ else None
    )
    parser.add_argument("--quick", action="store_true", help="one short round and fewer objects; for a look, not for the record")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="measurements of each figure")
    parser.add_argument("--objects", type=int, help="of the Zipf mix")
    parser.add_argument("--only", default="", help="servers, separated by commas")
    parser.add_argument(
        "--scenario", default="", help="scenarios, separated by commas: hit-1k hit-10k hit-1m 304 miss zipf crowd"
    )
    parser.add_argument("--no-install", action="store_true", help="do not install what is missing")
    given = parser.parse_args(arguments)
    seconds, rounds, objects = (1.0, 1, 2000) if given.quick else (4.0, 3, 50_000)
    only, keys = (frozenset(filter(None, text.lower().split(","))) for text in (given.only, given.scenario))
    options = Options(
        given.seconds or seconds, given.rounds or rounds, given.objects or objects, only, keys, install=not given.no_install
    )
    return options, "load-quick" if given.quick or only or keys else "load"


async def run(options: Options) -> dict[str, Any]:
    """Start, measure, stop; everything that goes into the JSON file."""
    os.sched_setaffinity(0, {LOAD_CORE})
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgeproxy-bench-", ignore_cleanup_errors=True) as folder:
        measuring = Measuring(options, Path(folder))
        try:
            await measuring.start()
            rows = await measuring.measure()
        finally:
            measuring.stop()
    servers = {peer.name: peer.version() for peer in ALL if shutil.which(peer.binary)}
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**machine.describe(), "load average before and after": f"{load_before:.1f} and {os.getloadavg()[0]:.1f}"},
        "servers": {**servers, "wrk": " ".join(said_by("wrk", "-v").split()[:2])},
        "options": {**asdict(options), "only": sorted(options.only), "keys": sorted(options.keys), "connections": CONNECTIONS},
        "rows": rows,
    }


@contextmanager
def alone() -> Iterator[None]:
    """Two load tests on the same cores measure each other: the second one ends at once."""
    with (Path(tempfile.gettempdir()) / "edgeproxy-bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("another load test is running on this machine")
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    options, name = parse(arguments)
    provide(options)
    with alone():
        measured = asyncio.run(run(options))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(report.table(measured), encoding="utf-8")
    report.plot(measured, RESULTS / f"{name}.png")
    print(f"written: {RESULTS.name}/{name}.json, .md, .png")


if __name__ == "__main__":
    main()
