"""What a validator has cosigned, in one SQLite file: the only thing that keeps it from cosigning two trees.

Owns: DATA/validator.sqlite and the small file beside it that counts its commits. Must not judge a checkpoint.

  own(id, format, key, commits, time)    one row: verifier key of the file, commits so far, newest time in a cosignature
  logs(origin, given, key, size, root, peaks, last, block_time, cosigned, note)
       given: verifier key as the operator wrote it; key: the log's key now (rotations are followed); size, root, peaks: the tree
       that was cosigned last; last, block_time: of its newest block; cosigned: POSIX seconds; note: the whole checkpoint

It never goes back: a step is written only where the row still is what the step began from, and before anybody is told. Whoever
puts back an older copy makes a validator that may contradict itself: the counter beside the file shows it where only the file was
put back, and the validator refuses to start. A copy of the whole folder cannot be told; so a backup is never to be restored.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import StartError, StoreError
from edgeproxy.ledger.chain import Chain
from edgeproxy.ledger.digests import DIGEST_SIZE, ZERO
from edgeproxy.ledger.merkle import EMPTY_ROOT, MerkleFrontier
from edgeproxy.storage.durable import FILE_MODE, sync_folder
from edgeproxy.storage.witness import Witness, read_witness

STATE_FILE = "validator.sqlite"
FORMAT = 1
NEVER = Instant(0)

_SCHEMA = """
CREATE TABLE own(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER, key TEXT NOT NULL, commits INTEGER, time INTEGER) STRICT;
CREATE TABLE logs(
  origin TEXT PRIMARY KEY, given TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, peaks BLOB NOT NULL,
  last BLOB NOT NULL, block_time INTEGER NOT NULL, cosigned INTEGER NOT NULL, note BLOB
) STRICT;
"""
_COLUMNS = "origin, given, key, size, root, peaks, last, block_time, cosigned, note"
_RETIRE = "a validator that has lost its state may not go on: retire its key, and make a new one with `edgeproxy validator init`"


@dataclass(frozen=True, slots=True)
class LogState:
    """One log as it was cosigned last; size 0 when it never was. `cosigned` in POSIX seconds."""

    origin: str
    given: str
    key: str
    size: int = 0
    root: Digest = EMPTY_ROOT
    peaks: tuple[Digest, ...] = ()
    last: Digest = ZERO
    block_time: Instant = NEVER
    cosigned: int = 0
    note: bytes | None = None

    def chain(self) -> Chain:
        """The chain from here on."""
        if self.size == 0:
            return Chain.empty()
        return Chain(MerkleFrontier(self.size, self.peaks), self.last, self.block_time, self.key)

    def at(self, chain: Chain, key: str) -> "LogState":
        """The state once the end of `chain` is cosigned, under the log's key `key`."""
        return replace(
            self, key=key, size=chain.size, root=chain.root(), peaks=chain.peaks, last=chain.last, block_time=chain.time
        )


def create_state(folder: Path, vkey: str) -> None:
    """An empty state for a new key. Raises StartError when there is one, or it cannot be made."""
    path = folder / STATE_FILE
    if path.exists():
        raise StartError("folder has the state of a validator already", path=path)
    try:
        with closing(_connect(path)) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO own VALUES (1, ?, ?, 0, 0)", (FORMAT, vkey))
        path.chmod(FILE_MODE)
        counter = Witness(path)
        counter.write(0)
        counter.close()
        sync_folder(folder)
    except (sqlite3.Error, OSError) as error:
        raise StartError("state of the validator cannot be made", path=path, why=str(error)) from error


class State:
    """The open state. Its calls block, for at most one flush of the disk; one thread makes them, one after the other."""

    def __init__(self, folder: Path, vkey: str) -> None:
        """Raises StartError for a state that is missing, damaged, older than it was, or of another key."""
        self.path = folder / STATE_FILE
        if not self.path.is_file():
            raise StartError("state of the validator is missing", path=self.path, hint=_RETIRE)
        try:
            self._connection = _connect(self.path)
            self._commits = self.time = 0
            """`time`: newest that any cosignature has, in POSIX seconds."""
            try:
                self._check(vkey)
                self._counter = Witness(self.path)
                self._counter.write(self._commits)
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise StartError("state of the validator cannot be used", path=self.path, why=str(error), hint=_RETIRE) from error

    def _check(self, vkey: str) -> None:
        if self._connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StartError("state of the validator is damaged", path=self.path, hint=_RETIRE)
        kept, key, self._commits, self.time = self._connection.execute("SELECT format, key, commits, time FROM own").fetchone()
        if kept > FORMAT:
            raise StartError("state was written by a newer version", path=self.path, format=kept, known=FORMAT)
        if key != vkey:
            raise StartError("state is of another key than the folder's", path=self.path, key=key)
        counted = read_witness(self.path)
        if counted is None or counted > self._commits:
            found = {"path": self.path, "commits": self._commits, "counted": counted}
            raise StartError("state of the validator is older than it was", **found, hint=_RETIRE)
        for log in self.logs():
            if log.size and log.chain().root() != log.root:
                raise StartError("state of the validator is damaged", path=self.path, log=log.origin, hint=_RETIRE)

    def logs(self) -> list[LogState]:
        """All logs that were ever known."""
        return [_row(row) for row in self._connection.execute(f"SELECT {_COLUMNS} FROM logs ORDER BY origin")]

    def know(self, origin: str, vkey: str) -> LogState:
        """The state of a log that the operator trusts under `vkey`; a key written anew replaces what rotations had led to."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM logs WHERE origin = ?", (origin,)).fetchone()
        if row is not None:
            kept = _row(row)
            if kept.given == vkey:
                return kept
            kept = replace(kept, given=vkey, key=vkey)
            self._write("UPDATE logs SET given = ?, key = ? WHERE origin = ?", (vkey, vkey, origin), self.time)
            return kept
        fresh = LogState(origin, vkey, vkey)
        self._write(f"INSERT INTO logs({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _values(fresh), self.time)
        return fresh

    def advance(self, before: LogState, after: LogState) -> bool:
        """Write down `after`, durable when this returns; False, and nothing is changed, when the log is not at `before` any more.

        Raises StoreError, ValueError for a step back.
        """
        if after.origin != before.origin or after.size < before.size or after.cosigned < before.cosigned:
            raise ValueError("a validator never goes back")
        origin, given, *values = _values(after)
        # Compared and set in one statement of one transaction: of two racers one finds another row.
        statement = (
            "UPDATE logs SET given = ?, key = ?, size = ?, root = ?, peaks = ?, last = ?, block_time = ?, cosigned = ?, note = ?"
            " WHERE origin = ? AND size = ? AND root = ? AND cosigned = ?"
        )
        return self._write(statement, (given, *values, origin, before.size, before.root, before.cosigned), after.cosigned)

    def _write(self, statement: str, values: tuple[object, ...], time: int) -> bool:
        connection = self._connection
        try:
            # Crash from here to the commit: the log of SQLite ends in an unfinished transaction, and nobody was told of it.
            connection.execute("BEGIN IMMEDIATE")
            done = connection.execute(statement, values).rowcount == 1
            if done:
                # Of several logs the one that was signed first may be written down last.
                connection.execute("UPDATE own SET commits = commits + 1, time = max(time, ?)", (time,))
            connection.execute("COMMIT" if done else "ROLLBACK")
            # Crash here: cosigned by nobody's knowledge. Whoever asks again is told the size, and gets the same statement later.
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreError("state of the validator cannot be written", path=self.path, why=str(error)) from error
        if done:
            self._commits, self.time = self._commits + 1, max(self.time, time)
            self._count()
        return done

    def _count(self) -> None:
        try:
            self._counter.write(self._commits)
        except OSError as error:
            raise StoreError("state of the validator cannot be counted", path=self.path, why=error.strerror) from error

    def close(self) -> None:
        """Fold SQLite's log into the file."""
        self._connection.close()
        self._counter.close()


def read_logs(folder: Path) -> list[LogState]:
    """What a validator has cosigned, beside a running one too. Raises StoreError."""
    path = folder / STATE_FILE
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return [_row(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM logs ORDER BY origin")]
    except (sqlite3.Error, ValueError) as error:
        raise StoreError("state of the validator cannot be read", path=path, why=str(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    # Each commit is on the disk before the cosignature is given out.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _values(log: LogState) -> tuple[object, ...]:
    peaks = b"".join(log.peaks)
    return log.origin, log.given, log.key, log.size, log.root, peaks, log.last, log.block_time, log.cosigned, log.note


def _row(row: tuple[str, str, str, int, bytes, bytes, bytes, int, int, bytes | None]) -> LogState:
    origin, given, key, size, root, joined, last, block_time, cosigned, note = row
    peaks = tuple(Digest(joined[start : start + DIGEST_SIZE]) for start in range(0, len(joined), DIGEST_SIZE))
    return LogState(origin, given, key, size, Digest(root), peaks, Digest(last), Instant(block_time), cosigned, note)
