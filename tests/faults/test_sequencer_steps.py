"""The sequencer ended at every step of a commit, of a key's first day and of its rotation: never a fork, never a block lost.

`make crash` runs a thousand random trials; the quick run ends it once at each step.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.faults.ledger_trials import NAMES
from tests.support.edge import ROOT

TRIALS = int(os.environ.get("EDGEPROXY_TRIALS", "1000"))
UNREACHED = frozenset(
    # Only a start that finds a rotation half done, or blocks lost, comes by here: random trials do.
    f"{where} {name}"
    for where in ("before", "after")
    for name in ("signing.promote_next", "signing.drop_next")
)


async def _trials(folder: Path, *arguments: str) -> dict[str, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.ledger_trials", str(folder), *arguments, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    told: dict[str, int] = json.loads(out)
    return told


@pytest.mark.parametrize("step", [name for name in NAMES if name not in UNREACHED])
async def test_killed_at_a_step_the_next_start_finds_everything_that_was_told(tmp_path: Path, step: str) -> None:
    assert await _trials(tmp_path, "1", "1", step) == {"trials": 1, "killed": 1}


async def test_killed_and_failing_at_random_steps(tmp_path: Path) -> None:
    assert (await _trials(tmp_path, "2", "40"))["killed"] > 10


@pytest.mark.crash
@pytest.mark.timeout(1800)
async def test_a_thousand_random_trials(tmp_path: Path) -> None:
    told = await _trials(tmp_path, "3", str(TRIALS))
    assert told["trials"] == TRIALS
    assert told["killed"] > TRIALS // 3
