"""The ledger's database: one writer, one transaction a batch, and errors that say what to do."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, StartError, StoreError, StoreFull
from edgeproxy.ledger.block import Block, Place, seal, seal_genesis
from edgeproxy.ledger.drafts import PurgeDraft, StoredNames, encode_names, names_of
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.replay import RawRow, TreeHead
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.ledger_db import LEDGER_FILE, LOCK_FILE, LedgerDb
from edgeproxy.storage.ledger_rows import connect_to_read, failure, height_at
from edgeproxy.storage.witness import read_witness
from tests.support.ledgers import NOW, SITE, Ledger, store_draft

SALT = bytes(range(32))


def _chain(count: int, *, start: list[Block] | None = None) -> tuple[list[RawRow], TreeHead, list[Block]]:
    """Rows of `count` blocks after those in `start`, and the head over all."""
    blocks = list(start or [])
    fresh = len(blocks)
    while len(blocks) < fresh + count:
        if not blocks:
            blocks.append(seal_genesis(NOW, "n", SALT))
        else:
            place = Place(len(blocks), blocks[-1].leaf, NOW, "n")  # type: ignore[arg-type]
            blocks.append(seal(place, store_draft(len(blocks)), SALT))
    rows = []
    for block in blocks[fresh:]:
        draft = store_draft(block.height)
        names = names_of(draft)
        assert names is not None
        rows.append(
            RawRow(block.height, block.raw, block.leaf, draft.head, encode_names(names))
            if block.height
            else RawRow(0, block.raw, block.leaf, None, None)
        )
    frontier = MerkleFrontier()
    for block in blocks:
        frontier.append(block.leaf)
    return rows, TreeHead(frontier.size, frontier.root(), NOW, blocks[-1].leaf, frontier.peaks), blocks


async def _opened(path: Path, **options: int) -> LedgerDb:
    db = LedgerDb(path / LEDGER_FILE, **options)
    await db.open()
    return db


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    rows, head, blocks = _chain(5)
    db = await _opened(tmp_path)
    await db.append(rows, head)
    await db.close()
    db = await _opened(tmp_path)
    row = await db.load(3)
    assert (row.raw, row.leaf, row.head) == (blocks[3].raw, blocks[3].leaf, store_draft(3).head)
    state = await db.read_state()
    assert (state.head, state.genesis, state.format) == (head, blocks[0].raw, 1)
    assert (await db.load(0)).head == b""
    with pytest.raises(Corrupt, match="not in the database"):
        await db.load(5)
    await db.close()


async def test_the_database_is_written_through_and_marked_as_ours(tmp_path: Path) -> None:
    db = await _opened(tmp_path)
    await db.close()
    file = sqlite3.connect(tmp_path / LEDGER_FILE)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.execute("PRAGMA application_id").fetchone() == (ledger_rows.APPLICATION_ID,)
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    file.close()
    connection = ledger_rows.connect(tmp_path / LEDGER_FILE)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    connection.close()
    assert (tmp_path / LEDGER_FILE).stat().st_mode & 0o777 == 0o600


async def test_only_one_process_may_write_a_data_folder(tmp_path: Path) -> None:
    db = await _opened(tmp_path)
    other = LedgerDb(tmp_path / LEDGER_FILE)
    with pytest.raises(StartError, match="in use") as caught:
        await other.open()
    assert caught.value.fields["pid"] == str(os.getpid())
    await other.close()
    await db.close()
    db = await _opened(tmp_path)
    await db.close()


async def test_a_folder_that_cannot_be_made_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    db = LedgerDb(tmp_path / "file" / LEDGER_FILE)
    with pytest.raises(StartError, match="cannot be written"):
        await db.open()
    await db.close()


async def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = await _opened(tmp_path)
    await db.close()
    connection = ledger_rows.connect(tmp_path / LEDGER_FILE)
    ledger_rows.put_state(connection, ledger_rows.FORMAT_ROW, b"2")
    connection.close()
    db = LedgerDb(tmp_path / LEDGER_FILE)
    with pytest.raises(StartError, match="newer"):
        await db.open()
    await db.close()


async def test_nothing_is_appended_that_does_not_follow(tmp_path: Path) -> None:
    rows, head, blocks = _chain(5)
    more, longer, _ = _chain(2, start=blocks)
    db = await _opened(tmp_path)
    await db.append(rows, head)
    for wrong_rows, wrong_head in ((rows, head), (more[1:], longer), (more[:1], longer), ([], head), (rows[3:], head)):
        with pytest.raises(StoreError, match="do not follow"):
            await db.append(wrong_rows, wrong_head)
    assert (await db.read_state()).head == head
    await db.append(more, longer)
    assert (await db.read_state()).head == longer
    await db.close()


async def test_a_batch_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    rows, head, blocks = _chain(3)
    more, longer, _ = _chain(2, start=blocks)
    db = await _opened(tmp_path)
    await db.append(rows, head)
    # The second row cannot be written: its private row is there already.
    connection = ledger_rows.connect(tmp_path / LEDGER_FILE)
    connection.execute("INSERT INTO private VALUES (4, x'00', x'00', x'00')")
    with pytest.raises(StoreError):
        await db.append(more, longer)
    assert (await db.read_state()).head == head
    with pytest.raises(Corrupt):
        await db.load(3)
    connection.execute("DELETE FROM private WHERE height = 4")
    connection.close()
    await db.append(more, longer)
    await db.close()


async def test_a_full_database_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    db = await _opened(tmp_path, max_bytes=40 * 4096)
    rows, head, blocks = _chain(3)
    await db.append(rows, head)
    much, longer, _ = _chain(300, start=blocks)
    with pytest.raises(StoreFull):
        await db.append(much, longer)
    assert (await db.read_state()).head == head
    few, longer, _ = _chain(2, start=blocks)
    await db.append(few, longer)
    assert (await db.read_state()).head == longer
    await db.close()


async def test_a_cancelled_append_is_whole_or_not_there(tmp_path: Path) -> None:
    db = await _opened(tmp_path)
    rows, head, _ = _chain(200)
    waiting = asyncio.ensure_future(db.append(rows, head))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    # Whatever the thread still does comes before the next thing it is asked for.
    await db.mend_head(head)
    account = await db.read(lambda connection: list(ledger_rows.read_rows(connection)))
    assert len(account) in (0, 200)
    await db.close()


async def test_rows_are_read_in_pages_without_gaps(tmp_path: Path) -> None:
    count = 2 * ledger_rows.PAGE_OF_ROWS + 3
    rows, head, _ = _chain(count)
    db = await _opened(tmp_path)
    await db.append(rows, head)
    assert await db.read(lambda connection: list(ledger_rows.read_rows(connection))) == rows
    assert await db.read(lambda connection: list(ledger_rows.read_rows(connection, 7, 9))) == rows[7:9]
    await db.close()


async def test_blocks_and_history_are_read_for_people(tmp_path: Path) -> None:
    url = f"http://{SITE}/"
    async with Ledger(tmp_path) as ledger:
        for number in (1, 2, 3):
            await ledger.sequencer.append(store_draft(number, url=url if number != 2 else ""))
        await ledger.sequencer.append(PurgeDraft(SITE, "url", url, "soft", NOW))
        assert [version.height for version in await ledger.db.history(url)] == [1, 3]
        assert await ledger.db.history(url) == ledger.fold.history(url)
        assert await ledger.db.history("http://other/") == []
        found = await ledger.db.load_block(1)
        assert found is not None
        assert found[1] == StoredNames(SITE, url, ())
        assert await ledger.db.load_block(99) is None


async def test_the_witness_says_how_many_blocks_were_acknowledged(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(7)
        assert read_witness(tmp_path / LEDGER_FILE) == 8
    path = tmp_path / (LEDGER_FILE + "-size")
    for wrong in (b"", b"9", path.read_bytes().replace(b"8 ", b"9 "), b"\xff" * 64):
        path.write_bytes(wrong)
        assert read_witness(tmp_path / LEDGER_FILE) is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_CORRUPT, Corrupt),
        (sqlite3.SQLITE_CORRUPT_VTAB, Corrupt),
        (sqlite3.SQLITE_NOTADB, Corrupt),
        (sqlite3.SQLITE_ERROR, Corrupt),
        (sqlite3.SQLITE_IOERR_SHORT_READ, Corrupt),
        (sqlite3.SQLITE_IOERR, StoreError),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreError),
        (sqlite3.SQLITE_READONLY, StoreError),
        (sqlite3.SQLITE_BUSY, StoreError),
        (sqlite3.SQLITE_CONSTRAINT, StoreError),
    ],
)
def test_errors_of_sqlite_are_mapped(code: int, kind: type[StoreError]) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    assert type(failure(error)) is kind


async def test_the_lock_file_says_who_holds_it(tmp_path: Path) -> None:
    db = await _opened(tmp_path)
    assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
    await db.close()


async def test_the_height_of_a_time_is_found_past_damaged_blocks(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        for number in range(1, 40):
            ledger.sequencer.append(store_draft(number, time=Instant(NOW + number // 3 * 1000)))
        await ledger.sequencer.flush()
        size = ledger.sequencer.head().size

        def height(instant: int) -> int | None:
            with closing(connect_to_read(ledger.db.path)) as connection:
                return height_at(connection, size, Instant(instant))

        assert height(NOW - 1) is None
        found = [height(NOW + second * 1000) for second in range(14)]
        assert found == [2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 39]
        assert height(NOW + 10**9) == 39
        with closing(sqlite3.connect(ledger.db.path)) as connection, connection:
            connection.execute("UPDATE blocks SET raw = x'00' WHERE height IN (9, 10, 18, 19, 20)")
        assert height(NOW + 2000) in (8, 9, 10)
        assert height(NOW + 6000) == 20
        assert height(NOW + 7000) == 23
