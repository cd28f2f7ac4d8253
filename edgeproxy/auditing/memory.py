"""What an auditor remembers of one log between audits: the head seen last, how far the blocks were checked, and what is stored.

Owns: one SQLite file for each log in the state folder, and the evidence beside it. Must not judge anything. Nothing in it comes
from elsewhere than from what was proved, and each step is one transaction: an audit that is killed goes on at the last one.

  meta(name, data)                    seen: the largest head whose signature verified; progress, rotations: of the blocks checked
  tile(level, number, data)           full tiles above level 0, so that they are not read again
  version(url, variant, …)            the newest version of each, as the blocks checked so far say
  checked(body)                       bodies that were read and matched
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import StoreError
from edgeproxy.ledger.block import Block, Erase, Evict, Stored
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.merkle import EMPTY_ROOT
from edgeproxy.ledger.succession import Rotated
from edgeproxy.ledger.tiles import Tile
from edgeproxy.storage.durable import FOLDER_MODE, sync_folder, write_synced

T = TypeVar("T")

FORMAT = 1
_APPLICATION_ID = 0x65644155
_CACHE_KIB = 32 << 10

_SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tile(level INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(level, number)) WITHOUT ROWID;
CREATE TABLE version(url BLOB NOT NULL, variant BLOB NOT NULL, height INTEGER NOT NULL, body BLOB NOT NULL,
                     length INTEGER NOT NULL, PRIMARY KEY(url, variant)) WITHOUT ROWID;
CREATE INDEX version_body ON version(body);
CREATE TABLE checked(body BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The largest head that the log signed and that grew out of those before. `time`: when it was seen."""

    size: int
    root: Digest
    note: bytes
    time: Instant


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first `size` blocks, with this root, follow the rules; `last` and `time` are the leaf hash and time of the last one."""

    size: int
    root: Digest
    last: Digest
    time: Instant


NOTHING = Progress(0, EMPTY_ROOT, ZERO, Instant(0))


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where audits are remembered when nothing else is said (XDG base directories)."""
    given = environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "edgeproxy" / "audits"


class Memory:
    """What is remembered of the log `origin` in `folder`; `close` it. Raises `Finding` for a file that cannot be used."""

    def __init__(self, folder: Path, origin: str) -> None:
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", origin)[:80].strip("_.") or "log"
        self.path = folder / f"{name}-{hashlib.sha256(origin.encode()).hexdigest()[:16]}.sqlite"
        try:
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError("folder for what audits remember cannot be made", folder=folder, why=error.strerror) from None
        with self._errors():
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            with self._errors():
                self._open()
            self.seen = self._load("seen", Seen, None)
            self.progress = self._load("progress", Progress, NOTHING) or NOTHING
            self.rotations = self._load("rotations", tuple[Rotated, ...], ()) or ()
        except BaseException:
            self._connection.close()
            raise

    def __repr__(self) -> str:
        return f"<Memory {self.path.name} {self.progress.size}>"

    def _open(self) -> None:
        # Held to the end: two audits of one log would undo each other's steps.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute("BEGIN IMMEDIATE")
        identity = tuple(self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if identity == (0, 0):
            for statement in _SCHEMA.split(";")[:-1]:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif identity != (_APPLICATION_ID, FORMAT):
            raise Finding(FindingKind.MEMORY, "file is not one of this program's audits, or of another version", file=self.path)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Drop what was not committed."""
        self._connection.close()

    # -- what was seen and checked -----------------------------------------------------------------------------------------

    def remember_seen(self, seen: Seen) -> None:
        """The largest head from now on; commits with it what `advance` left open."""
        with self._transaction(commit=True):
            self._save("seen", seen)
        self.seen = seen

    def advance(self, progress: Progress, blocks: Iterable[Block], rotations: tuple[Rotated, ...], *, commit: bool) -> None:
        """More blocks were checked. Without `commit` nothing of it counts until the next commit."""
        with self._transaction(commit=commit):
            self._apply(blocks)
            self._save("progress", progress)
            if rotations != self.rotations:
                self._save("rotations", rotations)
        self.progress, self.rotations = progress, rotations

    def forget_progress(self) -> None:
        """Begin the blocks and bodies anew; the head that was seen stays."""
        with self._transaction(commit=True):
            for table in ("tile", "version", "checked"):
                self._connection.execute(f"DELETE FROM {table}")
            self._connection.execute("DELETE FROM meta WHERE name != 'seen'")
        self.progress, self.rotations = NOTHING, ()

    def tile(self, tile: Tile) -> bytes | None:
        """A tile that was proved once, and must be proved again: it may be of a tree that is not the one of today."""
        with self._errors():
            query = self._connection.execute("SELECT data FROM tile WHERE level = ? AND number = ?", (tile.height, tile.index))
            row = query.fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def keep_tiles(self, tiles: Iterable[tuple[Tile, bytes]]) -> None:
        """Keep full tiles."""
        rows = [(tile.height, tile.index, data) for tile, data in tiles]
        with self._transaction(commit=True):
            self._connection.executemany("INSERT OR REPLACE INTO tile VALUES(?, ?, ?)", rows)

    def _apply(self, blocks: Iterable[Block]) -> None:
        stored: dict[tuple[bytes, bytes], Stored] = {}
        for block in blocks:
            match block.entry:
                case Stored() as entry:
                    stored[entry.url, entry.variant] = entry
                case Evict() as entry:
                    self._store(stored)
                    self._gone(entry.body)
                case Erase() as entry:
                    self._store(stored)
                    self._connection.execute("DELETE FROM version WHERE url = ?", (entry.url,))
                    for body in entry.bodies:
                        self._gone(body)
                case _:
                    pass
        self._store(stored)

    def _store(self, stored: dict[tuple[bytes, bytes], Stored]) -> None:
        rows = [(*key, entry.height, entry.body, entry.length) for key, entry in stored.items()]
        self._connection.executemany("INSERT OR REPLACE INTO version VALUES(?, ?, ?, ?, ?)", rows)
        stored.clear()

    def _gone(self, body: bytes) -> None:
        self._connection.execute("DELETE FROM version WHERE body = ?", (body,))
        self._connection.execute("DELETE FROM checked WHERE body = ?", (body,))

    # -- bodies ------------------------------------------------------------------------------------------------------------

    def unchecked_bodies(self) -> list[tuple[bytes, int]]:
        """Digest and length of each body that a newest version names and that was not read yet, oldest first."""
        with self._errors():
            found = self._connection.execute(
                "SELECT body, length FROM version WHERE body NOT IN (SELECT body FROM checked) GROUP BY body ORDER BY min(height)"
            )
            return found.fetchall()

    def note_checked(self, bodies: Iterable[bytes]) -> None:
        """These bodies were read and match."""
        with self._transaction(commit=True):
            self._connection.executemany("INSERT OR IGNORE INTO checked VALUES(?)", [(body,) for body in bodies])

    # -- evidence ----------------------------------------------------------------------------------------------------------

    def keep_evidence(self, kind: str, notes: Mapping[str, bytes]) -> list[Path]:
        """Write signed notes that contradict each other beside the file, under names that say what they are."""
        written = []
        for name, note in notes.items():
            path = self.path.with_name(f"{self.path.stem}.{kind}.{name}.{hashlib.sha256(note).hexdigest()[:12]}.note")
            try:
                if not path.exists():
                    write_synced(path, note)
                written.append(path)
            except OSError as error:
                raise StoreError("evidence cannot be written", file=path, why=error.strerror) from None
        sync_folder(self.path.parent)
        return written

    # -- within ------------------------------------------------------------------------------------------------------------

    def _load(self, name: str, kind: type[T], absent: T | None) -> T | None:
        with self._errors():
            row = self._connection.execute("SELECT data FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None:
            return absent
        try:
            return msgspec.json.decode(row[0], type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            raise Finding(FindingKind.MEMORY, "what was kept cannot be read", file=self.path, part=name) from None

    def _save(self, name: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (name, msgspec.json.encode(value)))

    @contextmanager
    def _transaction(self, *, commit: bool) -> Iterator[None]:
        with self._errors():
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")
            yield
            if commit:
                self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise StoreError("another audit of this log is running", file=self.path) from None
            raise StoreError("what audits remember cannot be kept", file=self.path, why=error) from None
        except sqlite3.DatabaseError as error:
            raise Finding(FindingKind.MEMORY, "what was kept is damaged", file=self.path, why=error) from None
