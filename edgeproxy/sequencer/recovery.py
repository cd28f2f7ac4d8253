"""From what is on the disk to a ledger that can be served and appended to, however damaged it is.

Owns: the order of recovery. Must not delete anything: a damaged database is moved aside, its good rows live on in a new one.

Steps, each only when the one before found a fault that a damaged row alone does not explain:
  1. Read every row, check it against its hashes (`ledger.replay`). Damaged rows stay where they are, are not used, and are named.
  2. The structure is damaged (SQLite says so, or rows are missing): search the file for whole records, and rebuild from them.
  3. Not even how the chain goes on can be told: begin a new ledger; the old file lies beside it.
"""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, StoreFull
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.fold import Fold
from edgeproxy.ledger.replay import Account, Fault, FaultKind, Replay, Restored, TreeHead
from edgeproxy.ledger.tiles import TileTree
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.ledger_rows import read_pages, read_state, row_of, structure_faults
from edgeproxy.storage.salvage import Salvaged
from edgeproxy.storage.witness import read_witness

log = logging.getLogger("edgeproxy.recovery")

_LOGGED = 20
_OF_BLOCKS = frozenset((FaultKind.DATABASE, FaultKind.MISSING, FaultKind.BLOCK, FaultKind.LEAF))


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the ledger stands. `moved` is where a damaged database was put, None when it could stay.

    `tiles`, `watched` as in `Account`; `checkpoint` is the note that was signed last, unverified. `is_behind`: blocks that were
    acknowledged are lost, so new ones contradict what was published.
    """

    fold: Fold
    head: TreeHead
    faults: tuple[Fault, ...]
    moved: Path | None
    tiles: TileTree | None
    watched: Digest | None
    checkpoint: bytes | None
    is_behind: bool
    restored: Restored | None = None

    @property
    def faults_of_blocks(self) -> bool:
        """Whether damage explains that rows do not add up to the head. It makes no block that matches a hash of its own."""
        return any(fault.kind in _OF_BLOCKS for fault in self.faults)


def replay(connection: sqlite3.Connection) -> Account:
    """Judge every row of a database. Raises sqlite3.Error where it cannot be read, `Corrupt` when the chain is lost.

    Rows that a running edge adds meanwhile are left out.
    """
    return replay_signed(connection)[0]


def replay_signed(
    connection: sqlite3.Connection, *, folds: bool = True, read: Callable[[Replay, int], None] | None = None
) -> tuple[Account, bytes | None]:
    """As `replay`, with the checkpoint of the same commit: the note as it is kept, unverified.

    `folds` as in `Replay`; `read` feeds it with so many rows, if they are not to be read here.
    """
    connection.execute("BEGIN")
    try:
        # One snapshot: a tree head and the last row of the same commit.
        state = read_state(connection)
        last = connection.execute("SELECT max(height) FROM blocks").fetchone()[0]
    finally:
        connection.execute("COMMIT")
    stop = max(-1 if last is None else last, -1) + 1
    signed = read_checkpoint(state.checkpoint)
    judge = Replay(state.head, state.genesis, None if signed is None else signed.size, state.restored, folds)
    if read is not None:
        read(judge, stop)
    else:
        for page in read_pages(connection, 0, stop):
            judge.feed_page(page, row_of)
    return judge.finish(), state.checkpoint


async def recover(db: LedgerDb) -> Recovered:
    """Open `db` and bring it to a state that can be served and appended to. Raises StartError, StoreFull, StoreError."""
    damage: list[str] = []
    account: Account | None = None
    try:
        await db.open()
        damage += await db.read(structure_faults)
        account = await db.read(replay)
    except Corrupt as error:
        damage.append(str(error))
    if account is not None and _is_usable(account) and not damage and not account.missing:
        before = _lost_tail(db, account)
        await _mend_head(db, account)
        await _finish_erasures(db, account)
        return await _told(db, account, before, None)
    log.error("ledger database is damaged: %s; salvaging what is whole", "; ".join(damage) or "rows are missing")
    return await _rebuilt(db, damage)


async def _rebuilt(db: LedgerDb, damage: list[str]) -> Recovered:
    found = await db.salvage()
    moved = await db.rebuild(found)
    account: Account | None
    try:
        account = await db.read(replay)
    except Corrupt as error:
        damage.append(str(error))
        account = None
    if account is None or not _is_usable(account):
        damage.append("a new ledger was begun")
        # What was salvaged is of no use, yet it is kept too: nothing is ever deleted here.
        moved = await db.rebuild(Salvaged()) if found.size() else moved
        account = await db.read(replay)
    lost = _lost_tail(db, account)
    await _mend_head(db, account)
    await _finish_erasures(db, account)
    text = f"{'; '.join(damage) or 'rows are missing'}; the damaged database was moved to {moved.name if moved else 'nowhere'}"
    return await _told(db, account, (Fault(FaultKind.DATABASE, None, None, text), *lost), moved)


def _lost_tail(db: LedgerDb, account: Account) -> tuple[Fault, ...]:
    """Blocks that were acknowledged and are not there: an older copy of the database was put in its place, or its end is lost."""
    acknowledged = read_witness(db.path) or 0
    if acknowledged <= account.head.size:
        return ()
    text = f"{acknowledged} blocks were acknowledged {account.head.size} are there; new ones fork from what was published"
    return (Fault(FaultKind.ROOT, None, None, text),)


async def _mend_head(db: LedgerDb, account: Account) -> None:
    """The tree head is worth nothing when it is older than its blocks; all that it says follows from them."""
    if account.head.size and account.head != (await db.read_state()).head:
        try:
            await db.mend_head(account.head)
        except StoreFull:
            log.error("tree head cannot be mended while the disk is full; nothing can be appended meanwhile")


async def _finish_erasures(db: LedgerDb, account: Account) -> None:
    """What was erased must be gone: a crash may have left old pages in the log, and salvage may have found old rows."""
    if account.unerased:
        log.warning("%d blocks were erased and had heads or names all the same; they are deleted now", len(account.unerased))
        await db.erase(account.unerased)
    if account.fold.erased and not await db.empty_log():
        log.warning("the write-ahead log cannot be emptied while somebody reads the ledger; the next block tries it again")


def _is_usable(account: Account) -> bool:
    """Without the salt of block 0 no URL can be matched to a block, and no new block may be made."""
    return account.head.size == 0 or any(account.fold.genesis_salt)


async def _told(db: LedgerDb, account: Account, before: tuple[Fault, ...], moved: Path | None) -> Recovered:
    faults = before + account.faults
    for fault in faults[:_LOGGED]:
        log.error("ledger fault: %s", fault)
    if account.fault_count + len(before) > _LOGGED:
        log.error("ledger faults in all: %d", account.fault_count + len(before))
    state = await db.read_state()
    is_behind = bool(_lost_tail(db, account)) or not account.head.size
    known = (account.tiles, account.watched, state.checkpoint, is_behind, state.restored)
    return Recovered(account.fold, account.head, faults, moved, *known)
