"""`ledger verify`: everything of a data folder read again and checked, without changing a byte.

Owns: the order of the checks and the report. Must not repair; that is recovery at the next start. It may run beside a running
edge: what is added after it began is left out.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused, StartError
from edgeproxy.ledger.block import Block, Erase, Evict, decode
from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.chunks import BodyHasher, root_of_chunks
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.replay import Account, Fault, FaultKind, Replay, Restored, TreeHead
from edgeproxy.sequencer.helpers import Helpers, helpers_for
from edgeproxy.sequencer.recovery import replay_signed
from edgeproxy.storage.ledger_db import LEDGER_FILE, LOCK_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.ledger_rows import (
    APPLICATION_ID,
    FORMAT,
    UNREADABLE,
    connect_to_read,
    failure,
    read_rows,
    read_state,
    structure_faults,
)
from edgeproxy.storage.salvage import log_is_damaged, salvage
from edgeproxy.storage.shards import Shards, chunks_path
from edgeproxy.storage.witness import read_witness

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audit is. `total` is None while it is not known."""

    phase: Literal["ledger", "bodies"]
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`faults` in the order of finding, ledger first; `blocks` and `bodies` count what was checked, `body_bytes` their bytes."""

    faults: tuple[Fault, ...]
    blocks: int
    bodies: int
    body_bytes: int
    head: TreeHead | None

    @property
    def is_clean(self) -> bool:
        return not self.faults

    @property
    def first(self) -> Fault | None:
        """The first fault."""
        return self.faults[0] if self.faults else None


@dataclass(slots=True)
class _Audit:
    data: Path
    report_progress: Callable[[Progress], None]
    faults: list[Fault] = field(default_factory=list)
    faults_of_checkpoint: list[Fault] = field(default_factory=list)
    bodies: int = 0
    body_bytes: int = 0
    restored: Restored | None = None

    @property
    def database(self) -> Path:
        return self.data / LEDGER_FILE

    def fault(self, kind: FaultKind, text: str, digest: Digest | None = None) -> None:
        self.faults.append(Fault(kind, None, digest, text))


async def audit(data: Path, *, bodies: bool = True, progress: Callable[[Progress], None] | None = None) -> AuditReport:
    """Check the ledger in `data` and, with `bodies`, every body. Raises nothing that it can report as a fault.

    `progress` is called on the event loop, from time to time.
    """
    loop = asyncio.get_running_loop()

    def report_progress(step: Progress) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, step)

    return await asyncio.to_thread(audit_now, data, bodies=bodies, progress=report_progress)


def audit_now(data: Path, *, bodies: bool = True, progress: Callable[[Progress], None] = lambda step: None) -> AuditReport:
    """As `audit`, blocking; `progress` is called in this thread."""
    work = _Audit(data, progress)
    account = _ledger(work, folds=bodies)
    if account is None:
        return AuditReport(tuple(work.faults), 0, 0, 0, None)
    work.faults += (*account.faults, *work.faults_of_checkpoint)
    progress(Progress("ledger", account.head.size, account.head.size))
    if bodies:
        _bodies(work, account)
    return AuditReport(tuple(work.faults), account.head.size, work.bodies, work.body_bytes, account.head)


# -- the ledger ------------------------------------------------------------------------------------------------------------


def _ledger(work: _Audit, *, folds: bool) -> Account | None:
    if not work.database.is_file():
        work.fault(FaultKind.DATABASE, f"there is no ledger in this data folder: {work.data.absolute()}")
        return None
    at_rest = not _is_running(work.data)
    if at_rest and log_is_damaged(work.database):
        work.fault(FaultKind.DATABASE, "write-ahead log is damaged")
    work.report_progress(Progress("ledger", 0, None))
    try:
        # Bodies are matched with what the blocks add up to, which one process does; without them the blocks are shared out.
        count = 0 if folds else helpers_for(work.database)
        with closing(connect_to_read(work.database)) as connection, Helpers(work.database, count) as helpers:
            for line in structure_faults(connection, thorough=True):
                work.fault(FaultKind.DATABASE, line)
            _small_rows(work, connection)
            account, note = replay_signed(connection, folds=folds, read=lambda judge, stop: helpers.feed(judge, connection, stop))
            _checkpoint(work, account, note)
            acknowledged = read_witness(work.database) or 0
            if at_rest and acknowledged > account.head.size:
                work.fault(FaultKind.ROOT, f"{acknowledged} blocks were acknowledged, {account.head.size} are there")
            return account
    except UNREADABLE as error:
        work.fault(FaultKind.DATABASE, str(failure(error)))
    except Corrupt as error:
        work.fault(FaultKind.DATABASE, str(error))
    return _salvaged(work)


def _salvaged(work: _Audit) -> Account | None:
    """SQLite cannot read it: judge what can be found in the file, so that what is lost is named block by block."""
    found = salvage(work.database)
    judge = Replay(found.tree_head, found.genesis.raw if found.genesis else None, None, found.restored)
    judge.feed(found.rows())
    try:
        return judge.finish()
    except Corrupt as error:
        work.fault(FaultKind.DATABASE, str(error))
        return None


def _small_rows(work: _Audit, connection: sqlite3.Connection) -> None:
    state = read_state(connection)
    work.restored = state.restored
    first = next(read_rows(connection, 0, 1), None)
    if first is not None and state.genesis != first.raw:
        work.fault(FaultKind.DATABASE, "second copy of block 0 is missing, damaged, or another")
    if state.format != FORMAT:
        work.fault(FaultKind.DATABASE, "format of the ledger is missing, damaged, or newer")
    for pragma, value in (("application_id", APPLICATION_ID), ("user_version", FORMAT)):
        if connection.execute(f"PRAGMA {pragma}").fetchone() != (value,):
            work.fault(FaultKind.DATABASE, f"header of the file has another {pragma}")


def _checkpoint(work: _Audit, account: Account, note: bytes | None) -> None:
    """Does what was signed last still hold? A ledger without a key was never signed."""

    def fault(text: str) -> None:
        work.faults_of_checkpoint.append(Fault(FaultKind.CHECKPOINT, None, None, text))

    try:
        signer = read_key(work.data)
    except StartError as error:
        fault(error.text)
        return
    if signer is None or not account.head.size:
        return
    if note is None:
        fault("checkpoint is missing or damaged")
        return
    try:
        stated = open_checkpoint(note, signer.verifier, signer.name).checkpoint
    except ProofRefused as error:
        fault(f"checkpoint is not one of the ledger's key: {error}")
        return
    if stated.size != account.head.size:
        fault(f"checkpoint covers {stated.size} blocks, the tree head {account.head.size}")
    elif account.watched not in (None, stated.root):
        fault("checkpoint states another root than the blocks have")
    elif stated.root != account.head.root:
        fault("checkpoint states another root than the tree head")


def _is_running(data: Path) -> bool:
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


# -- the bodies ------------------------------------------------------------------------------------------------------------


def _bodies(work: _Audit, account: Account) -> None:
    shards = Shards(work.data)
    expected = account.fold.bodies()
    found = list(_body_files(shards.folder))
    here = {digest for digest, _ in found}
    for done, (digest, path) in enumerate(found):
        if done % 64 == 0:
            work.report_progress(Progress("bodies", done, len(found)))
        _body(work, digest, path, expected.get(digest))
    absent = [ref for digest, ref in expected.items() if digest not in here or not shards.path(digest).exists()]
    if absent and work.restored is not None and not work.restored.bodies:
        # Whoever rebuilt this was told what the source did not have.
        since = account.fold.bodies_since(work.restored.below)
        absent = [ref for ref in absent if ref.digest in since]
    evicted = _evicted_since(work, account.head.size) if absent else frozenset()
    for ref in absent:
        if ref.digest not in evicted:
            where = "quarantined" if (shards.quarantine / ref.digest.hex()).exists() else "missing"
            work.fault(FaultKind.BODY_MISSING, f"body is {where}", ref.digest)
    work.report_progress(Progress("bodies", len(found), len(found)))
    _name_pages(work, account)


def _name_pages(work: _Audit, account: Account) -> None:
    """Say of which page a body is: its digest tells nobody what is damaged."""
    asked = {fault.digest for fault in work.faults if fault.digest is not None}
    if not asked:
        return
    pages: dict[Digest, Version] = {}
    for variants in account.fold.by_url.values():
        for version in (version for versions in variants.values() for version in versions):
            digest = version.body.digest
            if digest in asked and (digest not in pages or pages[digest].height < version.height):
                pages[digest] = version
    for place, fault in enumerate(work.faults):
        if fault.digest is not None and (page := pages.get(fault.digest)) is not None:
            work.faults[place] = replace(fault, height=page.height, url=page.url)


def _body_files(folder: Path) -> Iterator[tuple[Digest, Path]]:
    for shard in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        for path in sorted(shard.iterdir()):
            if len(path.name) == 2 * DIGEST_SIZE and path.name.startswith(shard.name):
                try:
                    digest = Digest(bytes.fromhex(path.name))
                except ValueError:
                    continue  # not a body
                yield digest, path


def _body(work: _Audit, digest: Digest, path: Path, expected: BodyRef | None) -> None:
    try:
        ref = _hash_file(path)
        leaves = chunks_path(path).read_bytes() if ref.chunks is not None else b""
    except FileNotFoundError:
        if path.exists():
            work.fault(FaultKind.BODY_DAMAGED, "hashes of the chunks are missing", digest)
        return  # evicted while we looked, or missing: that is looked at last
    except OSError as error:
        work.fault(FaultKind.BODY_DAMAGED, f"body cannot be read: {error.strerror}", digest)
        return
    work.bodies += 1
    work.body_bytes += ref.length
    if ref.digest != digest:
        work.fault(FaultKind.BODY_DAMAGED, "body does not match its digest", digest)
    elif expected is not None and ref != expected:
        work.fault(FaultKind.BODY_DAMAGED, "length or chunks of the body are not those of its block", digest)
    elif ref.chunks is not None and _root(leaves) != ref.chunks:
        work.fault(FaultKind.BODY_DAMAGED, "hashes of the chunks are damaged", digest)


def _hash_file(path: Path) -> BodyRef:
    hasher = BodyHasher()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.finish()


def _root(leaves: bytes) -> Digest | None:
    if len(leaves) % DIGEST_SIZE:
        return None
    return root_of_chunks([leaves[start : start + DIGEST_SIZE] for start in range(0, len(leaves), DIGEST_SIZE)])


def _evicted_since(work: _Audit, size: int) -> frozenset[Digest]:
    """Bodies that a running edge evicted or erased after the ledger was read."""
    blocks: list[Block] = []
    try:
        with closing(connect_to_read(work.database)) as connection:
            blocks = [decode(row.raw) for row in read_rows(connection, size)]
    except (*UNREADABLE, Corrupt):
        return frozenset()
    evicted = {block.entry.body for block in blocks if isinstance(block.entry, Evict)}
    return frozenset(evicted.union(*(block.entry.bodies for block in blocks if isinstance(block.entry, Erase))))
