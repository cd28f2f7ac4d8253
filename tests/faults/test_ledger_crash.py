"""SIGKILL while the ledger is written: after each start it is whole, and nothing that was acknowledged is lost."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from edgeproxy.ledger.verify import verify_body
from edgeproxy.sequencer.audit import audit
from edgeproxy.storage.bodies import BodyStore
from tests.support.ledgers import Ledger

ROUNDS = int(os.environ.get("EDGEPROXY_CRASH_ROUNDS", "15"))
WRITER = Path(__file__).with_name("ledger_writer.py")
ROOT = Path(__file__).parents[2]


async def _write_and_die(data: Path, seed: int, chance: random.Random) -> dict[int, str]:
    """Let a child write until it is killed at a random moment; what it was told is committed, height to leaf hash."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), str(data), str(seed), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, limit=1 << 20,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    acknowledged = {}
    # Killed after a number of lines, then a little later: not always at the same step of a batch.
    after, pause = chance.randrange(1, 400), chance.random() * 0.02
    try:
        async with asyncio.timeout(60):
            while len(acknowledged) < after and (line := await child.stdout.readline()):
                height, leaf = line.split()
                acknowledged[int(height)] = leaf.decode()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), pause)
    finally:
        if child.returncode is None:
            os.kill(child.pid, signal.SIGKILL)
    rest, errors = await child.communicate()
    assert child.returncode == -signal.SIGKILL, errors.decode()
    for line in rest.splitlines(keepends=True):
        if line.endswith(b"\n"):  # the last one may be cut by the kill
            height, leaf = line.split()
            acknowledged[int(height)] = leaf.decode()
    assert len(acknowledged) >= after
    return acknowledged


@pytest.mark.timeout(600)
async def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: dict[int, str] = {}
    for number in range(ROUNDS):
        fresh = await _write_and_die(tmp_path, number, chance)
        assert not acknowledged.keys() & fresh.keys(), "a height was given twice"
        acknowledged |= fresh
        before_recovery = await audit(tmp_path)
        assert before_recovery.is_clean, before_recovery.faults[:3]
        bodies = BodyStore(tmp_path)
        async with Ledger(tmp_path, bodies) as ledger:
            assert not ledger.sequencer.recovered.faults
            await bodies.retain(ledger.fold.bodies())
            leaves = {height: (await ledger.db.load(height)).leaf.hex() for height in acknowledged}
            assert leaves == acknowledged
            versions = [version for url in ledger.fold.by_url for version in ledger.fold.history(url)]
            newest = {
                version.height: version for version in versions if version.height in fresh and ledger.fold.has_body(version)
            }
            assert newest
            for version in newest.values():
                verify_body(version.body, await bodies.read(version.body))
        report = await audit(tmp_path)
        assert report.is_clean, report.faults[:3]
        assert report.bodies == len(ledger.fold.bodies()), "bodies that no block names are removed at start"
        assert report.head is not None
        assert report.head.size > max(acknowledged)
