"""The ledger's database of one data folder: one process writes, each batch is one transaction.

Owns: the database file, its lock, its threads, and how a damaged file is replaced by what was salvaged from it. Must not judge
rows (`ledger.replay`) and must not assign heights (the sequencer).

SQLite is driven from two threads of its own (one writes, one reads) rather than statement by statement: a transaction is one step
of its thread, so a cancelled caller cannot leave one open, and reading never waits behind an fsync.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, StartError, StoreError, StoreFull
from edgeproxy.ledger.block import Block, Erase, Genesis, decode
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.drafts import NameColumns, Names, decode_names
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.replay import RawRow, TreeHead, encode_restored
from edgeproxy.ledger.verify import check_names, verify_block
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.durable import sync_folder
from edgeproxy.storage.ledger_rows import CHECKPOINT, FORMAT, GENESIS, RESTORED, State
from edgeproxy.storage.salvage import Salvaged, log_is_damaged, salvage
from edgeproxy.storage.witness import Witness

LEDGER_FILE = "ledger.sqlite"
LOCK_FILE = "lock"
_BUILDING = ".building"
_READY = ".rebuilt"
_ERASES = b'"op":"erase"'

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedRow:
    """What the database has at one height, unproved. `head` is empty for a block that has none."""

    height: int
    raw: bytes
    leaf: bytes
    head: bytes
    names: NameColumns | None


class LedgerDb:
    """`path` is the database file; `lock` is taken in its folder. `max_bytes` bounds the file (`StoreFull` beyond it)."""

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self.path = path
        self.before_commit: Callable[[], object] = lambda: None
        """Called in the writer's thread when nothing but the disk's part is left, which does not hold Python's lock."""
        self._max_bytes = max_bytes
        self._lock: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._witness: Witness | None = None
        self._log_is_owed = False
        self._writing = ThreadPoolExecutor(1, "ledger-write")
        self._reading = ThreadPoolExecutor(1, "ledger-read")

    def __repr__(self) -> str:
        return f"<LedgerDb {self.path} {'open' if self._writer else 'closed'}>"

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the lock and connect. Raises StartError (in use, not writable, newer format), `Corrupt` when it is damaged.

        After `Corrupt` the lock is held and `rebuild` may be called.
        """
        await self.lock()
        await self._in_writer(self._connect)
        await self._in_reader(self._connect_reader)

    async def lock(self) -> None:
        """Make this process the only one that changes the data folder, bodies included. Raises StartError. `open` does it too."""
        await self._in_writer(self._take_lock)

    async def close(self) -> None:
        """Close both connections (the log is folded into the database) and release the lock."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reading, self._disconnect_reader)
        await loop.run_in_executor(self._writing, self._disconnect)
        for pool in (self._reading, self._writing):
            await loop.run_in_executor(None, pool.shutdown)
        if self._witness is not None:
            self._witness.close()
            self._witness = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError("data folder cannot be written", folder=folder, why=error.strerror) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StartError("data folder is in use by another process", folder=folder, pid=holder or "unknown") from None
        # Only a hint for the message above; the lock itself goes with the process, however it ends.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def _connect(self) -> None:
        self._finish_rebuild()
        if self.path.exists() and not self.path.is_file():
            raise StartError("ledger database is not a file", path=self.path)
        if log_is_damaged(self.path):
            # Before SQLite sees it: it would drop the committed transactions behind the damage without a word.
            raise Corrupt("write-ahead log of the ledger is damaged")
        self._disconnect()
        try:
            self._writer = self._connected()
        except sqlite3.Error as error:
            if not ledger_rows.is_refusal(error):
                raise
            folder = self.path.parent
            if os.access(folder, os.W_OK) and (not self.path.exists() or os.access(self.path, os.R_OK | os.W_OK)):
                # The file's header forbids what the file system allows: that is damage.
                raise Corrupt("ledger database refuses to be written", why=str(error)) from error
            raise StartError("ledger database cannot be written", path=self.path, why=str(error)) from error

    def _connected(self) -> sqlite3.Connection:
        connection = ledger_rows.connect(self.path)
        try:
            if self._max_bytes is not None:
                connection.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // ledger_rows.PAGE_SIZE)}")
            if ledger_rows.is_new(connection):
                # Crash before the commit in it: an empty file, and this happens again.
                ledger_rows.create(connection)
                os.chmod(self.path, 0o600)
                # SQLite flushes the file, not its name.
                sync_folder(self.path.parent)
            self._check_format(connection)
            self._try_to_write(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_format(self, connection: sqlite3.Connection) -> None:
        kept = ledger_rows.read_state(connection).format
        if kept is None:
            raise Corrupt("format of the ledger cannot be read")
        if kept > FORMAT:
            raise StartError("ledger was written by a newer version", path=self.path, format=kept, known=FORMAT)

    def _try_to_write(self, connection: sqlite3.Connection) -> None:
        try:
            ledger_rows.put_format(connection)
        except sqlite3.Error as error:
            # What is stored can be served from a full disk; appending may work later.
            if not isinstance(ledger_rows.failure(error), StoreFull):
                raise

    def _connect_reader(self) -> None:
        self._disconnect_reader()
        connection = ledger_rows.connect(self.path)
        connection.execute("PRAGMA query_only = ON")
        self._reader = connection

    def _disconnect(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def _disconnect_reader(self) -> None:
        if self._reader is not None:
            with suppress(sqlite3.Error):
                self._reader.close()
            self._reader = None

    # -- writing --------------------------------------------------------------------------------------------------------------

    async def append(self, rows: Sequence[RawRow], head: TreeHead, checkpoint: bytes | None = None) -> None:
        """Commit `rows`, which must follow the last block, the tree head over them and its signed checkpoint, in one transaction.
        In it go the heads and names of what an erase block among them erases.

        The tiles need no rows of their own: those of level 0 are the leaf hashes of `rows`, the others follow from them.
        On return they survive a power cut. Raises StoreFull, StoreError or Corrupt; then none of them is committed, unless the
        disk failed at the very end: `read_state` says which (see `Sequencer`). Runs to its end when the caller is cancelled.
        """
        await self._in_writer(lambda: self._append(rows, head, checkpoint))
        if self._log_is_owed:
            await self.empty_log()

    def _append(self, rows: Sequence[RawRow], head: TreeHead, checkpoint: bytes | None) -> None:
        connection = self._writer
        if connection is None:
            raise StoreError("ledger database is not open")
        erasures = [block.entry for row in rows if _ERASES in row.raw and isinstance((block := decode(row.raw)).entry, Erase)]
        try:
            # Crash from here to the commit: the log ends in an unfinished transaction, which the next start does not see.
            if erasures:
                connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            self._refuse_fork(connection, rows, head)
            ledger_rows.insert_rows(connection, rows)
            salt = self._genesis_salt(connection) if erasures else b""
            for erase in erasures:
                ledger_rows.erase_rows(connection, ledger_rows.erasable(connection, erase.url, erase.height, salt), salt)
            if rows[0].height == 0:
                ledger_rows.put_state(connection, GENESIS, rows[0].raw)
            ledger_rows.put_tree_head(connection, head)
            if checkpoint is not None:
                # Signed already, but nobody has seen it: crash here, and another batch may be signed at this size.
                ledger_rows.put_state(connection, CHECKPOINT, checkpoint)
            self.before_commit()
            # Crash inside: the last frame of the log makes the transaction valid, or it is not there and nothing was written.
            self._log_is_owed = self._log_is_owed or bool(erasures)
            connection.execute("COMMIT")
            # Crash after: all of it is there, though perhaps nobody was told. Their bodies were durable before.
            self._testify(head.size)
        except BaseException:
            # Full disk, read-only file: the heights are free again, and the next batch takes them.
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise

    async def erase(self, heights: Sequence[int]) -> None:
        """Delete heads and names that should have gone with a committed erasure. Raises StoreFull, StoreError."""

        def write() -> None:
            if self._writer is None:
                raise StoreError("ledger database is not open")
            self._writer.execute("PRAGMA secure_delete = ON")
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                # Crash before the commit: they are found again by the next start.
                ledger_rows.erase_rows(self._writer, heights, self._genesis_salt(self._writer))

        await self._in_writer(write)

    def _genesis_salt(self, connection: sqlite3.Connection) -> bytes:
        """Zeros when no copy of block 0 can be read: then no digest of a name is that of a block."""
        with suppress(Corrupt):
            genesis = ledger_rows.read_state(connection).genesis
            entry = decode(genesis).entry if genesis is not None else None
            if isinstance(entry, Genesis):
                return entry.salt
        return bytes(DIGEST_SIZE)

    async def empty_log(self) -> bool:
        """Leave no old page in the write-ahead log; False when that must wait, then the next batch tries it again.

        Crash before: the log lies there, and the next start, which sees what was erased, empties it.
        """

        def write() -> bool:
            return self._writer is not None and ledger_rows.empty_log(self._writer)

        self._log_is_owed = True
        with suppress(StoreError):
            self._log_is_owed = not await self._in_writer(write)
        return not self._log_is_owed

    async def add_names(self, names: Sequence[tuple[int, NameColumns]]) -> None:
        """Write down the names of stored responses that had none. Raises StoreFull, StoreError."""

        def write() -> None:
            if self._writer is None:
                raise StoreError("ledger database is not open")
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                ledger_rows.add_names_of_heads(self._writer, names)

        await self._in_writer(write)

    def _testify(self, size: int) -> None:
        # Crash before: the witness is behind the database, which is no contradiction.
        with suppress(OSError):
            if self._witness is None:
                self._witness = Witness(self.path)
            self._witness.write(size)

    async def mend_head(self, head: TreeHead) -> None:
        """Replace a tree head that was damaged or out of date by the one that the blocks give."""

        def write() -> None:
            if self._writer is None:
                raise StoreError("ledger database is not open")
            ledger_rows.put_tree_head(self._writer, head)

        await self._in_writer(write)

    async def put_checkpoint(self, checkpoint: bytes) -> None:
        """Keep the checkpoint of a tree head that has none, or one of another key. Raises StoreFull, StoreError."""

        def write() -> None:
            if self._writer is None:
                raise StoreError("ledger database is not open")
            # Crash before: the next start signs it anew, the same statement.
            ledger_rows.put_state(self._writer, CHECKPOINT, checkpoint)

        await self._in_writer(write)

    def _refuse_fork(self, connection: sqlite3.Connection, rows: Sequence[RawRow], head: TreeHead) -> None:
        """Only what goes on from the committed head is written, whatever the caller believes."""
        last = connection.execute("SELECT max(height) FROM blocks").fetchone()[0]
        kept = ledger_rows.read_state(connection).head
        start = rows[0].height if rows else -1
        # A committed head beyond the last row (rows were lost) is the authority; without one the rows are.
        follows = start == kept.size if kept is not None else start == (0 if last is None else last + 1)
        if not follows or start + len(rows) != head.size or (last is not None and start <= last):
            raise StoreError("blocks do not follow the last one", start=start, committed=kept.size if kept else last)

    async def rebuild(self, found: Salvaged) -> Path | None:
        """Replace a damaged database by one with the rows of `found`. The old file is kept beside it; answers where."""
        await self._in_reader(self._disconnect_reader)
        aside = await self._in_writer(lambda: self._rebuild(found))
        await self._in_writer(self._connect)
        await self._in_reader(self._connect_reader)
        return aside

    def _rebuild(self, found: Salvaged) -> Path | None:
        self._disconnect()
        building = self._beside(_BUILDING)
        # Crash before the rename to READY: the damaged database is still in place, and this starts over.
        for leftover in (building, self._beside(_BUILDING + "-wal"), self._beside(_BUILDING + "-shm")):
            leftover.unlink(missing_ok=True)
        connection = ledger_rows.connect(building)
        try:
            ledger_rows.create(connection)
            connection.execute("BEGIN IMMEDIATE")
            ledger_rows.insert_rows(connection, found.rows())
            if found.genesis is not None:
                ledger_rows.put_state(connection, GENESIS, found.genesis.raw)
            if found.tree_head is not None:
                ledger_rows.put_tree_head(connection, found.tree_head)
            if found.checkpoint is not None:
                ledger_rows.put_state(connection, CHECKPOINT, found.checkpoint)
            if found.restored is not None:
                ledger_rows.put_state(connection, RESTORED, encode_restored(found.restored))
            connection.execute("COMMIT")
            # Back to one file, so that one rename moves all of it; opening it turns the log on again.
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        finally:
            connection.close()
        os.chmod(building, 0o600)
        self._rename(building, self._beside(_READY))
        return self._finish_rebuild()

    def _finish_rebuild(self) -> Path | None:
        """Put a rebuilt database in place of the damaged one. A crash may follow any step: the next start goes on here."""
        ready = self._beside(_READY)
        if not ready.exists():
            return None
        number = 1
        while self._beside(f".damaged-{number}").exists():
            number += 1
        # The log first: beside the rebuilt database SQLite would replay it into that.
        for suffix in ("-wal", "-shm", ""):
            old = self._beside(suffix)
            if old.exists():
                self._rename(old, self._beside(f".damaged-{number}{suffix}"))
        # Crash here: no database, but a rebuilt one, which the next start puts in place.
        self._rename(ready, self.path)
        return self._beside(f".damaged-{number}")

    def leftovers(self) -> list[str]:
        """Names of damaged databases that were moved aside: nothing is ever deleted from those, not even what is erased."""
        return sorted(path.name for path in self.path.parent.glob(f"{self.path.name}.damaged-*"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _rename(self, old: Path, new: Path) -> None:
        try:
            old.rename(new)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StoreError("damaged ledger cannot be moved aside", path=old, why=error.strerror) from error

    # -- reading --------------------------------------------------------------------------------------------------------------

    async def load(self, height: int) -> LoadedRow:
        """The row of one block, unproved (`ledger.verify` proves it). Raises `Corrupt` when it is not there or cannot be read."""

        def read(connection: sqlite3.Connection) -> list[RawRow]:
            return list(ledger_rows.read_rows(connection, height, height + 1))

        rows = await self.read(read)
        if not rows:
            raise Corrupt("block is not in the database", height=height)
        row = rows[0]
        return LoadedRow(row.height, row.raw, row.leaf, row.head or b"", row.names)

    async def read_state(self) -> State:
        """Tree head, second copy of block 0, and format, as committed last."""
        return await self.read(ledger_rows.read_state)

    async def load_block(self, height: int) -> tuple[Block, Names | None] | None:
        """One block and its clear names, to look at; None when it is not there. Raises `Corrupt` when it is damaged."""
        try:
            row = await self.load(height)
        except Corrupt as error:
            if "height" in error.fields:
                return None
            raise
        if len(row.leaf) != DIGEST_SIZE:
            raise Corrupt("leaf hash of the block is damaged", height=height)
        return verify_block(row.raw, Digest(row.leaf)), decode_names(row.names) if row.names is not None else None

    async def history(self, url: str) -> list[Version]:
        """The versions of `url`, oldest first, from blocks that agree with their leaf hash and their names.

        Reads the private table whole; where a `Fold` is at hand, its `history` answers from memory.
        """

        def read(connection: sqlite3.Connection) -> list[Version]:
            genesis = ledger_rows.read_state(connection).genesis
            entry = decode(genesis).entry if genesis is not None else None
            fold = Fold(entry.salt if isinstance(entry, Genesis) else bytes(DIGEST_SIZE))
            heights = connection.execute("SELECT height FROM private WHERE value = ? ORDER BY height", (url.encode(),)).fetchall()
            for (height,) in heights:
                for row in ledger_rows.read_rows(connection, height, height + 1):
                    with suppress(Corrupt):
                        names = decode_names(row.names) if row.names is not None else None
                        block = verify_block(row.raw, Digest(row.leaf))
                        check_names(block.entry, names, fold.genesis_salt)
                        fold.apply(block, names)
            return fold.history(url)

        return await self.read(read)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection, in its thread. Raises what `failure` makes of SQLite's errors."""

        def run() -> T:
            if self._reader is None:
                raise StoreError("ledger database is not open")
            return work(self._reader)

        return await self._in_reader(run)

    async def salvage(self) -> Salvaged:
        """Search the files for whole records. The database must not be written meanwhile."""
        return await self._in_reader(lambda: salvage(self.path) if self.path.exists() else Salvaged())

    async def _in_reader(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, _mapped, work)

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writing, _mapped, work))


def _mapped(work: Callable[[], T]) -> T:
    try:
        return work()
    except ledger_rows.UNREADABLE as error:
        raise ledger_rows.failure(error) from error
    except OSError as error:
        raise StoreError("ledger database failed", why=error.strerror or str(error)) from error
