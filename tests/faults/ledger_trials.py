"""Trials of the sequencer: each is a process that writes and rotates keys until a step ends it; then the next one looks.

Run as a program, since it forks: `python -m tests.faults.ledger_trials FOLDER SEED TRIALS [STEP]`. A trial ends by SIGKILL at its
n-th step, or goes on after a step failed (before or after it took effect). With STEP, the first call of that step is the end.
What a trial was told, and every checkpoint that it published, it reports before the next step; what comes after must honour both.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from edgeproxy.caching.model import Digest
from edgeproxy.errors import EdgeError
from edgeproxy.ledger.block import Block
from edgeproxy.ledger.checkpoint import open_checkpoint, read_checkpoint
from edgeproxy.ledger.merkle import leaf_hash, root_of
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.sequencer import keys, signing
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.sequencer.publication import Publication
from edgeproxy.storage import ledger_key, ledger_rows
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.witness import Witness
from edgeproxy.tasks import spawn
from tests.support.ledgers import Ledger, store_draft

STEPS: tuple[tuple[Any, str], ...] = (
    (LedgerDb, "_append"),
    (LedgerDb, "_refuse_fork"),
    (LedgerDb, "_testify"),
    (ledger_rows, "insert_rows"),
    (ledger_rows, "put_tree_head"),
    (ledger_rows, "put_state"),
    (Witness, "write"),
    (Publication, "advance"),
    (keys, "write_next"),
    (keys, "promote_next"),
    (signing, "promote_next"),
    (signing, "drop_next"),
    (signing, "ensure_key"),
    (ledger_key, "write_synced"),
    (ledger_key, "sync_folder"),
    (ledger_key, "retire_key"),
)
_MAY_FAIL = frozenset(("_append", "insert_rows", "put_tree_head", "put_state"))
NAMES = tuple(f"{where} {owner.__name__.rpartition('.')[2]}.{name}" for owner, name in STEPS for where in ("before", "after"))
_FRESH_FOLDER = 40
"""Trials in one folder; each start reads all that those before it wrote."""


class Saboteur:
    """Ends this process, or lets a step fail, when its moment comes."""

    def __init__(self, chance: random.Random, step: str | None) -> None:
        self.named = step
        self.kill_at = chance.randrange(1, 300)
        self.fail_at = chance.randrange(1, 200)
        self.count = 0
        self.disk_may_fail = False
        for owner, name in STEPS:
            setattr(owner, name, self._wrapped(getattr(owner, name), f"{owner.__name__.rpartition('.')[2]}.{name}"))

    def _wrapped(self, step: Callable[..., object], name: str) -> Callable[..., object]:
        may_fail = name.rpartition(".")[2] in _MAY_FAIL

        def sabotaged(*arguments: Any, **options: Any) -> object:
            self._reached(f"before {name}", may_fail=may_fail)
            answer = step(*arguments, **options)
            self._reached(f"after {name}", may_fail=may_fail)
            return answer

        return sabotaged

    def _reached(self, name: str, *, may_fail: bool) -> None:
        self.count += 1
        if name == self.named or (self.named is None and self.count == self.kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        if may_fail and self.named is None and self.disk_may_fail and self.count >= self.fail_at:
            self.fail_at = 1 << 30
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR  # type: ignore[misc]  # as the library does
            raise error


class Told:
    """What all trials of a folder were told, in the order of telling."""

    def __init__(self) -> None:
        self.leaves: dict[int, str] = {}
        self.stated: list[tuple[int, str, str]] = []

    def take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            kind, *values = json.loads(line)
            if kind == "block":
                height, leaf = values
                assert self.leaves.get(height, leaf) == leaf, f"height {height} was given twice"
                self.leaves[height] = leaf
            else:
                self.stated.append(tuple(values))


async def _look(ledger: Ledger, told: Told) -> None:
    """Everything that was told must be there, and every statement ever published must still be true."""
    size = ledger.sequencer.head().size
    leaves = [leaf_hash((await ledger.db.load(height)).raw) for height in range(size)]
    lost = [height for height, leaf in told.leaves.items() if height >= size or leaves[height].hex() != leaf]
    assert not lost, f"acknowledged blocks are lost: {lost}"
    for stated_size, root, _ in told.stated:
        assert stated_size <= size, "a published checkpoint covers blocks that are lost"
        assert root_of(leaves[:stated_size]).hex() == root, f"fork: published root of {stated_size} blocks is another"
    assert ledger.sequencer.recovered is not None
    assert not ledger.sequencer.recovered.faults, ledger.sequencer.recovered.faults
    note, log = ledger.sequencer.publication.checkpoint, ledger.sequencer.log
    assert note is not None
    stated = open_checkpoint(note, log, log.name).checkpoint
    assert (stated.size, stated.root) == (size, root_of(leaves))


def _append(ledger: Ledger, chance: random.Random) -> list[asyncio.Future[Block]]:
    """Up to two batches of drafts; one in twenty cannot become a block."""
    drafts = [store_draft(chance.randrange(10**9)) for _ in range(chance.randrange(1, 9))]
    return [ledger.sequencer.append(replace(draft, status=99) if chance.random() < 0.05 else draft) for draft in drafts]


async def _trial(folder: Path, chance: random.Random, told: Told, pipe: int, step: str | None) -> None:
    def tell(*values: object) -> None:
        os.write(pipe, json.dumps(values).encode() + b"\n")

    saboteur = Saboteur(chance, step)
    advance = Publication.advance

    def published(self: Publication, leaves: Iterable[Digest], checkpoint: bytes | None) -> None:
        advance(self, leaves, checkpoint)
        stated = read_checkpoint(checkpoint)
        if stated is not None:
            tell("stated", stated.size, stated.root.hex(), str(ledger.sequencer.log))

    Publication.advance = published  # type: ignore[method-assign]
    ledger = Ledger(folder, max_delay=0.0, max_batch=4)
    ledger.sequencer.wants_mldsa = chance.random() < 0.5
    async with ledger:
        await _look(ledger, told)
        # Not before: a start that fails is an edge that does not run, and nothing to be told of.
        saboteur.disk_may_fail = True
        for number in range(8):
            futures = _append(ledger, chance)
            if number in (2, 5):
                rotating = spawn(ledger.sequencer.rotate(), name="rotation")
                while not rotating.done() and chance.random() < 0.8:
                    # Full batches before and behind the one with the rotation: one is sealed while another is written.
                    futures += _append(ledger, chance)
                    await asyncio.sleep(0.001)
                futures.append(rotating)
            for future in futures:
                try:
                    block = await future
                    tell("block", block.height, block.leaf.hex())
                except EdgeError:
                    pass  # the step that failed, or a draft that no block can carry; what the ledger says counts
    assert saboteur.named is None or saboteur.count, "no step was reached"


def _child(folder: Path, chance: random.Random, told: Told, pipe: int, step: str | None) -> NoReturn:
    try:
        asyncio.run(_trial(folder, chance, told, pipe, step))
    except BaseException as error:
        # The only way out of a forked process; the parent reads it and fails.
        os.write(2, f"trial failed: {error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def _fork(folder: Path, chance: random.Random, told: Told, step: str | None) -> int:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(folder, chance, told, writing, step)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = [line for line in pipe if line.endswith(b"\n")]
    _, status = os.waitpid(pid, 0)
    told.take(lines)
    return os.waitstatus_to_exitcode(status)


def main(folder: Path, seed: int, trials: int, step: str | None) -> int:
    """Print how many trials were killed; 1 when one went wrong."""
    killed = 0
    told, data = Told(), folder
    for number in range(trials):
        if number % _FRESH_FOLDER == 0:
            told, data = Told(), folder / str(number)
        ended = _fork(data, random.Random(seed * 1_000_003 + number), told, step)
        if ended not in (0, -signal.SIGKILL):
            print(f"trial {number} of seed {seed} ended with {ended}", file=sys.stderr)
            return 1
        killed += ended == -signal.SIGKILL
        # The last of a folder, and one that was told to stop at a step, is looked at by a start that nothing disturbs.
        if step is not None or number % _FRESH_FOLDER == _FRESH_FOLDER - 1 or number == trials - 1:
            if _fork(data, random.Random(0), told, "none"):
                return 1
            faults = audit_now(data, bodies=False).faults
            assert not faults, faults
            assert all(parse_verifier(key) for _, _, key in told.stated)
    print(json.dumps({"trials": trials, "killed": killed}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None))
