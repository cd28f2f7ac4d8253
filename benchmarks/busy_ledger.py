"""Does a cached hit cost more while the ledger is busy? One edge, one client, the ledger idle and busy in turn.

The edge runs in a process of its own, which also makes the mutations: responses for other URLs, stored at a fixed rate. What it
uses for them is measured without hits, and taken off.
"""

import asyncio
import gc
import json
import statistics
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.origin import Origin
from edgeproxy.app import Edge, running
from edgeproxy.clock import Instant
from edgeproxy.config import load
from edgeproxy.ledger.drafts import StoreDraft

RATE = 2_000
TICK = 0.01
"""Seconds between bursts of mutations."""
SECONDS = 1.5
CLIENTS = 8
PATH = "/b/10240"

_CONFIG = """
[edge]
node = "bench"
data = "{folder}/data"

[listen]
http = ["127.0.0.1:0"]
https = []
admin = "127.0.0.1:0"

[telemetry]
access_log = "off"

[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{origin}"]
"""


# -- the edge --------------------------------------------------------------------------------------------------------------


async def _mutate(edge: Edge, rate: int) -> None:
    """Store `rate` responses a second, all with the body that is there already."""
    (body,) = edge.sequencer.fold.bodies().values()
    made, began = 0, time.monotonic()
    head = b"HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 16:00:00 GMT\r\nContent-Type: text/html\r\n"
    while True:
        await asyncio.sleep(TICK)
        while made < rate * (time.monotonic() - began):
            url, now = f"http://www.example.org/m/{edge.sequencer.next_height}", Instant(time.time_ns() // 1_000_000)
            edge.sequencer.append(StoreDraft("store", "www.example.org", url, (), 200, head, body, now))
            made += 1


def _configured(folder: Path, origin: int) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "edge.toml"
    config.write_text(_CONFIG.format(folder=folder, origin=origin), encoding="utf-8")
    return config


async def _serve(folder: Path, origin: int) -> None:
    """Answer each line of the standard input: "idle" or "busy" from now on, with what was used and committed so far."""
    async with running(load(_configured(folder, origin))) as edge:
        print(edge.listener.addresses[0].rpartition(":")[2], flush=True)
        mutating: asyncio.Future[None] | None = None
        while line := await asyncio.to_thread(sys.stdin.readline):
            if mutating is not None:
                mutating.cancel()
                await asyncio.wait((mutating,))
                mutating = None
                await edge.sequencer.flush()
            gc.collect()
            gc.freeze()
            print(json.dumps({"cpu": time.process_time(), "blocks": edge.sequencer.head().size}), flush=True)
            if line.strip() == "busy":
                mutating = asyncio.ensure_future(_mutate(edge, RATE))


# -- the client ------------------------------------------------------------------------------------------------------------


class _Edge:
    """The process, told what to do."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()

    async def tell(self, what: str) -> dict[str, float]:
        """From now on; answers what was used so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n".encode())
        said: dict[str, float] = json.loads(await self.line())
        return said


async def _ask(port: int, until: float) -> int:
    """Ask again and again on one connection; how often it was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    try:
        while time.monotonic() < until:
            writer.write(b"GET " + PATH.encode() + b" HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the edge answered {head[:40]!r}")
            await reader.readexactly(10_240)
            answered += 1
    finally:
        writer.close()
    return answered


async def _asked(port: int) -> int:
    until = time.monotonic() + SECONDS
    return sum(await asyncio.gather(*(_ask(port, until) for _ in range(CLIENTS))))


async def _round(edge: _Edge, port: int) -> dict[str, float]:
    start = await edge.tell("idle")
    idle_hits = await _asked(port)
    idle = await edge.tell("busy")
    await asyncio.sleep(SECONDS)
    alone = await edge.tell("busy")
    busy_hits = await _asked(port)
    busy = await edge.tell("idle")
    block = (alone["cpu"] - idle["cpu"]) / (alone["blocks"] - idle["blocks"])
    blocks = busy["blocks"] - alone["blocks"]
    return {
        "idle_us": 1e6 * (idle["cpu"] - start["cpu"]) / idle_hits,
        "busy_us": 1e6 * (busy["cpu"] - alone["cpu"] - block * blocks) / busy_hits,
        "block_us": 1e6 * block,
        "mutations": blocks / SECONDS,
    }


async def hits(folder: Path, rounds: int) -> dict[str, float]:
    """Microseconds of the edge's CPU for each cached hit, idle and busy, in rounds that take turns; their medians."""
    origin = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0)
    port = origin.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.busy_ledger", str(folder), str(port),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    edge = _Edge(process)
    try:
        port = int(await edge.line())
        await _asked(port)  # fills the cache, and runs everything in
        found = [await _round(edge, port) for _ in range(rounds)]
    finally:
        # Its data is thrown away: no reason to let it drain.
        process.kill()
        await process.communicate()
        origin.close()
        await origin.wait_closed()
    medians = {key: statistics.median(each[key] for each in found) for key in found[0]}
    return {**medians, "ratio": statistics.median(each["busy_us"] / each["idle_us"] for each in found), "rounds": rounds}


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
