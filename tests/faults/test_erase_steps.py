"""An erasure ended at each of its steps: nothing is erased yet, or the next start erases what is left, from every file."""

import asyncio
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from edgeproxy.caching.model import Height, Mark
from edgeproxy.ledger.block import MAX_ERASED
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.ledger.drafts import EraseDraft, PurgeDraft, ReceiptDraft
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.bodies import BodyStore
from tests.faults.erase_trial import NAMES, URL
from tests.support.edge import ROOT
from tests.support.ledgers import NOW, SITE, Ledger, head_for, store_draft
from tests.support.traces import traces

SECRETS = [b"the first secret body", b"the second secret body" * 20_000]
HEAD = b"X-Secret: sesame\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions to erase, one of them large, between others; killed once, so that the write-ahead log is full of them."""
    data = tmp_path_factory.mktemp("erase") / "data"

    async def fill() -> None:
        async with Ledger(data, BodyStore(data)) as ledger:
            for number, body in enumerate(SECRETS):
                await ledger.fill(40, start=1 + 100 * number)
                head = head_for(number) + HEAD
                ledger.sequencer.append(store_draft(90 + number, url=URL, head=head, body=await ledger.body(body)))
            # An unsafe request leaves such a purge, a service worker such a receipt.
            ledger.sequencer.append(PurgeDraft(SITE, "url", URL, "invalidate", NOW))
            ledger.sequencer.append(ReceiptDraft(SITE, URL, "cache", "network", Height(41), NOW, 1, NOW))
            await ledger.fill(40, start=201)

    asyncio.run(fill())
    assert len(SECRETS[1]) > WHOLE_BODY_LIMIT
    return data


@pytest.mark.parametrize("step", NAMES)
async def test_killed_at_a_step_the_next_start_finishes_it(folder: Path, tmp_path: Path, step: str) -> None:
    data = shutil.copytree(folder, tmp_path / "data")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.faults.erase_trial", str(data), step, cwd=ROOT)
    assert await process.wait() == -signal.SIGKILL
    async with Ledger(data, BodyStore(data)) as ledger:
        assert ledger.sequencer.recovered is not None
        assert ledger.sequencer.recovered.faults == ()
        await ledger.bodies.retain(ledger.fold.bodies())  # type: ignore[union-attr]
        erased = bool(ledger.fold.erased)
        assert len(ledger.fold.history(URL)) == (0 if erased else 2)
        if erased:
            assert traces(data, *(body[:20] for body in SECRETS), HEAD, URL.encode()) == []
            assert ledger.fold.rules.mark(Height(41), site=SITE, url=URL) is Mark.MUST_VALIDATE, "the purge counts as before"
        await ledger.fill(3, start=301)
    assert audit_now(data).is_clean
    told = traces(data, *(body[:20] for body in SECRETS), HEAD, URL.encode())
    assert (told == []) == erased


async def test_what_is_erased_leaves_no_old_copy_in_any_page(tmp_path: Path) -> None:
    """SQLite moves rows when pages are split and joined; what it leaves behind must not be the erased ones."""
    chance = random.Random(7)
    secret = [f"sesame-{number:03}-{chance.randrange(10**12):012}".encode() for number in range(60)]
    async with Ledger(tmp_path, BodyStore(tmp_path)) as ledger:
        for number, text in enumerate(secret):
            for extra in range(chance.randrange(1, 9)):
                padding = chance.choice((0, 10, 900, 3_000, 9_000))
                body = await ledger.body(b"%d" % number)
                ledger.sequencer.append(store_draft(1_000 + 10 * number + extra, head=head_for(number, padding), body=body))
            head = head_for(number, chance.choice((0, 500, 5_000))) + b"X-Secret: " + text + b"\r\n"
            body = await ledger.body(text + bytes(chance.randrange(2_000)))
            ledger.sequencer.append(store_draft(number, url=f"http://{SITE}/{text.decode()}", head=head, body=body))
        await ledger.sequencer.flush()
        gone: list[bytes] = []
        for text in chance.sample(secret, 60):
            url = f"http://{SITE}/{text.decode()}"
            bodies, versions = ledger.fold.erasable(url, SITE)
            assert versions == 1
            await ledger.sequencer.append(EraseDraft(SITE, url, tuple(bodies), NOW))
            await ledger.sequencer.settled()
            gone.append(text)
            if len(gone) % 10 == 0:
                assert traces(tmp_path, *gone) == []
    assert audit_now(tmp_path).is_clean


async def test_more_bodies_than_a_block_can_name_take_several_blocks(tmp_path: Path) -> None:
    async with Ledger(tmp_path, BodyStore(tmp_path)) as ledger:
        for number in range(MAX_ERASED + 5):
            body = await ledger.body(b"secret %d" % number)
            ledger.sequencer.append(store_draft(number, url=URL, body=body))
        await ledger.sequencer.flush()
        bodies = sorted(ledger.fold.erasable(URL, SITE)[0])
        assert len(bodies) == MAX_ERASED + 5
        for start in range(0, len(bodies), MAX_ERASED):
            ledger.sequencer.append(EraseDraft(SITE, URL, tuple(bodies[start : start + MAX_ERASED]), NOW))
        await ledger.sequencer.flush()
        await ledger.sequencer.settled()
        assert ledger.fold.bodies() == {}
    assert audit_now(tmp_path).is_clean
    assert traces(tmp_path, b"secret", URL.encode()) == []
