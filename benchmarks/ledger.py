"""What the ledger costs: append, sign and commit; the audit; proofs; the start; and whether a cached hit notices it.

`python -m benchmarks.ledger` takes about two minutes and writes benchmarks/results/ledger.json and ledger.md; `--quick` half of
it, into ledger-quick.*. Every figure that appends is durable: one SQLite transaction for each batch, write-ahead log,
synchronous=FULL, so what was answered survives a power cut. Bodies are durable before: what they cost is in `benchmarks.load`.

Each figure is measured in several rounds; the best and the median are kept. The best is what the program can do, the median what
it did on a machine that was doing other things too.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import machine
from benchmarks.busy_ledger import hits
from benchmarks.ledger_report import GOALS, figure, table
from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant, SystemClock
from edgeproxy.ledger.batches import seal_all
from edgeproxy.ledger.block import Block, Place, seal_genesis
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.drafts import BodyRef, Draft, StoreDraft, encode_names, names_of
from edgeproxy.ledger.merkle import MerkleFrontier, leaf_hash
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.proof_file import parse_proof_file, verify_proof
from edgeproxy.ledger.proofs import verify_inclusion
from edgeproxy.ledger.replay import RawRow, TreeHead
from edgeproxy.process import settle_garbage
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.sequencer.proving import prove
from edgeproxy.sequencer.recovery import recover
from edgeproxy.sequencer.sealing import checkpoint_of
from edgeproxy.sequencer.sequencer import Sequencer
from edgeproxy.storage.ledger_db import LEDGER_FILE, LedgerDb

RESULTS = Path(__file__).parent / "results"
BATCH = 256
SITE = "www.example.org"
AHEAD = 3
"""Full batches that wait while another is committed; small ones wait for nothing, and nothing for them."""


class Durable:
    """Bodies that are on the disk already."""

    async def make_durable(self, refs: Sequence[BodyRef]) -> None:
        """They are."""

    def exists(self, digest: Digest) -> bool:
        """It does."""
        return True

    async def delete(self, digest: Digest) -> object:
        """Nothing is evicted here."""
        return None


def draft(number: int) -> StoreDraft:
    """The `number`-th response, with a head as servers send them."""
    lines = (
        "HTTP/1.1 200 OK", "Date: Mon, 24 Nov 2025 16:00:00 GMT", "Content-Type: text/html; charset=utf-8", f'ETag: "{number:x}"',
        "Cache-Control: max-age=3600", "Last-Modified: Sat, 01 Nov 2025 00:00:00 GMT", "Content-Length: 10240",
    )  # fmt: skip
    head = "".join(f"{line}\r\n" for line in lines).encode()
    url, time_here = f"https://{SITE}/page/{number}", Instant(1_764_000_000_000 + number)
    return StoreDraft("store", SITE, url, (), 200, head, ref_of(b"body %d" % number), time_here, f"{number:032x}")


async def fill(sequencer: Sequencer, drafts: Sequence[Draft], batch: int, ahead: int) -> float:
    """Seconds from the first append to the last commit, with up to `ahead` batches waiting for the one before."""
    began = time.perf_counter()
    waiting: deque[asyncio.Future[Block]] = deque()
    for start in range(0, len(drafts), batch):
        for each in drafts[start : start + batch]:
            last = sequencer.append(each)
        waiting.append(last)
        if len(waiting) > ahead:
            await waiting.popleft()
    for each_last in waiting:
        await each_last
    return time.perf_counter() - began


async def append(folder: Path, batch: int, rounds: int, count: int) -> dict[str, Any]:
    """Blocks a second and the time of a commit, over `rounds` times `count` blocks of one ledger."""
    db = LedgerDb(folder / LEDGER_FILE)
    sequencer = Sequencer(db, Durable(), SystemClock(), "bench", max_batch=batch)
    commits: list[float] = []

    @contextmanager
    def timed(drafts: Sequence[Draft]) -> Iterator[None]:
        began = time.perf_counter()
        yield
        commits.append(time.perf_counter() - began)

    sequencer.batch_span = timed
    await sequencer.start()
    rates, cpus = [], []
    try:
        for number in range(rounds):
            drafts = [draft(number * count + place) for place in range(count)]
            # What an edge does after its start, too.
            settle_garbage()
            cpu = time.process_time()
            rates.append(count / await fill(sequencer, drafts, batch, AHEAD if batch == BATCH else 0))
            cpus.append(1e6 * (time.process_time() - cpu) / count)
    finally:
        await sequencer.stop()
        await db.close()
    return {**figure(rates), "cpu_us": min(cpus), **_times(commits)}


def _times(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50_ms": 1e3 * cuts[49], "p99_ms": 1e3 * cuts[98]}


async def database(folder: Path, batches: int) -> dict[str, Any]:
    """Batches that are sealed and signed already, written by `LedgerDb` alone."""
    db, signer = LedgerDb(folder / LEDGER_FILE), Signer(f"{SITE}/log", bytes(32))
    genesis = seal_genesis(Instant(0), "bench", bytes(32))
    frontier = MerkleFrontier()
    frontier.append(genesis.leaf)
    ready = [
        (
            [RawRow(0, genesis.raw, genesis.leaf, None, None)],
            TreeHead(1, frontier.root(), Instant(0), genesis.leaf, frontier.peaks),
        )
    ]
    for number in range(batches):
        last = ready[-1][1]
        drafts = [draft(number * BATCH + place) for place in range(BATCH)]
        blocks = seal_all(drafts, Place(Height(last.size), last.last, last.time, "bench"), bytes(32))
        assert blocks is not None
        frontier.extend([block.leaf for block in blocks])
        rows = [
            RawRow(block.height, block.raw, block.leaf, each.head, encode_names(names))
            for each, block in zip(drafts, blocks, strict=True)
            if (names := names_of(each)) is not None
        ]
        ready.append((rows, TreeHead(frontier.size, frontier.root(), blocks[-1].time, blocks[-1].leaf, frontier.peaks)))
    commits = []
    await db.open()
    try:
        for rows, head in ready:
            checkpoint = checkpoint_of(head, signer)
            began = time.perf_counter()
            await db.append(rows, head, checkpoint)
            commits.append(time.perf_counter() - began)
    finally:
        await db.close()
    tens = [commits[start : start + 10] for start in range(1, len(commits), 10)]
    return {**figure([BATCH * len(each) / sum(each) for each in tens]), **_times(commits[1:])}


def audits(folder: Path, rounds: int) -> dict[str, Any]:
    """Blocks a second of a full local audit without bodies, and its seconds of CPU in this process."""
    rates, cpus = [], []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        report = audit_now(folder, bodies=False)
        if not report.is_clean:
            raise SystemExit(f"audit found a fault: {report.first}")
        rates.append(report.blocks / (time.perf_counter() - began))
        cpus.append(1e6 * (time.process_time() - cpu) / report.blocks)
    return {**figure(rates), "blocks": report.blocks, "cpu_us": min(cpus)}


def on_one_processor(folder: Path, rounds: int) -> dict[str, Any]:
    """The audit with all of its work on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        return audits(folder, rounds)
    finally:
        os.sched_setaffinity(0, before)


async def starts(folder: Path, rounds: int) -> dict[str, Any]:
    """Blocks a second of recovery: everything read, proved and taken into memory before anything is served."""
    rates, cpus = [], []
    for _ in range(rounds):
        db = LedgerDb(folder / LEDGER_FILE)
        gc.collect()
        try:
            began, cpu = time.perf_counter(), time.process_time()
            recovered = await recover(db)
            rates.append(recovered.head.size / (time.perf_counter() - began))
            cpus.append(1e6 * (time.process_time() - cpu) / recovered.head.size)
        finally:
            await db.close()
    return {**figure(rates), "blocks": recovered.head.size, "cpu_us": min(cpus)}


def proofs(folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Checks a second of whole proof files, parsed anew each time, and of their paths alone."""
    evidence, log = prove(folder, draft(BATCH * 100 + 7).url)
    data, block = evidence.proof.encode(), evidence.block
    tree = verify_proof(parse_proof_file(data), block, log, log.name).checkpoint
    index, path, leaf = evidence.proof.index, evidence.proof.path, leaf_hash(block)
    return {
        "proof": {**_rate(lambda: verify_proof(parse_proof_file(data), block, log, log.name), rounds), "bytes": len(data)},
        "inclusion": {**_rate(lambda: verify_inclusion(index, tree.size, leaf, path, tree.root), rounds), "hashes": len(path)},
    }


def _rate(work: Callable[[], object], rounds: int, seconds: float = 0.5) -> dict[str, Any]:
    rates = []
    for _ in range(rounds):
        began, done = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < seconds:
            for _ in range(50):
                work()
            done += 50
        rates.append(done / took)
    return figure(rates)


def measure(folder: Path, rounds: int, count: int) -> dict[str, Any]:
    """All of it, in one run."""
    rows: dict[str, dict[str, Any]] = {}

    def keep(name: str, row: dict[str, Any]) -> None:
        rows[name] = row
        print(f"{name:22} {json.dumps({key: round(value, 2) for key, value in row.items()})}", flush=True)

    for batch, blocks in ((1, 100), (16, 1600)):
        place = folder / f"append-{batch}"
        keep(f"append-{batch}", uvloop.run(append(place, batch, rounds, blocks)))
    # The ledger that the others read.
    place = folder / "ledger"
    keep(f"append-{BATCH}", uvloop.run(append(place, BATCH, count // (BATCH * 50), BATCH * 50)))
    gc.unfreeze()
    gc.collect()
    keep("database", uvloop.run(database(folder / "database", 100)))
    keep("audit", audits(place, rounds))
    keep("audit-1", on_one_processor(place, max(1, rounds - 2)))
    for name, row in proofs(place, rounds).items():
        keep(name, row)
    keep("start", uvloop.run(starts(place, max(1, rounds - 2))))
    gc.collect()
    keep("hits", uvloop.run(hits(folder / "edge", rounds)))
    return rows


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and blocks; for a look, not for the record")
    parser.add_argument("--rounds", type=int, help="measurements of each figure")
    parser.add_argument("--blocks", type=int, help="of the ledger that is audited")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for what is written")
    options = parser.parse_args()
    rounds, count = (2, 51_200) if options.quick else (5, 204_800)
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeproxy-bench-", ignore_cleanup_errors=True) as folder:
        rows = measure(Path(folder), options.rounds or rounds, options.blocks or count)
    measured = {
        "machine": {**machine.describe(), "load average before and after": f"{load:.1f} and {os.getloadavg()[0]:.1f}"},
        "goals": GOALS,
        "took_seconds": round(time.monotonic() - began),
        "rows": rows,
    }
    path = options.results / ("ledger-quick" if options.quick else "ledger")
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


if __name__ == "__main__":
    main()
