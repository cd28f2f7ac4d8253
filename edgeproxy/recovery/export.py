"""`ledger export`: the ledger of a data folder, heads and bodies with it, in one file that archive tools replay.

Owns: what is read for it, in which order, and that nothing goes in that does not hold. Must not write into the data folder.

It may run beside a running edge: everything up to one checkpoint is taken. What the edge evicts or erases meanwhile is then
missing, and the last record says so.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy import __version__
from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, ProofRefused, StoreError
from edgeproxy.ledger.block import Block, Erase, Stored
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint
from edgeproxy.ledger.drafts import decode_names, encode_names
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.replay import RawRow
from edgeproxy.ledger.tiles import WIDTH, encode_bundle, index_path
from edgeproxy.ledger.verify import check_head, verify_block
from edgeproxy.recovery.warc import Content, Origin, Writer
from edgeproxy.storage.durable import FILE_MODE, sync_folder
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.ledger_rows import UNREADABLE, connect_to_read, failure, read_rows, read_state
from edgeproxy.storage.shards import Shards

FORMAT = "edgeproxy-export/1"
_PIECE = 1 << 20
_TEXT, _JSON, _BYTES = "text/plain; charset=utf-8", "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since`: heads and bodies of blocks from this height on. `with_key`: the private key too."""

    since: int = 0
    bodies: bool = True
    with_key: bool = False


@dataclass(slots=True)
class Report:
    """What went into the file. `without_heads`, `without_bodies`: heights of blocks whose head or body was not there to be taken;
    what was evicted or erased is not counted."""

    origin: str = ""
    vkey: str = ""
    size: int = 0
    heads: int = 0
    bodies: int = 0
    body_bytes: int = 0
    without_heads: list[int] = field(default_factory=list)
    without_bodies: list[int] = field(default_factory=list)


Progress = Callable[[str, int, int], None]
"""Called with what is written ("blocks", "responses"), how many are done, and of how many."""


def export(data: Path, file: Path, wanted: Wanted, now: Instant, progress: Progress = lambda *_: None) -> Report:
    """Write the ledger in `data` to `file`, which is replaced when all of it is written. Blocking.

    Raises `ProofRefused`, `Corrupt`, StoreError when the ledger proves nothing or the file cannot be written.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as out:
                report = _Export(data, wanted, Writer(out, now), progress).run()
                out.flush()
                os.fsync(out.fileno())
            draft.rename(file)
            sync_folder(file.absolute().parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError("export cannot be written", file=file, why=error.strerror or str(error)) from error
    return report


class _Export:
    def __init__(self, data: Path, wanted: Wanted, writer: Writer, progress: Progress) -> None:
        self._data = data
        self._wanted = wanted
        self._writer = writer
        self._progress = progress
        self._shards = Shards(data)
        self._report = Report()
        self._erased: dict[Digest, int] = {}
        self._written: dict[Digest, Origin] = {}

    def run(self) -> Report:
        signer = read_key(self._data)
        if signer is None:
            raise ProofRefused("ledger has no key yet; it gets one at the next start of the edge")
        try:
            with closing(connect_to_read(self._data / LEDGER_FILE)) as connection:
                note = read_state(connection).checkpoint
                if note is None:
                    raise ProofRefused("ledger has no checkpoint yet; it gets one at the next start of the edge")
                stated = open_checkpoint(note, signer.verifier, signer.name).checkpoint
                if self._wanted.since >= stated.size:
                    newest = stated.size - 1
                    raise ProofRefused("export would begin behind the newest block", since=self._wanted.since, newest=newest)
                self._begin(note, stated, signer)
                self._blocks(connection, stated)
                self._responses(connection, stated)
        except UNREADABLE as error:
            raise failure(error) from error
        self._end(stated)
        return self._report

    def _begin(self, note: bytes, stated: Checkpoint, signer: Signer) -> None:
        report, vkey = self._report, str(signer.verifier)
        report.origin, report.vkey, report.size = stated.origin, vkey, stated.size
        since = self._wanted.since
        self._writer.info(
            (
                ("software", f"edgeproxy/{__version__}"),
                ("format", "WARC File Format 1.1"),
                ("conformsTo", "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"),
                ("description", f"{FORMAT} of the log {stated.origin}: {stated.size} blocks, heads since block {since}"),
            )
        )
        address = f"https://{stated.origin}"
        self._writer.part("checkpoint", f"{address}/checkpoint", note, _TEXT)
        self._writer.part("key", "urn:edgeproxy:key", f"{vkey}\n".encode(), _TEXT)
        if self._wanted.with_key:
            self._writer.part("private-key", "urn:edgeproxy:private-key", f"{signer.private()}\n".encode(), _TEXT)

    # -- blocks ---------------------------------------------------------------------------------------------------------------

    def _blocks(self, connection: sqlite3.Connection, stated: Checkpoint) -> None:
        """All of them, in bundles, with the names behind them; and that they are what the checkpoint says."""
        frontier = MerkleFrontier()
        first = self._wanted.since // WIDTH * WIDTH
        for rows in _bundles(connection, stated.size):
            for row in rows:
                block = _checked(row)
                frontier.append(block.leaf)
                if isinstance(block.entry, Erase):
                    self._erased[block.entry.url] = block.height
            if rows[0].height >= first:
                self._bundle(rows, stated)
            self._progress("blocks", rows[-1].height + 1, stated.size)
        if (frontier.size, frontier.root()) != (stated.size, stated.root):
            raise Corrupt("blocks are not those of the checkpoint; edgeproxy ledger verify says more", blocks=frontier.size)

    def _bundle(self, rows: list[RawRow], stated: Checkpoint) -> None:
        number = rows[0].height // WIDTH
        partial = "" if len(rows) == WIDTH else f".p/{len(rows)}"
        address = f"https://{stated.origin}/tile/entries/{index_path(number)}{partial}"
        self._writer.part("blocks", address, encode_bundle([row.raw for row in rows]), _BYTES, rows[0].height)
        names: list[list[object]] = []
        for row in rows:
            if row.names is not None:
                try:
                    names.append([row.height, *(column.decode() for column in encode_names(decode_names(row.names)))])
                except (Corrupt, UnicodeDecodeError):
                    continue  # damaged: the export goes without it, and says so by its absence
        self._writer.part("names", f"urn:edgeproxy:names:{number}", json.dumps(names).encode(), _JSON, rows[0].height)

    # -- responses ------------------------------------------------------------------------------------------------------------

    def _responses(self, connection: sqlite3.Connection, stated: Checkpoint) -> None:
        for row in read_rows(connection, self._wanted.since, stated.size):
            entry = _checked(row).entry
            if isinstance(entry, Stored):
                self._response(row, entry)
            if not row.height % 64:
                self._progress("responses", row.height, stated.size)
        self._progress("responses", stated.size, stated.size)

    def _response(self, row: RawRow, entry: Stored) -> None:
        report = self._report
        if self._erased.get(entry.url, -1) > row.height:
            return
        try:
            if row.head is None:
                raise Corrupt("stored head is missing", height=row.height)
            check_head(entry, row.head)
        except Corrupt:
            report.without_heads.append(row.height)
            return
        report.heads += 1
        uri = _url(row) or f"urn:edgeproxy:block:{row.height}"
        first = self._written.get(entry.body)
        if first is not None:
            self._writer.revisit(uri, entry.time, row.head, entry.body, first, row.height)
            return
        if self._wanted.bodies and self._body(row.head, row.height, uri, entry):
            self._written[entry.body] = Origin(uri, entry.time)
            return
        report.without_bodies.append(row.height)
        self._writer.part("head", uri, row.head, "application/http", row.height)

    def _body(self, head: bytes, height: int, uri: str, entry: Stored) -> bool:
        """Write a response, if its body is there and whole: it is read twice, so that a damaged one is never written."""
        try:
            body = self._shards.path(entry.body).open("rb")
        except OSError:
            return False
        with body:
            payload, whole, length = hashlib.sha256(), hashlib.sha256(head + b"\r\n"), 0
            while piece := body.read(_PIECE):
                payload.update(piece)
                whole.update(piece)
                length += len(piece)
            if payload.digest() != entry.body or length != entry.length:
                return False
            body.seek(0)
            self._writer.response(uri, entry.time, Content(head, body, length, payload.digest(), whole.digest()), height)
        self._report.bodies += 1
        self._report.body_bytes += length
        return True

    def _end(self, stated: Checkpoint) -> None:
        report = self._report
        told = {
            "size": stated.size,
            "since": self._wanted.since,
            "heads": report.heads,
            "bodies": self._wanted.bodies,
            "without_heads": report.without_heads,
            "without_bodies": report.without_bodies if self._wanted.bodies else [],
        }
        self._writer.part("end", "urn:edgeproxy:end", json.dumps(told).encode(), _JSON)


def _bundles(connection: sqlite3.Connection, size: int) -> Iterator[list[RawRow]]:
    rows: list[RawRow] = []
    for row in read_rows(connection, 0, size):
        rows.append(row)
        if len(rows) == WIDTH:
            yield rows
            rows = []
    if rows:
        yield rows


def _checked(row: RawRow) -> Block:
    block = verify_block(row.raw, Digest(row.leaf))
    if block.height != row.height:
        raise Corrupt("block says another height", height=row.height)
    return block


def _url(row: RawRow) -> str | None:
    """The URL as it may stand in a field; None when it is not known, or is none."""
    url = row.names[1].decode("utf-8", "replace") if row.names is not None else ""
    return url if url.startswith(("http://", "https://")) and url.isascii() and url.isprintable() and " " not in url else None



