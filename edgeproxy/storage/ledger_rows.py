"""The tables of the ledger's database, and the blocking steps on them.

Owns: schema, statements, and what an error of SQLite means here. Runs in threads; must not judge a row: `ledger.replay` does.

  blocks(height, raw, leaf)            the block's bytes, and its leaf hash apart from them
  heads(height, bytes)                 the stored head of a store or refresh block
  private(height, site, value, extra)  the clear text behind the digests; it never leaves this machine
  state(id, data, sum)                 1: tree head, 2: a second copy of block 0, 3: format, 4: checkpoint (the signed note),
                                       5: of a rebuilt ledger, what its source had not; `sum` is the SHA-256 of `data`

Every table is keyed by an integer and has no index: rows are only ever added at the end, and a damaged index cannot hide one.
"""

import sqlite3
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, StoreError, StoreFull
from edgeproxy.ledger.block import Stored, decode
from edgeproxy.ledger.digests import sha256, site_salt
from edgeproxy.ledger.drafts import ErasedNames, NameColumns, encode_names
from edgeproxy.ledger.pages import Columns
from edgeproxy.ledger.replay import RawRow, Restored, TreeHead, decode_restored, decode_tree_head, encode_tree_head
from edgeproxy.ledger.tiles import WIDTH

APPLICATION_ID = 0x65646765  # "edge"
FORMAT = 1
PAGE_SIZE = 4096
PAGE_OF_ROWS = 512

TREE_HEAD, GENESIS, FORMAT_ROW, CHECKPOINT, RESTORED = 1, 2, 3, 4, 5

_SCHEMA = """
CREATE TABLE blocks(height INTEGER PRIMARY KEY, raw BLOB NOT NULL, leaf BLOB NOT NULL);
CREATE TABLE heads(height INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE private(height INTEGER PRIMARY KEY, site BLOB NOT NULL, value BLOB NOT NULL, extra BLOB NOT NULL);
CREATE TABLE state(id INTEGER PRIMARY KEY, data BLOB NOT NULL, sum BLOB NOT NULL);
"""

_ROWS = """
SELECT b.height, b.raw, b.leaf, h.bytes, p.site, p.value, p.extra
FROM blocks b LEFT JOIN heads h ON h.height = b.height LEFT JOIN private p ON p.height = b.height
WHERE b.height >= ? AND b.height < ? ORDER BY b.height LIMIT ?
"""

_PURGE_OF_URL = b'["purge","url",'
_PURGES_BELOW = "SELECT height, site, value FROM private WHERE height < ? AND instr(extra, ?) = 1"
_PURGE_AT = "SELECT height, site, value FROM private WHERE height = ? AND instr(extra, ?) = 1"

_ROWS_AT_ONCE = (256, 64, 16, 4, 1)
"""Few sizes, so that SQLite's prepared statements are found again."""

# Statements are constant, so an error in one of them (1) says that the schema is damaged.
_DAMAGED = frozenset(
    (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_FORMAT)
)
_DAMAGED_READS = frozenset((sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS))
_UNUSABLE = frozenset((sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM))


@dataclass(frozen=True, slots=True)
class State:
    """The small rows; None for one that is missing or damaged. `format` is the version that wrote the database."""

    head: TreeHead | None
    genesis: bytes | None
    format: int | None
    checkpoint: bytes | None
    restored: Restored | None = None


UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What the steps below raise; the latter when SQLite's message quotes a schema that is not text any more."""


def failure(error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
    """What one of `UNREADABLE` means."""
    if isinstance(error, UnicodeDecodeError):
        return Corrupt("ledger database is damaged", why="its schema cannot be read")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    text = str(error)
    # The second: no room for the index of the log, which is made when the database is opened.
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull("no space left for the ledger", why=text)
    if code & 0xFF in _DAMAGED or code in _DAMAGED_READS:
        return Corrupt("ledger database is damaged", why=text)
    if code & 0xFF in _UNUSABLE:
        return StoreError("ledger database cannot be written", why=text)
    return StoreError("ledger database failed", why=text, code=code)


def is_refusal(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file must not be opened or written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write; raises sqlite3.Error. The database is made when it is not there."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        _tune(connection)
        # Only a new file takes these two; on an old one they change nothing.
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        # Each commit is on the disk before it is answered.
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that never writes, safe beside a running edge; raises sqlite3.Error.

    Without a log beside it the database is opened as immutable, so that reading leaves no file behind.
    """
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() else "immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False)
    _tune(connection)
    return connection


def _tune(connection: sqlite3.Connection) -> None:
    # Everything is kept as bytes: a damaged type byte must not turn into a decoding error.
    connection.text_factory = bytes
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new database and say which format it is, all or nothing."""
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
    # Crash before the commit: an empty file. Tables without a format would look like damage.
    put_format(connection)
    connection.execute("COMMIT")


def put_format(connection: sqlite3.Connection) -> None:
    """Say which format this is, in the row that counts, and in the file's header for other programs (mended)."""
    put_state(connection, FORMAT_ROW, str(FORMAT).encode())
    for pragma, value in (("application_id", APPLICATION_ID), ("user_version", FORMAT)):
        if connection.execute(f"PRAGMA {pragma}").fetchone() != (value,):
            connection.execute(f"PRAGMA {pragma} = {value}")


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether the database has no tables at all."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,))


def put_state(connection: sqlite3.Connection, row: int, data: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (row, data, sha256(data)))


def put_tree_head(connection: sqlite3.Connection, head: TreeHead) -> None:
    put_state(connection, TREE_HEAD, encode_tree_head(head))


def read_state(connection: sqlite3.Connection) -> State:
    """The small rows that are intact; raises sqlite3.Error."""
    rows = connection.execute("SELECT id, data, sum FROM state")
    kept = {number: data for number, data, total in rows if isinstance(data, bytes) and sha256(data) == total}
    head = None
    with suppress(Corrupt):
        head = decode_tree_head(kept[TREE_HEAD]) if TREE_HEAD in kept else None
    version = kept.get(FORMAT_ROW, b"")
    restored = None
    with suppress(Corrupt):
        restored = decode_restored(kept[RESTORED]) if RESTORED in kept else None
    return State(head, kept.get(GENESIS), int(version) if version.isdigit() else None, kept.get(CHECKPOINT), restored)


def read_tile(connection: sqlite3.Connection, index: int) -> list[tuple[bytes, bytes]]:
    """Bytes and leaf hash of the 256 blocks from 256 * `index`, those that are there, unproved; raises sqlite3.Error."""
    rows = connection.execute(
        "SELECT raw, leaf FROM blocks WHERE height >= ? AND height < ? ORDER BY height", (index * WIDTH, index * WIDTH + WIDTH)
    )
    return [(_bytes(raw), _bytes(leaf)) for raw, leaf in rows]


def read_rows(connection: sqlite3.Connection, start: int = 0, stop: int = 2**62) -> Iterator[RawRow]:
    """The rows at heights [start, stop) that are there, ascending. Raises sqlite3.Error where the database cannot be read.

    No snapshot is held between pages of rows, so that a long reading does not keep the log of a running edge from being emptied.
    """
    for page in read_pages(connection, start, stop):
        yield from map(row_of, page)


def read_pages(connection: sqlite3.Connection, start: int = 0, stop: int = 2**62) -> Iterator[list[Columns]]:
    """As `read_rows`, in pages, of columns as they are kept. Where no row is missing, every page but the first begins a tile."""
    while True:
        limit = PAGE_OF_ROWS - start % PAGE_OF_ROWS
        page = connection.execute(_ROWS, (start, stop, limit)).fetchall()
        if page:
            yield page
        if len(page) < limit:
            return
        start = page[-1][0] + 1


def row_of(columns: Columns) -> RawRow:
    """A row of a page."""
    height, raw, leaf, head, *names = columns
    return RawRow(height, _bytes(raw), _bytes(leaf), head if isinstance(head, bytes) else None, _columns(names))


def traces_of(connection: sqlite3.Connection, heights: Iterable[int]) -> dict[int, str]:
    """The trace ids in store and refresh blocks, "" for blocks that cannot be read. Raises sqlite3.Error."""
    found = {}
    for height in heights:
        row = connection.execute("SELECT raw FROM blocks WHERE height = ?", (height,)).fetchone()
        found[height] = ""
        with suppress(Corrupt):
            entry = decode(_bytes(row[0])).entry if row is not None else None
            found[height] = entry.trace if isinstance(entry, Stored) else ""
    return found


def height_at(connection: sqlite3.Connection, size: int, instant: Instant) -> Height | None:
    """The newest of the first `size` blocks whose time is not after `instant`; None when the first one is. Raises sqlite3.Error.

    Looks at a block for each doubling of `size`: times never go back along the chain. A damaged block is passed over.
    """
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        at, time = middle, None
        while at >= low and (time := time_of(connection, at)) is None:
            at -= 1
        if time is not None and time > instant:
            high = at
        else:
            low = middle + 1
    return Height(low - 1) if low else None


def time_of(connection: sqlite3.Connection, height: int) -> Instant | None:
    """The time of the block at `height`; None when it is not there or damaged. Raises sqlite3.Error."""
    row = connection.execute("SELECT raw FROM blocks WHERE height = ?", (height,)).fetchone()
    try:
        return None if row is None else decode(_bytes(row[0])).time
    except Corrupt:
        return None


def read_leaves(connection: sqlite3.Connection, size: int) -> Iterator[bytes]:
    """The leaf hashes of the first `size` blocks, those that are there, as they are kept; raises sqlite3.Error."""
    for (leaf,) in connection.execute("SELECT leaf FROM blocks WHERE height < ? ORDER BY height", (size,)):
        yield _bytes(leaf)


def read_mentioning(connection: sqlite3.Connection, text: bytes) -> Iterator[RawRow]:
    """The rows whose block has `text` somewhere in its bytes, by height; raises sqlite3.Error. Reads every block."""
    heights = connection.execute("SELECT height FROM blocks WHERE instr(raw, ?) ORDER BY height", (text,)).fetchall()
    for (height,) in heights:
        yield from read_rows(connection, height, height + 1)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _columns(values: list[object]) -> NameColumns | None:
    site, value, extra = values
    return None if site is None else (_bytes(site), _bytes(value), _bytes(extra))


def insert_rows(connection: sqlite3.Connection, rows: Iterable[RawRow]) -> None:
    """Add rows; one that is there already is an error, nothing is ever replaced."""
    rows = list(rows)
    _insert(connection, "blocks", [row.height for row in rows], [row.raw for row in rows], [row.leaf for row in rows])
    with_head = [(row.height, row.head) for row in rows if row.head is not None]
    _insert(connection, "heads", [height for height, _ in with_head], [head for _, head in with_head])
    named = [(row.height, *row.names) for row in rows if row.names is not None]
    if named:
        _insert(connection, "private", *zip(*named, strict=True))


def _insert(connection: sqlite3.Connection, table: str, heights: Sequence[int], *columns: Sequence[bytes]) -> None:
    """Many rows a statement: Python's lock is let go and taken again once for each statement, and the event loop wants it too."""
    width = 1 + len(columns)
    start = 0
    for size in _ROWS_AT_ONCE:
        while len(heights) - start >= size:
            values: list[object] = [None] * (size * width)
            values[::width] = heights[start : start + size]
            for place, column in enumerate(columns, 1):
                # For `bytes` the module first looks for an adapter that nobody registered, a microsecond each; for these not.
                values[place::width] = map(bytearray, column[start : start + size])
            connection.execute(_insertion(table, width, size), values)
            start += size


@lru_cache(maxsize=64)
def _insertion(table: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * rows)}"


def add_names(connection: sqlite3.Connection, names: Iterable[tuple[int, NameColumns]]) -> None:
    """Add names to blocks that have none; those that are there stay."""
    connection.executemany("INSERT OR IGNORE INTO private VALUES (?, ?, ?, ?)", [(height, *columns) for height, columns in names])


def add_names_of_heads(connection: sqlite3.Connection, names: Iterable[tuple[int, NameColumns]]) -> None:
    """As `add_names`, for blocks that have their stored head; one that was erased meanwhile has none, and gets no name back."""
    statement = "INSERT OR IGNORE INTO private SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM heads WHERE height = ?1)"
    connection.executemany(statement, [(height, *columns) for height, columns in names])


def erasable(connection: sqlite3.Connection, url: Digest, below: int, genesis_salt: bytes) -> list[int]:
    """The heights below `below` of blocks that name this URL; by their bytes, since their names may be lost. Reads all blocks.

    The block of a purge does not show which URL it names; its private row does.
    """
    needle = b'"url":"' + b64encode(url) + b'"'
    found = connection.execute("SELECT height FROM blocks WHERE height < ? AND instr(raw, ?) > 0", (below, needle))
    heights = [height for (height,) in found]
    purges = connection.execute(_PURGES_BELOW, (below, _PURGE_OF_URL))
    return heights + [height for height, site, value in purges if _digest_of(site, value, genesis_salt) == url]


def erase_rows(connection: sqlite3.Connection, heights: Iterable[int], genesis_salt: bytes) -> None:
    """Delete heads and names; of a purge the digest of what it named stays. To be called with `secure_delete` on, so that SQLite
    overwrites what it frees."""
    chosen = [(height,) for height in heights]
    left: list[tuple[int, bytes, bytes, bytes]] = []
    for (chosen_height,) in chosen:
        for height, site, value in connection.execute(_PURGE_AT, (chosen_height, _PURGE_OF_URL)):
            left.append((height, *encode_names(ErasedNames(_digest_of(site, value, genesis_salt)))))
    connection.executemany("DELETE FROM heads WHERE height = ?", chosen)
    connection.executemany("DELETE FROM private WHERE height = ?", chosen)
    connection.executemany("INSERT INTO private VALUES (?, ?, ?, ?)", left)


def _digest_of(site: object, value: object, genesis_salt: bytes) -> Digest:
    """The digest that an erase block has of the URL in a private row."""
    return sha256(site_salt(genesis_salt, _bytes(site).decode("utf-8", "replace")) + _bytes(value))


def empty_log(connection: sqlite3.Connection) -> bool:
    """Fold the write-ahead log into the database and cut it to nothing: old pages in it would keep what was erased. False while a
    reader is in the way; raises sqlite3.Error."""
    connection.execute("PRAGMA busy_timeout = 500")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute("PRAGMA busy_timeout = 5000")
    return not busy


def structure_faults(connection: sqlite3.Connection, *, thorough: bool = False) -> list[str]:
    """What SQLite finds wrong with its own structure, at most ten things; rows beyond the last block count too."""
    check = "integrity_check" if thorough else "quick_check"
    found = [_text(row[0]) for row in connection.execute(f"PRAGMA {check}(10)")]
    faults = [line for line in found if line != "ok"]
    last = connection.execute("SELECT max(height) FROM blocks").fetchone()[0]
    for table in ("heads", "private"):
        beyond = connection.execute(f"SELECT max(height) FROM {table}").fetchone()[0]
        if beyond is not None and (last is None or beyond > last):
            faults.append(f"table {table} has a row for a block that is not there")
    return faults


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
