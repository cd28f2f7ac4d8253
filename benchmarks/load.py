"""Side by side on one machine: edgeproxy, nginx, HAProxy, Varnish and Caddy under the same load, with and without TLS.

`python -m benchmarks.load` takes about seven minutes, `--quick` about two. Server on core 0, load and origin on core 1,
keep-alive, loopback. Writes benchmarks/results/load.json, load.md and load.png (with `--quick`: load-quick.*).

Every scenario is run for all servers in turn, several times over, and the median is kept: the machine's mood meets all alike.
CPU time per request is the figure that holds still; requests per second move. Compare only within one run.

What a handshake costs is the server's CPU for each new connection with one small cached hit on it, beside the same for uvloop's
own TLS server with a ready answer. For edgeproxy that holds all of HTTP too; `benchmarks.handshake` compares the ways in alone.
"""

import argparse
import fcntl
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import machine, report
from benchmarks.measuring import LOAD_CORE, Measuring, Options
from benchmarks.peers import ALL
from benchmarks.peers.peer import said_by
from benchmarks.scenarios import PLAIN, SECURE
from benchmarks.tools import CONNECTIONS, PACKAGES

RESULTS = Path(__file__).parent / "results"


def missing(options: Options) -> dict[str, str | None]:
    """Programs that are not here, with the Debian package that brings each; None: a package of the virtual environment does."""
    wanted: dict[str, str | None] = {peer.binary: peer.package for peer in ALL if options.takes_part(peer)}
    return {binary: package for binary, package in (wanted | PACKAGES).items() if shutil.which(binary) is None}


def provide(options: Options) -> list[str]:
    """Install what is missing where that is possible; name and return what stays missing, and end when it is wrk."""
    lacking = missing(options)
    packages = [package for package in lacking.values() if package]
    if packages and options.install and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {', '.join(packages)}", flush=True)
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
        )
        lacking = missing(options)
    named = [
        f"{binary} ({f'Debian package {package}' if package else 'it comes with the extra `dev` of this package'})"
        for binary, package in lacking.items()
    ]
    for one in named:
        print(f"missing: {one}; it is left out", flush=True)
    if "wrk" in lacking:
        sys.exit("nothing can be measured without wrk")
    return named


def parse(arguments: Sequence[str] | None) -> tuple[Options, Path]:
    """Options, and the files to write, without their endings."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__.partition("\n")[0] if __doc__ else None
    )
    parser.add_argument("--quick", action="store_true", help="one short round and fewer objects; for a look, not for the record")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="measurements of each figure")
    parser.add_argument("--objects", type=int, help="of the Zipf mix")
    parser.add_argument("--only", default="", help="servers, separated by commas")
    parser.add_argument("--scenario", default="", help=f"scenarios, separated by commas: {' '.join(PLAIN + SECURE)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for what is written")
    parser.add_argument("--no-install", action="store_true", help="do not install what is missing")
    given = parser.parse_args(arguments)
    seconds, rounds, objects = (1.0, 1, 2000) if given.quick else (2.0, 3, 50_000)
    only, keys = (frozenset(filter(None, text.lower().split(","))) for text in (given.only, given.scenario))
    unknown = keys - {*PLAIN, *SECURE} | only - {peer.name.lower() for peer in ALL}
    if unknown:
        parser.error(f"no such scenario or server: {', '.join(sorted(unknown))}")
    options = Options(
        given.seconds or seconds, given.rounds or rounds, given.objects or objects, only, keys, install=not given.no_install
    )
    name = "load-quick" if given.quick or only or keys else "load"
    return options, given.results / name


def tools() -> dict[str, str]:
    """Versions of what makes the load."""
    found = {"wrk": " ".join(said_by("wrk", "-v").split()[:2]), "connects": f"connects with {ssl.OPENSSL_VERSION}"}
    return {**found, "h2load": said_by("h2load", "--version")} if shutil.which("h2load") else found


async def run(options: Options) -> dict[str, Any]:
    """Start, measure, stop; everything that goes into the JSON file."""
    os.sched_setaffinity(0, {LOAD_CORE})
    load_before, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeproxy-bench-", ignore_cleanup_errors=True) as folder:
        measuring = Measuring(options, Path(folder))
        try:
            await measuring.start()
            rows = await measuring.measure()
        finally:
            measuring.stop()
    taking_part = {row["server"] for row in rows}
    servers = {peer.name: peer.version() for peer in ALL if peer.name in taking_part}
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**machine.describe(), "load average before and after": f"{load_before:.1f} and {os.getloadavg()[0]:.1f}"},
        "servers": {**servers, **tools()},
        "options": {**asdict(options), "only": sorted(options.only), "keys": sorted(options.keys), "connections": CONNECTIONS},
        "missing": [f"{name} (it did not answer)" for name in measuring.left_out],
        "took_seconds": round(time.monotonic() - began),
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
    options, path = parse(arguments)
    lacking = provide(options)
    with alone():
        measured = uvloop.run(run(options))  # the client that fills the caches shares its core with the origin
    measured["missing"] = lacking + measured["missing"]
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(report.table(measured), encoding="utf-8")
    report.plot(measured, path.with_suffix(".png"))
    print(f"written: {path.parent.name}/{path.name}.json, .md, .png")


if __name__ == "__main__":
    main()
