"""The programs that make the load: how each is called for a scenario, and how what it prints is read.

wrk for HTTP/1.1, h2load for HTTP/2, `benchmarks.connects` for new connections. Each reports the same figures: requests, seconds,
bytes, p50_us, p99_us, bad_status (wrong answers) and socket_errors.
"""

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.authority import CIPHER, GROUP, HOST
from benchmarks.scenarios import SEED, Scenario

CONNECTIONS = 32
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
"""Which Debian package brings what is not our own."""

SCRIPTS = Path(__file__).parent / "wrk"
_seeds = itertools.count(1)

_COUNTS = re.compile(r"^requests: (\d+) total, .*?(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE)
_FINISHED = re.compile(r"^finished in ([\d.]+)(us|ms|s),", re.MULTILINE)
_DATA = re.compile(r"^traffic: .*\((\d+)\) data$", re.MULTILINE)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)", re.MULTILINE)
_CIPHER = re.compile(r"^TLS Protocol: (\S+)\nCipher: (\S+)", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class ToolFailed(RuntimeError):
    """A tool ended without figures; the text is what it said."""


def wrk_command(scenario: Scenario, port: int, seconds: float) -> list[str]:
    """wrk knows whole seconds. Its scripts resolve the name, so that it can be in SNI."""
    arguments = [str(next(_seeds)) if argument == SEED else argument for argument in scenario.arguments]
    target = f"https://{HOST}:{port}" if scenario.protocol else f"http://127.0.0.1:{port}"
    duration = f"-d{max(1, round(seconds))}s"
    flags = ("-t1", f"-c{CONNECTIONS}", duration, "--timeout", "10s", "--latency", "-s", str(SCRIPTS / scenario.script))
    return ["wrk", *flags, target, "--", *arguments]


def h2load_command(scenario: Scenario, port: int, seconds: float, log: Path) -> list[str]:
    """The name is in SNI and `:authority`, the address in --connect-to. Windows are h2load's own, 1 GiB: nobody waits."""
    streams, path = scenario.arguments
    flags = (f"-c{CONNECTIONS}", "-t1", f"-m{streams}", f"-D{max(1, round(seconds))}s", f"--log-file={log}")
    same = (f"--tls13-ciphers={CIPHER}", f"--groups={GROUP}")  # h2load has its own lists, which win over the file's
    return ["h2load", *flags, *same, f"--connect-to=127.0.0.1:{port}", f"https://{HOST}{path}"]


def connects_command(scenario: Scenario, port: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "benchmarks.connects", str(port), *scenario.arguments, str(seconds)]


def run_tool(scenario: Scenario, port: int, seconds: float, *, core: int, client_conf: Path) -> dict[str, Any]:
    """One run of the scenario's tool on `core`; its figures. Raises ToolFailed."""
    environ = {**os.environ, "OPENSSL_CONF": str(client_conf)}

    def said(command: list[str]) -> str:
        pinned = ["taskset", "-c", str(core), *command]
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds + 60, env=environ)
        if done.returncode:
            raise ToolFailed(f"{command[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    if scenario.tool == "h2load":
        with tempfile.TemporaryDirectory(prefix="edgeproxy-h2load-") as folder:
            log = Path(folder) / "requests"
            text = said(h2load_command(scenario, port, seconds, log))
            with log.open(encoding="ascii") as lines:
                return read_h2load(text, lines, len(scenario.body))
    make = connects_command if scenario.tool == "connects" else wrk_command
    return read_result(said(make(scenario, port, seconds)))


def read_result(text: str) -> dict[str, Any]:
    """The line that a wrk script, or `benchmarks.connects`, ends with."""
    line = next((line for line in text.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise ToolFailed(f"no result in: {text}")
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


def read_h2load(text: str, log: Iterable[str], size: int) -> dict[str, Any]:
    """What h2load printed, with percentiles from its log. `size` is what each body must have.

    Of bodies only the sum is known: what is missing in it, in whole bodies, counts as wrong answers. Streams that were cut off
    by the end of the run are in neither.
    """
    counts, finished, data = (found.search(text) for found in (_COUNTS, _FINISHED, _DATA))
    if not (counts and finished and data):
        raise ToolFailed(f"no result in: {text}")
    _, succeeded, failed, errored, timeout = map(int, counts.groups())
    times, bad = read_h2load_log(log)
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [0.0] * 99
    protocol, cipher = _PROTOCOL.search(text), _CIPHER.search(text)
    wrong = 0 if protocol and protocol[1] == "h2" else succeeded
    lacking = max(0, succeeded * size - int(data[1]))
    return {
        "requests": succeeded,
        "seconds": float(finished[1]) * _UNITS[finished[2]],
        "bytes": int(data[1]),
        "p50_us": cuts[49],
        "p99_us": cuts[98],
        "bad_status": max(wrong, bad, -(-lacking // size) if size else 0),
        "socket_errors": failed + errored + timeout,
        "spoken": " ".join(cipher.groups()) if cipher else "",
    }


def read_h2load_log(lines: Iterable[str]) -> tuple[list[int], int]:
    """Microseconds of each answered request, and how many were answered with anything but 200."""
    times, bad = [], 0
    for line in lines:
        _, status, elapsed = line.split("\t")[:3]
        if status == "-1":  # never answered; h2load counts these itself
            continue
        times.append(int(elapsed))
        bad += status != "200"
    return times, bad
