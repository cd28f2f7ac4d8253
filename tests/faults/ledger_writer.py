"""The child of test_ledger_crash: writes until it is killed, and says on stdout what was committed."""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeproxy.ledger.drafts import EvictDraft, PurgeDraft
from edgeproxy.sequencer.sequencer import Committed
from edgeproxy.storage.bodies import BodyStore
from tests.support.ledgers import NOW, SITE, Ledger, store_draft


def _say(committed: Sequence[Committed]) -> None:
    for one in committed:
        sys.stdout.write(f"{one.block.height} {one.block.leaf.hex()}\n")
    sys.stdout.flush()


async def write(data: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with Ledger(data, BodyStore(data), max_delay=0.002, max_batch=64) as ledger:
        ledger.sequencer.on_commit = _say
        for number in range(100_000):
            size = 600_000 if number % 97 == 96 else chance.randrange(6000)
            ref = await ledger.body(chance.randbytes(size))
            url = f"http://{SITE}/page/{chance.randrange(200)}"
            ledger.sequencer.append(store_draft(seed * 100_000 + number, body=ref, url=url))
            if number % 31 == 30:
                ledger.sequencer.append(PurgeDraft(SITE, "url", url, "soft", NOW))
            if number % 53 == 52:
                ledger.sequencer.append(EvictDraft(ref.digest, ref.length, NOW))
            if number % 16 == 15:
                await ledger.sequencer.flush()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
