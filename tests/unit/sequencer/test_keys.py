"""The keys of a running log: a second one beside the first, and the hand-over to the next, whatever comes between."""

import asyncio
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeproxy.errors import StartError, StoreError
from edgeproxy.ledger.block import Rotate
from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.note_keys import Signer, Verifier, parse_verifier
from edgeproxy.sequencer import keys as keys_module
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import KEY_FILE, MLDSA_FILE, NEXT_FILE, read_key, write_next
from tests.support.ledgers import Ledger, stated_by, store_draft, uncertain_commits


@asynccontextmanager
async def _with_two_keys(folder: Path) -> AsyncIterator[tuple[Ledger, Verifier]]:
    """A ledger whose checkpoints are signed with ML-DSA-44 too, and that key's public half as others get it."""
    ledger = Ledger(folder)
    ledger.sequencer.wants_mldsa = True
    async with ledger:
        yield ledger, parse_verifier((folder / f"{MLDSA_FILE}.pub").read_text().strip())


def _is_vouched(ledger: Ledger, second: Verifier) -> bool:
    log, note = ledger.sequencer.log, ledger.sequencer.publication.checkpoint
    assert note is not None
    return [each.verifier for each in open_checkpoint(note, log, log.name, (second,)).cosigned] == [second]


async def test_a_second_key_signs_every_checkpoint_and_stays_through_rotations(tmp_path: Path) -> None:
    async with _with_two_keys(tmp_path) as (ledger, second):
        assert _is_vouched(ledger, second)
        await ledger.fill(3)
        await ledger.sequencer.rotate()
        assert _is_vouched(ledger, second)
        assert stat.S_IMODE((tmp_path / MLDSA_FILE).stat().st_mode) == 0o600
    async with _with_two_keys(tmp_path) as (ledger, again):
        assert again == second
        await ledger.fill(1, start=10)
        assert _is_vouched(ledger, second)
    # nothing of it is needed by who does without it
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(1, start=20)
        assert not _is_vouched(ledger, second)
    assert audit_now(tmp_path, bodies=False).is_clean


async def test_the_second_key_retires_with_the_first(tmp_path: Path) -> None:
    async with _with_two_keys(tmp_path) as (ledger, second):
        await ledger.fill(3)
    (tmp_path / KEY_FILE).rename(tmp_path / "away")
    for name in tmp_path.glob(f"{LEDGER_FILE}*"):
        name.unlink()
    async with _with_two_keys(tmp_path) as (_, other):
        assert other != second
    assert (tmp_path / f"{MLDSA_FILE}.retired-1").exists()
    (tmp_path / MLDSA_FILE).write_text("nonsense")
    with pytest.raises(StartError, match="key of the ledger is damaged"):
        async with _with_two_keys(tmp_path):
            pass


async def test_a_rotation_hands_over_in_a_block_that_the_old_key_signs(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        old = ledger.sequencer.log
        block = await ledger.sequencer.rotate()
        new = ledger.sequencer.log
        assert isinstance(block.entry, Rotate)
        assert (block.entry.old, block.entry.new) == (str(old), str(new))
        assert new.name == old.name
        assert stated_by(ledger).size == 4
        await ledger.fill(2, start=10)
        again = await ledger.sequencer.rotate()
        assert isinstance(again.entry, Rotate)
        assert again.entry.old == str(new)
        newest = ledger.sequencer.log
    assert (tmp_path / f"{KEY_FILE}.retired-2").exists()
    assert not (tmp_path / NEXT_FILE).exists()
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == newest
        assert not ledger.sequencer.recovered.faults  # type: ignore[union-attr]
        assert stated_by(ledger).size == 7
    assert audit_now(tmp_path, bodies=False).is_clean


@pytest.mark.parametrize("step", ["next key kept", "block committed", "old key moved"])
async def test_a_crash_in_a_rotation_leaves_one_key_and_it_is_the_right_one(tmp_path: Path, step: str) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        old = ledger.sequencer.log
        await asyncio.to_thread(shutil.copy, tmp_path / KEY_FILE, tmp_path / "old")
        if step == "next key kept":
            write_next(tmp_path, Signer(old.name, bytes(range(32))))
        else:
            await ledger.sequencer.rotate()
        new = ledger.sequencer.log
    if step != "next key kept":  # put the files back as they were before the last steps
        (tmp_path / KEY_FILE).rename(tmp_path / NEXT_FILE)
        if step == "block committed":
            (tmp_path / "old").rename(tmp_path / KEY_FILE)
            (tmp_path / f"{KEY_FILE}.retired-1").unlink()
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == (old if step == "next key kept" else new)
        assert not (tmp_path / NEXT_FILE).exists()
        await ledger.fill(1, start=50)
        size = stated_by(ledger).size
    assert size == (4 if step == "next key kept" else 5)


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
@pytest.mark.parametrize("readable", [False, True], ids=["disk unreadable then", "disk readable then"])
async def test_a_rotation_of_uncertain_outcome_ends_with_the_key_that_the_ledger_says(
    tmp_path: Path, *, persisted: bool, readable: bool
) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        old = ledger.sequencer.log
        with uncertain_commits(ledger.db, persisted=persisted, readable=readable):
            if persisted and readable:
                await ledger.sequencer.rotate()
            else:
                with pytest.raises(StoreError):
                    await ledger.sequencer.rotate()
        await ledger.sequencer.append(store_draft(40))
        log = ledger.sequencer.log
        assert (log != old) == persisted
        assert stated_by(ledger).size == (5 if persisted else 4)
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == log
        assert not (tmp_path / NEXT_FILE).exists()
    assert audit_now(tmp_path, bodies=False).is_clean


async def test_a_rotation_goes_on_when_nobody_waits_for_it(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        old = ledger.sequencer.log
        task = asyncio.ensure_future(ledger.sequencer.rotate())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = await ledger.sequencer.rotate()
        assert again.height == 2
        assert ledger.sequencer.log != old
        assert not (tmp_path / NEXT_FILE).exists()


async def test_a_key_that_could_not_be_moved_is_not_lost_by_the_next_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(folder: Path) -> None:
        raise StartError("key of the ledger cannot be written")

    async with Ledger(tmp_path) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(keys_module, "promote_next", failing)
            for _ in range(2):
                with pytest.raises(StartError):
                    await ledger.sequencer.rotate()
        assert ledger.sequencer.head().size == 2, "the second time it was refused before anything was written"
        kept = read_key(tmp_path, NEXT_FILE)
        assert kept is not None
        assert kept.verifier == ledger.sequencer.log
        await ledger.sequencer.rotate()
        log = ledger.sequencer.log
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == log
