"""How long a block takes until it is final, with two of three validators on this machine.

`python -m benchmarks.validators` writes benchmarks/results/validators.json and validators.md.

The edge runs in this process, on uvloop as always; the validators are processes of their own, and fetch each block from the
edge's public side over HTTP. A block is recorded when it is handed to the sequencer, committed when it is durable with its
checkpoint, and final when the checkpoint over it with two cosignatures is durable too.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks import machine
from benchmarks.ports import free_port
from edgeproxy.app import Edge, running
from edgeproxy.config import load
from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.validator.folder import KnownLog, add_logs, make_folder

RESULTS = Path(__file__).parent / "results"
VALIDATORS = 3
QUORUM = 2
BLOCKS = 300
MEAN_GAP = 0.025
"""Seconds between blocks, on average; the gaps are exponential, as of visitors who do not know of each other."""
DELAYS = ("100ms", "20ms")
"""`ledger.batch_delay`: the default first."""
PATIENCE = 30.0


@dataclass(frozen=True)
class Row:
    """Milliseconds."""

    batch_delay: str
    blocks: int
    recorded_to_final_p50: float
    recorded_to_final_p99: float
    recorded_to_final_most: float
    committed_to_final_p50: float
    committed_to_final_p99: float


@contextmanager
def validators(folder: Path) -> Iterator[list[tuple[Path, str, int, subprocess.Popen[bytes]]]]:
    """Three that run and know no log yet."""
    made = []
    try:
        for number in range(VALIDATORS):
            data, port = folder / f"validator-{number}", free_port()
            vkey = str(make_folder(data, f"validator-{number}.example", []).verifier)
            command = [
                sys.executable,
                "-m",
                "edgeproxy",
                "validator",
                "serve",
                "--data",
                str(data),
                "--listen",
                f"127.0.0.1:{port}",
            ]
            with (folder / f"validator-{number}.log").open("wb") as log:
                made.append((data, vkey, port, subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)))
        deadline = time.monotonic() + PATIENCE
        for number in range(VALIDATORS):
            while b"edgeproxy validator " not in (folder / f"validator-{number}.log").read_bytes():
                if time.monotonic() > deadline:
                    raise SystemExit("a validator did not start")
                time.sleep(0.05)
        yield made
    finally:
        for _, _, _, process in made:
            process.terminate()
            process.wait(20)


def configure(folder: Path, delay: str, made: Sequence[tuple[Path, str, int, subprocess.Popen[bytes]]]) -> Path:
    tables = "".join(f'[[ledger.validators]]\nvkey = "{vkey}"\nurl = "http://127.0.0.1:{port}"\n' for _, vkey, port, _ in made)
    path = folder / "edge.toml"
    path.write_text(
        f'[edge]\ndata = "{folder / "data"}"\n[listen]\nhttp = ["127.0.0.1:0"]\nadmin = "127.0.0.1:0"\n'
        f'[telemetry]\naccess_log = "off"\n[ledger]\nbatch_delay = "{delay}"\nquorum = {QUORUM}\n{tables}'
        '[[site]]\nhosts = ["*"]\norigins = ["http://127.0.0.1:9"]\n'
    )
    return path


async def reach(edge: Edge, size: int) -> None:
    """Wait until so many blocks are final, looking twice a millisecond."""
    deadline = time.monotonic() + PATIENCE
    assert edge.validators is not None
    while (edge.validators.final_size or 0) < size:
        if time.monotonic() > deadline:
            raise SystemExit(f"not final within {PATIENCE} s: {edge.validators.alarms or edge.validators.standings}")
        await asyncio.sleep(0.0005)


async def stream(edge: Edge) -> tuple[list[float], list[float]]:
    """Write the blocks; answers milliseconds from recorded, and from committed, to final, for each."""
    recorded: list[float] = []
    committed: list[float] = []
    waiting: list[tuple[int, float, float]] = []
    chance = random.Random(1)

    async def one(number: int) -> None:
        began = time.monotonic()
        block = await edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
        waiting.append((block.height + 1, began, time.monotonic()))

    async def watch() -> None:
        assert edge.validators is not None
        while len(recorded) < BLOCKS:
            await asyncio.sleep(0.0005)
            now, final = time.monotonic(), edge.validators.final_size or 0
            for entry in [each for each in waiting if each[0] <= final]:
                waiting.remove(entry)
                recorded.append(1000 * (now - entry[1]))
                committed.append(1000 * (now - entry[2]))

    async with asyncio.timeout(PATIENCE + BLOCKS * MEAN_GAP), asyncio.TaskGroup() as group:
        group.create_task(watch())
        for number in range(BLOCKS):
            group.create_task(one(number))
            await asyncio.sleep(chance.expovariate(1 / MEAN_GAP))
    return recorded, committed


async def measure(folder: Path, delay: str) -> Row:
    with validators(folder) as made:
        async with running(load(configure(folder, delay, made))) as edge:
            url = f"http://{edge.listener.addresses[0]}/.edge/ledger"
            for data, _, _, process in made:
                add_logs(data, [KnownLog(edge.sequencer.log, url)])
                process.send_signal(1)  # SIGHUP: the list is read anew
            await reach(edge, 1)
            recorded, committed = await stream(edge)
    return Row(
        delay,
        BLOCKS,
        round(statistics.median(recorded), 1),
        round(percentile(recorded, 0.99), 1),
        round(max(recorded), 1),
        round(statistics.median(committed), 1),
        round(percentile(committed, 0.99), 1),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are at most."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def report(rows: Sequence[Row], load_average: float) -> str:
    lines = [
        "# From a block to its final checkpoint",
        "",
        f"Made by `python -m benchmarks.validators`; {QUORUM} of {VALIDATORS} validators, processes on the same machine, plain "
        "HTTP on loopback.",
        f"{machine.line()}; load average before the run {load_average:.1f}.",
        "",
        f"{BLOCKS} blocks at random times, one every {MEAN_GAP * 1000:.0f} ms on average. Each is committed with its checkpoint",
        "in one SQLite transaction (WAL, synchronous=FULL), submitted, fetched by the validators as entry bundles, checked,",
        "written down by each (SQLite, synchronous=FULL), and cosigned; the note with a quorum is flushed before it is final.",
        "",
        "| milliseconds | recorded → final p50 | p99 | most | committed → final p50 | p99 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        whole = f"{row.recorded_to_final_p50} | {row.recorded_to_final_p99} | {row.recorded_to_final_most}"
        after = f"{row.committed_to_final_p50} | {row.committed_to_final_p99}"
        lines.append(f"| batch delay {row.batch_delay} | {whole} | {after} |")
    lines += ["", "The target is 500 ms at the 99th percentile from recorded to final, at the default batch delay of 100 ms.", ""]
    return "\n".join(lines)


def main() -> None:
    load_average = os.getloadavg()[0]
    rows = []
    for delay in DELAYS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(uvloop.run(measure(Path(folder), delay)))
        print(rows[-1])
    RESULTS.mkdir(exist_ok=True)
    described = {"machine": machine.describe(), "load_average": load_average, "rows": [asdict(row) for row in rows]}
    (RESULTS / "validators.json").write_text(json.dumps(described, indent=1) + "\n")
    (RESULTS / "validators.md").write_text(report(rows, load_average))


if __name__ == "__main__":
    main()
