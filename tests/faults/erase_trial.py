"""One erasure in a process that a step ends by SIGKILL: `python -m tests.faults.erase_trial FOLDER STEP`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeproxy.ledger.drafts import EraseDraft
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.shards import Shards
from edgeproxy.storage.witness import Witness
from tests.support.ledgers import NOW, SITE, Ledger

URL = f"http://{SITE}/erased"

STEPS: tuple[tuple[Any, str], ...] = (
    (LedgerDb, "_append"),
    (ledger_rows, "erase_rows"),
    (ledger_rows, "empty_log"),
    (Witness, "write"),
    (BodyStore, "_take_away_now"),
    (Shards, "unlink"),
)
NAMES = tuple(f"{where} {owner.__name__.rpartition('.')[2]}.{name}" for owner, name in STEPS for where in ("before", "after"))


def _deadly(step: Callable[..., object], name: str, chosen: str) -> Callable[..., object]:
    def deadly(*arguments: Any, **options: Any) -> object:
        if chosen == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = step(*arguments, **options)
        if chosen == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return deadly


async def main(folder: Path, chosen: str) -> None:
    """Erase `URL`, which is there."""
    async with Ledger(folder, BodyStore(folder), max_delay=0.0) as ledger:
        bodies, _ = ledger.fold.erasable(URL, SITE)
        for owner, name in STEPS:
            setattr(owner, name, _deadly(getattr(owner, name), f"{owner.__name__.rpartition('.')[2]}.{name}", chosen))
        await ledger.sequencer.append(EraseDraft(SITE, URL, tuple(sorted(bodies)), NOW))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
