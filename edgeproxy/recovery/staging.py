"""A data folder while it is being rebuilt: what was taken so far, proved, and what is still missing.

Owns: DATA/restore.sqlite, in the form of a ledger, until it becomes DATA/ledger.sqlite. Must not fetch or parse anything.

Every block, head, name and body is checked when it is taken, and what was taken is kept over a crash, so that an interrupted
restore goes on. Only when the root of all blocks is that of a checkpoint that a trusted key signed, the folder becomes a node's.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, ProofRefused, StartError, StoreError
from edgeproxy.ledger.block import (
    Block,
    Erase,
    Evict,
    Genesis,
    Purge,
    Receipt,
    Release,
    Rollback,
    Rotate,
    Stored,
    body_of,
    decode,
)
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import BodyRef, NameColumns, decode_names
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.note_keys import Signer, Verifier, parse_verifier
from edgeproxy.ledger.replay import RawRow, Restored, TreeHead, encode_restored
from edgeproxy.ledger.verify import check_head, check_names
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.durable import remove, sync_folder
from edgeproxy.storage.ledger_db import LEDGER_FILE, LedgerDb
from edgeproxy.storage.ledger_key import keep_key, read_key

STAGING_FILE = "restore.sqlite"
_REMEMBERED = 2_048
NOTE_FILE = "restored-checkpoint"
"""The checkpoint of the ledger that was restored, with the signature of its own log, for the record."""


def refuse_unfinished(data: Path) -> None:
    """Raises StartError where a restore was begun and not finished. An edge that made a ledger of its own there would be in the
    way of the rest, and delete the bodies that were taken, for no block of it names them."""
    path = data / STAGING_FILE
    if path.exists() and not (data / LEDGER_FILE).exists():
        raise StartError(
            "a restore into this folder is not finished: run it again, it goes on; or delete the file, and the edge begins anew",
            path=path,
        )


@dataclass(slots=True)
class Needed:
    """What the blocks taken so far call for. `bodies`: each with the height of a block that names it; `refs` are theirs.

    `heads`: heights of store and refresh blocks whose stored head is not there yet.
    """

    bodies: dict[Digest, Height] = field(default_factory=dict)
    refs: dict[Digest, BodyRef] = field(default_factory=dict)
    heads: dict[Height, Digest] = field(default_factory=dict)


class Staging:
    """One folder. `open` it first; `finish` or `close` at the end."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.bodies = BodyStore(data)
        self._locked = LedgerDb(data / LEDGER_FILE)
        self._path = data / STAGING_FILE
        self._db: sqlite3.Connection | None = None
        self._salt = bytes(32)
        self.size = 0
        self._last = ZERO
        self._time = Instant(0)
        self._recent: dict[int, Block] = {}

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the folder, and go on where the last restore was interrupted. Raises StartError when it is not to be had."""
        if (self.data / LEDGER_FILE).exists():
            raise StartError("data folder holds a ledger already; restore into an empty one", folder=self.data)
        await self._locked.lock()
        if read_key(self.data) is not None and not self._path.exists():
            raise StartError("data folder holds the key of another ledger; restore into an empty one", folder=self.data)
        await self.bodies.open()
        self._connect()

    def _connect(self) -> None:
        try:
            self._db = ledger_rows.connect(self._path)
            if ledger_rows.is_new(self._db):
                ledger_rows.create(self._db)
                os.chmod(self._path, 0o600)
            row = self._db.execute("SELECT raw, leaf FROM blocks ORDER BY height DESC LIMIT 1").fetchone()
            if row is not None:
                last = decode(row[0])
                self.size, self._last, self._time = last.height + 1, last.leaf, last.time
                self._learn_salt(self.block(Height(0)))
        except (*ledger_rows.UNREADABLE, Corrupt) as error:
            raise StartError(
                "what an interrupted restore left is damaged; delete it and begin again", path=self._path, why=str(error)
            ) from error

    async def close(self) -> None:
        """Keep what there is for the next time."""
        if self._db is not None:
            self._db.close()
            self._db = None
        await self.bodies.close()
        await self._locked.close()

    def discard_blocks(self) -> None:
        """Forget the blocks: one of them is false, and it is not known since when. Bodies stay, they are what they are."""
        if self._db is not None:
            self._db.close()
        remove(*(self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal", "-shm")))
        self.size, self._last, self._time = 0, ZERO, Instant(0)
        self._recent.clear()
        self._connect()

    @property
    def _rows(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("restore is not open")
        return self._db

    # -- blocks ---------------------------------------------------------------------------------------------------------------

    def add_blocks(self, raws: Sequence[bytes], start: int) -> None:
        """Take the blocks from height `start`; those that are here already must be the same. Raises `ProofRefused` at the first
        that does not follow."""
        known = max(0, min(len(raws), self.size - start))
        if start > self.size:
            raise ProofRefused("blocks before this one are missing", block=start, first_missing=self.size)
        for offset, raw in enumerate(raws[:known]):
            if self.block(Height(start + offset)).raw != raw:
                raise ProofRefused("block is another than the one taken before", block=start + offset)
        new: list[Block] = []
        last, time = self._last, self._time
        for height, raw in enumerate(raws[known:], start + known):
            block = self._following(height, raw, last, time)
            new.append(block)
            last, time = block.leaf, block.time
        with self._transaction() as connection:
            ledger_rows.insert_rows(connection, [RawRow(block.height, block.raw, block.leaf, None, None) for block in new])
        if new:
            self.size, self._last, self._time = start + len(raws), last, time
            for block in new:
                self._remember(block)
            if start + known == 0:
                self._learn_salt(new[0])

    def _following(self, height: int, raw: bytes, last: Digest, time: Instant) -> Block:
        try:
            block = decode(raw)
        except Corrupt as error:
            raise ProofRefused("block is not one", block=height, why=str(error)) from None
        if block.height != height:
            raise ProofRefused("block says another height", block=height, says=block.height)
        if block.prev != last:
            # The one after names the hash of the one before, and all that follows stands on it.
            raise ProofRefused("block is not the one that the next was chained to", block=max(0, height - 1))
        if block.time < time:
            raise ProofRefused("block is older than the one before it", block=height)
        return block

    def _learn_salt(self, first: Block) -> None:
        if isinstance(first.entry, Genesis):
            self._salt = first.entry.salt

    def block(self, height: Height) -> Block:
        """A block that was taken. Raises `ProofRefused` when there is none."""
        known = self._recent.get(height)
        if known is not None:
            return known
        # Some heights are what a source says: any number at all.
        inside = 0 <= height < self.size
        row = self._rows.execute("SELECT raw FROM blocks WHERE height = ?", (height,)).fetchone() if inside else None
        if row is None:
            raise ProofRefused("there is no such block in what was taken so far", block=height)
        return self._remember(decode(row[0]))

    def _remember(self, block: Block) -> Block:
        """Each is looked at several times in a row: for its names, its head, its body."""
        if len(self._recent) >= _REMEMBERED:
            self._recent.clear()
        self._recent[block.height] = block
        return block

    def _blocks(self) -> Iterator[tuple[Block, bool]]:
        """Each block, and whether it has its head."""
        statement = "SELECT b.raw, h.height IS NOT NULL FROM blocks b LEFT JOIN heads h ON h.height = b.height ORDER BY b.height"
        for raw, has_head in self._rows.execute(statement):
            yield decode(raw), bool(has_head)

    # -- what belongs to blocks -----------------------------------------------------------------------------------------------

    def add_names(self, names: Iterable[tuple[int, NameColumns]]) -> None:
        """Take clear names. Raises `ProofRefused` for one that is not what its block has a digest of."""
        checked = []
        for height, columns in names:
            block = self.block(Height(height))
            try:
                check_names(block.entry, decode_names(columns), self._salt)
            except Corrupt as error:
                raise ProofRefused("names are not those of the block", block=height, why=error.text) from None
            checked.append((height, columns))
        with self._transaction() as connection:
            ledger_rows.add_names(connection, checked)

    def add_heads(self, heads: Iterable[tuple[Height, bytes]]) -> None:
        """Take stored heads. Raises `ProofRefused` for one that is not what its block has the digest of."""
        checked = []
        for height, head in heads:
            entry = self.block(height).entry
            try:
                if not isinstance(entry, Stored):
                    raise Corrupt("block stores no response")
                check_head(entry, head)
            except Corrupt as error:
                raise ProofRefused("stored head is not that of the block", block=height, why=error.text) from None
            checked.append((height, head))
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO heads VALUES (?, ?)", checked)

    def needed(self) -> Needed:
        """What is still missing, by what the blocks say: neither what was evicted, nor what was erased. Walks all blocks."""
        found, erased = Needed(), self._erased()
        for block, has_head in self._blocks():
            match block.entry:
                case Stored() as entry if erased.get(entry.url, -1) < entry.height:
                    if not has_head:
                        found.heads[entry.height] = entry.head
                    found.bodies.setdefault(entry.body, entry.height)
                    found.refs[entry.body] = body_of(entry)
                case Evict() as entry:
                    found.bodies.pop(entry.body, None)
                case Erase() as entry:
                    for body in entry.bodies:
                        found.bodies.pop(body, None)
                case _:
                    pass
        return found

    def _erased(self) -> dict[Digest, int]:
        return {block.entry.url: block.height for block in self._of_op("erase") if isinstance(block.entry, Erase)}

    def _of_op(self, op: str) -> Iterator[Block]:
        """Blocks of one kind, perhaps some others too: only those that have the word in their bytes are decoded."""
        statement = "SELECT raw FROM blocks WHERE instr(raw, ?) ORDER BY height"
        for (raw,) in self._rows.execute(statement, (f'"op":"{op}"'.encode(),)):
            yield decode(raw)

    # -- the end --------------------------------------------------------------------------------------------------------------

    def follow_key(self, trusted: Verifier) -> Verifier:
        """The key that the one which is trusted has handed over to, by the rotations in the blocks taken so far."""
        for block in self._of_op("rotate"):
            if isinstance(block.entry, Rotate) and block.entry.old == str(trusted):
                trusted = parse_verifier(block.entry.new)
        return trusted

    def check_root(self, stated: Checkpoint) -> TreeHead:
        """The head of the tree of all blocks. Raises `ProofRefused` unless it is the one that was stated."""
        frontier = MerkleFrontier()
        for (leaf,) in self._rows.execute("SELECT leaf FROM blocks ORDER BY height"):
            frontier.append(Digest(leaf))
        if frontier.size != stated.size:
            raise ProofRefused("there are not as many blocks as the checkpoint says", block=frontier.size, stated=stated.size)
        if frontier.root() != stated.root:
            # Each block names the one before, so a change further down would have shown there.
            raise ProofRefused("block is not the one that the checkpoint covers", block=frontier.size - 1)
        return TreeHead(frontier.size, frontier.root(), self._time, self._last, frontier.peaks)

    async def finish(self, stated: Checkpoint, note: bytes, key: Signer | None) -> None:
        """Make the folder a node's. A crash at any step: the next restore does the rest. Raises `ProofRefused`, StoreError."""
        head, needed = self.check_root(stated), self.needed()
        self._erase()
        await self.bodies.retain(needed.bodies)
        connection = self._rows
        missing = {digest for digest in needed.bodies if not self.bodies.exists(digest)}
        nameless = self._has_nameless()
        with self._transaction():
            ledger_rows.put_state(connection, ledger_rows.GENESIS, self.block(Height(0)).raw)
            ledger_rows.put_tree_head(connection, head)
            ledger_rows.put_state(connection, ledger_rows.CHECKPOINT, note)
            if nameless or missing or needed.heads:
                restored = Restored(head.size, names=not nameless, heads=not needed.heads, bodies=not missing)
                ledger_rows.put_state(connection, ledger_rows.RESTORED, encode_restored(restored))
        # Back to one file, so that one rename moves all of it; opening it turns the log on again.
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.close()
        self._db = None
        try:
            (self.data / NOTE_FILE).write_bytes(note)
            if key is not None:
                keep_key(self.data, key)
            self._path.rename(self.data / LEDGER_FILE)
            sync_folder(self.data)
        except OSError as error:
            raise StoreError("restored ledger cannot be put in place", folder=self.data, why=error.strerror) from error

    def _has_nameless(self) -> bool:
        """Whether a block has no clear names that should have some."""
        erased = self._erased()
        statement = "SELECT b.raw FROM blocks b LEFT JOIN private p ON p.height = b.height WHERE p.height IS NULL"
        for (raw,) in self._rows.execute(statement):
            match decode(raw).entry:
                case (Stored() | Receipt()) as entry if erased.get(entry.url, -1) < entry.height:
                    return True
                case Purge() | Rollback() | Release():
                    return True
                case _:
                    pass
        return False

    def _erase(self) -> None:
        """An earlier part of this restore may have taken what a later block says was erased."""
        erased = self._erased()
        if not erased:
            return
        connection = self._rows
        connection.execute("PRAGMA secure_delete = ON")
        with self._transaction():
            for url, height in erased.items():
                ledger_rows.erase_rows(connection, ledger_rows.erasable(connection, url, height, self._salt), self._salt)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._rows)


class _Transaction:
    """All or nothing, durable at its end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            self._connection.execute("COMMIT")
            return
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise ledger_rows.failure(error) from error
