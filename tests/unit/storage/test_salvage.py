"""Records are found in a database file whose structure is gone, and in a log that SQLite would cut off."""

import shutil
from pathlib import Path

import pytest

from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_rows import PAGE_SIZE, connect_to_read, read_rows
from edgeproxy.storage.salvage import log_is_damaged, salvage
from tests.support.ledgers import Ledger, head_for, store_draft

LOG = LEDGER_FILE + "-wal"


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A ledger at rest with 60 blocks, some of whose heads need overflow pages."""
    async with Ledger(tmp_path / "rest") as ledger:
        for number in range(1, 60):
            ledger.sequencer.append(store_draft(number, head=head_for(number, padding=6000 if number % 20 == 0 else 0)))
        await ledger.sequencer.flush()
    return tmp_path / "rest"


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """What a kill leaves after several batches: most of it is only in the log."""
    async with Ledger(tmp_path / "running") as ledger:
        for start in (1, 21, 41):
            await ledger.fill(20, start)
        shutil.copytree(tmp_path / "running", tmp_path / "killed")
    return tmp_path / "killed"


def _rows(path: Path) -> list[object]:
    connection = connect_to_read(path)
    rows = list(read_rows(connection))
    connection.close()
    return rows


def test_a_whole_database_is_found_whole(folder: Path) -> None:
    path = folder / LEDGER_FILE
    found = salvage(path)
    assert list(found.rows()) == _rows(path)
    assert not found.gaps()
    assert found.tree_head is not None
    assert found.tree_head.size == 60
    assert found.genesis is not None


@pytest.mark.parametrize("what", ["first page", "page types", "cell counts", "pointers"])
def test_no_structure_is_needed(folder: Path, what: str) -> None:
    path = folder / LEDGER_FILE
    expected = _rows(path)
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), PAGE_SIZE):
        if what == "first page":
            data[:PAGE_SIZE] = bytes(PAGE_SIZE)
        elif data[start] == 0x0D:
            match what:
                case "page types":
                    data[start] = 0x07
                case "cell counts":
                    data[start + 3 : start + 5] = b"\0\0"
                case "pointers":
                    data[start + 8 : start + 20] = b"\xff" * 12
    path.write_bytes(data)
    assert list(salvage(path).rows()) == expected


def test_what_is_overwritten_is_left_empty_and_the_rest_found(folder: Path) -> None:
    path = folder / LEDGER_FILE
    expected = _rows(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // PAGE_SIZE // 2 * PAGE_SIZE
    data[middle : middle + PAGE_SIZE] = b"\xa5" * PAGE_SIZE
    path.write_bytes(data)
    rows = list(salvage(path).rows())
    assert len(rows) == len(expected)
    same = sum(row == other for row, other in zip(rows, expected, strict=True))
    assert len(expected) - 20 < same < len(expected)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"\xff" * 10_000, b"nonsense" * 2000])
def test_nothing_is_found_in_a_file_that_is_not_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_bytes(content)
    found = salvage(path)
    assert list(found.rows()) == []
    assert (found.size(), found.tree_head) == (0, None)


def test_a_log_as_a_kill_leaves_it_is_not_damaged(killed: Path) -> None:
    path, log = killed / LEDGER_FILE, killed / LOG
    assert not log_is_damaged(path)
    assert salvage(path).size() == 61
    # A transaction that was cut off anywhere was not acknowledged.
    (killed / (LEDGER_FILE + "-size")).unlink()
    whole = log.read_bytes()
    for cut in range(len(whole) - 3 * 4120, len(whole), 517):
        log.write_bytes(whole[:cut])
        assert not log_is_damaged(path), cut
    log.write_bytes(whole[:-PAGE_SIZE] + bytes(PAGE_SIZE))
    assert not log_is_damaged(path), "the last frame was begun and not finished"


@pytest.mark.parametrize("frame", [3, 10, 20, -1])
def test_acknowledged_blocks_behind_a_damaged_frame_are_found(killed: Path, frame: int) -> None:
    path, log = killed / LEDGER_FILE, killed / LOG
    data = bytearray(log.read_bytes())
    frames = (len(data) - 32) // 4120
    data[32 + 4120 * (frame % frames) + 17] ^= 0xFF  # its checksum
    log.write_bytes(data)
    assert log_is_damaged(path)
    assert salvage(path, doubtful=False).size() < 61
    found = salvage(path)
    assert found.size() == 61
    assert not found.gaps()


def test_a_log_whose_header_is_damaged_is_read_all_the_same(killed: Path) -> None:
    log = killed / LOG
    data = bytearray(log.read_bytes())
    data[18] ^= 1
    log.write_bytes(data)
    assert log_is_damaged(killed / LEDGER_FILE)
    assert salvage(killed / LEDGER_FILE).size() == 61
