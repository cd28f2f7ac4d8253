"""From whatever is on the disk to a ledger that serves and goes on."""

import logging
from pathlib import Path

import pytest

from edgeproxy.errors import StartError
from edgeproxy.ledger.replay import FaultKind
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.ledger_rows import PAGE_SIZE
from tests.support.ledgers import Ledger, store_draft

COUNT = 40


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(COUNT)
    return tmp_path


def _execute(data: Path, statement: str) -> None:
    connection = ledger_rows.connect(data / LEDGER_FILE)
    connection.execute(statement)
    connection.close()


def _aside(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("*.damaged-*"))


async def _versions(data: Path, *, faults: int) -> int:
    """Start, append one, and answer how many versions were there before."""
    async with Ledger(data) as ledger:
        assert ledger.sequencer.recovered is not None
        assert len(ledger.sequencer.recovered.faults) == faults, ledger.sequencer.recovered.faults
        count = len(ledger.fold.by_url)
        size = ledger.sequencer.head().size
        assert (await ledger.sequencer.append(store_draft(999))).height == size
        return count


async def test_a_damaged_row_stays_where_it_is_and_is_named_at_every_start(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    _execute(data, "UPDATE blocks SET raw = zeroblob(9) WHERE height = 7")
    assert await _versions(data, faults=1) == COUNT - 1
    assert "fault: block 7" in caplog.text
    assert await _versions(data, faults=1) == COUNT
    assert _aside(data) == []
    assert [fault.height for fault in audit_now(data, bodies=False).faults] == [7]


async def test_a_damaged_structure_is_rebuilt_without_loss(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = data / LEDGER_FILE
    content = path.read_bytes()
    path.write_bytes(bytes(PAGE_SIZE) + content[PAGE_SIZE:])
    assert await _versions(data, faults=1) == COUNT
    assert _aside(data) == [LEDGER_FILE + ".damaged-1"]
    assert (data / _aside(data)[0]).read_bytes()[PAGE_SIZE:] == content[PAGE_SIZE:], "the damaged file is kept"
    assert "moved to" in caplog.text
    assert audit_now(data, bodies=False).is_clean
    assert await _versions(data, faults=0) == COUNT + 1


async def test_a_rebuilt_ledger_is_signed_by_the_key_that_it_had(data: Path) -> None:
    before = read_key(data)
    path = data / LEDGER_FILE
    path.write_bytes(bytes(PAGE_SIZE) + path.read_bytes()[PAGE_SIZE:])
    async with Ledger(data) as ledger:
        assert before is not None
        assert ledger.sequencer.log == before.verifier
        assert ledger.sequencer.recovered is not None
        # What was signed was found too, so that it could be compared.
        assert ledger.sequencer.recovered.checkpoint == ledger.sequencer.publication.checkpoint


async def test_a_row_that_is_lost_is_named_for_ever_and_the_chain_goes_on(data: Path) -> None:
    _execute(data, "DELETE FROM blocks WHERE height IN (7, 8)")
    # SQLite leaves the bytes of deleted rows in place; what was truly overwritten cannot be found.
    _execute(data, "VACUUM")
    async with Ledger(data) as ledger:
        assert ledger.sequencer.head().size == COUNT + 1
        assert len(ledger.fold.by_url) == COUNT - 2
        assert (await ledger.sequencer.append(store_draft(999))).height == COUNT + 1
    report = audit_now(data, bodies=False)
    assert [(fault.kind, fault.height) for fault in report.faults] == [(FaultKind.BLOCK, 7), (FaultKind.BLOCK, 8)]
    assert len(_aside(data)) == 1
    assert await _versions(data, faults=2) == COUNT - 1
    assert len(_aside(data)) == 1, "it is not rebuilt again"


@pytest.mark.parametrize("content", [b"nonsense" * 4000, b"\xff" * 100])
async def test_a_file_with_nothing_in_it_is_moved_aside_and_a_new_ledger_begun(
    data: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (data / LEDGER_FILE).write_bytes(content)
    async with Ledger(data) as ledger:
        assert ledger.sequencer.head().size == 1
        assert ledger.sequencer.recovered is not None
        assert {fault.kind for fault in ledger.sequencer.recovered.faults} == {FaultKind.DATABASE, FaultKind.ROOT}
        await ledger.fill(3)
    assert (data / _aside(data)[0]).read_bytes() == content
    assert audit_now(data, bodies=False).is_clean


async def test_without_any_copy_of_the_salt_a_new_ledger_is_begun_and_all_is_kept(data: Path) -> None:
    _execute(data, "UPDATE blocks SET raw = zeroblob(3) WHERE height = 0")
    _execute(data, "UPDATE state SET data = zeroblob(3) WHERE id = 2")
    async with Ledger(data) as ledger:
        assert ledger.sequencer.head().size == 1
        assert any(ledger.fold.genesis_salt)
    assert _aside(data)


@pytest.mark.parametrize("statement", ["DELETE FROM state WHERE id = 1", "UPDATE state SET data = zeroblob(3) WHERE id = 1"])
async def test_a_lost_tree_head_follows_from_the_blocks(data: Path, statement: str) -> None:
    _execute(data, statement)
    assert await _versions(data, faults=1) == COUNT
    assert audit_now(data, bodies=False).is_clean


@pytest.mark.parametrize("stage", ["building", "rebuilt, nothing moved", "log moved", "database moved"])
async def test_a_rebuild_that_was_killed_is_finished_at_the_next_start(data: Path, stage: str) -> None:
    path = data / LEDGER_FILE
    good = path.read_bytes()
    (data / (LEDGER_FILE + "-wal")).write_bytes(b"log of the damaged database")
    damaged = bytes(PAGE_SIZE) + good[PAGE_SIZE:]
    path.write_bytes(damaged)
    match stage:
        case "building":
            (data / (LEDGER_FILE + ".building")).write_bytes(good[: len(good) // 2])
            (data / (LEDGER_FILE + "-wal")).unlink()
        case "rebuilt, nothing moved":
            (data / (LEDGER_FILE + ".rebuilt")).write_bytes(good)
        case "log moved":
            (data / (LEDGER_FILE + ".rebuilt")).write_bytes(good)
            (data / (LEDGER_FILE + "-wal")).rename(data / (LEDGER_FILE + ".damaged-1-wal"))
        case "database moved":
            (data / (LEDGER_FILE + ".rebuilt")).write_bytes(good)
            (data / (LEDGER_FILE + "-wal")).rename(data / (LEDGER_FILE + ".damaged-1-wal"))
            path.rename(data / (LEDGER_FILE + ".damaged-1"))
    assert await _versions(data, faults=1 if stage == "building" else 0) == COUNT
    assert (data / (LEDGER_FILE + ".damaged-1")).read_bytes() == damaged
    assert not (data / (LEDGER_FILE + ".rebuilt")).exists()
    assert not (data / (LEDGER_FILE + ".building")).exists()
    assert audit_now(data, bodies=False).is_clean


async def test_a_newer_ledger_is_refused_and_not_touched(data: Path) -> None:
    connection = ledger_rows.connect(data / LEDGER_FILE)
    ledger_rows.put_state(connection, ledger_rows.FORMAT_ROW, b"2")
    connection.close()
    before = (data / LEDGER_FILE).read_bytes()
    with pytest.raises(StartError, match="newer"):
        async with Ledger(data):
            pass
    assert (data / LEDGER_FILE).read_bytes() == before
    assert _aside(data) == []


async def test_a_whole_ledger_starts_without_a_word(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert await _versions(data, faults=0) == COUNT
    assert caplog.text == ""
