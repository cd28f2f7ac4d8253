"""What a TLS handshake costs: the event loop's own TLS server beside the front door, in one run, as a ratio.

`python -m benchmarks.handshake` prints the server's CPU for each connection (handshake, one small answer, close), full and
resumed, smallest and median of several rounds that take turns. The client is `openssl s_time`, one connection after the other.
The same plain server stands beside whole servers in `benchmarks.load`.
"""

import argparse
import asyncio
import contextlib
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.authority import HOST, make_identity, write_identity
from benchmarks.machine import line
from benchmarks.plain_tls import GOAL, Answering, start_plain
from edgeproxy.clock import SystemClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.tls.contexts import Contexts, TlsPolicy
from edgeproxy.tls.dispatch import Directory, Dispatch, Served
from edgeproxy.tls.front import FrontDoor, FrontSettings
from edgeproxy.tls.handshakes import Handshake
from edgeproxy.tls.openssl import find_openssl
from edgeproxy.tls.tickets import TicketKeys

KINDS = ("plain", "front")


async def _start_plain() -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = await start_plain(write_identity(make_identity(), Path(folder) / "identity").chain_and_key)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _start_front() -> int:
    clock = SystemClock()
    contexts = Contexts(TicketKeys.temporary(clock), find_openssl())
    served = Served(make_identity(), TlsPolicy(), HOST)
    dispatch = Dispatch(Directory({HOST: served}, served), contexts)

    def make(handshake: Handshake) -> asyncio.Protocol:
        return Answering()

    nobody: object = None  # nothing is ever registered: the protocol above is all there is
    connections = Connections(nobody, ServingSettings(), clock)  # type: ignore[arg-type]
    front = FrontDoor(dispatch, make, FrontSettings(), clock, connections=connections)
    await front.start(["127.0.0.1:0"])
    return int(front.addresses[0].rpartition(":")[2])


async def _serve(kind: str) -> None:
    """Until the standard input ends; then print what was served and what it cost."""
    port = await {"plain": _start_plain, "front": _start_front}[kind]()
    print(port, flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.to_thread(sys.stdin.read)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"served": Answering.served, "cpu_seconds": cpu}), flush=True)


@contextlib.contextmanager
def _server(kind: str, found: dict[str, float]) -> Iterator[int]:
    """A server of `kind` in a process of its own; its figures are in `found` afterwards."""
    command = [sys.executable, "-m", "benchmarks.handshake", "--serve", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        found.update(json.loads(process.stdout.readline()))


def measure(kind: str, mode: str, seconds: int) -> float:
    """Microseconds of the server's CPU for each connection. `mode`: "new" or "reuse"."""
    found: dict[str, float] = {}
    with _server(kind, found) as port:
        command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", f"-{mode}", "-time", str(seconds), "-www", "/"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    counted = re.search(r"(\d+) connections in \d+ real seconds", said)
    if counted is None or int(counted[1]) == 0:
        raise SystemExit(f"openssl s_time made no connection:\n{said[-500:]}")
    return 1e6 * found["cpu_seconds"] / found["served"]


def main() -> None:
    """Take turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    if options.serve:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options.serve))
        return
    print(line())
    for mode, title in (("new", "full handshake"), ("reuse", "resumed")):
        costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                costs[kind].append(measure(kind, mode, options.seconds))
        for kind in KINDS:
            print(f"{title:15} {kind:6} least {min(costs[kind]):5.0f} us, median {statistics.median(costs[kind]):5.0f} us")
        ratio = min(costs["front"]) / min(costs["plain"])
        medians = statistics.median(costs["front"]) / statistics.median(costs["plain"])
        goal = f" (goal {GOAL})" if mode == "new" else ""
        print(f"{title:15} ratio  least {ratio:.2f}, median {medians:.2f}{goal}")


if __name__ == "__main__":
    main()
