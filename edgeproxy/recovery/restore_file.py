"""A ledger out of the file that `ledger export` wrote.

Owns: the order of its records, and their bounds. Must not judge what they say; `staging` does.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from edgeproxy.caching.model import Digest, Height
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Stored, body_of
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.drafts import NameColumns
from edgeproxy.ledger.note_keys import Signer, Verifier, parse_signer, parse_verifier
from edgeproxy.ledger.notes import MAX_NOTE
from edgeproxy.ledger.tiles import MAX_ENTRY, WIDTH, decode_bundle
from edgeproxy.recovery.lots import Lot
from edgeproxy.recovery.restore import Absent, Progress, Start
from edgeproxy.recovery.staging import Needed, Staging
from edgeproxy.recovery.warc import Record, read_records

MAX_HEAD = 1 << 20
_MAX_KEY = 4_096
_MAX_NAMES = 64 << 20
_MAX_END = 256 << 20
_PIECE = 1 << 18


class FileSource:
    """An export, read once from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        """Raises `ProofRefused` when the file cannot be opened."""
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise ProofRefused("export cannot be read", file=path, why=error.strerror) from error
        self._records: Iterator[Record] = read_records(self._file)
        self._next: Record | None = None

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _peek(self) -> Record | None:
        if self._next is None:
            self._next = next(self._records, None)
        return self._next

    def _take(self, *kinds: str) -> Iterator[Record]:
        """The next records as long as they are of these kinds."""
        while (record := self._peek()) is not None and record.kind in kinds:
            self._next = None
            yield record

    # -- Source ---------------------------------------------------------------------------------------------------------------

    async def start(self) -> Start:
        parts: dict[str, bytes] = {}
        for record in self._take("warcinfo", "checkpoint", "key", "private-key"):
            parts[record.kind] = record.whole(MAX_NOTE if record.kind == "checkpoint" else 1 << 16)
        if "checkpoint" not in parts:
            raise ProofRefused("file is no export of a ledger: it begins without a checkpoint")
        return Start(parts["checkpoint"], _verifier(parts.get("key")), _signer(parts.get("private-key")))

    async def blocks(self, staging: Staging, stated: Checkpoint, progress: Progress) -> None:
        for record in self._take("blocks", "names"):
            if record.block is None or record.block > stated.size:
                raise ProofRefused("record does not say of which blocks it is", record=record.kind)
            if record.kind == "names":
                if record.block >= staging.size:
                    raise ProofRefused("blocks are missing", block=staging.size)
                staging.add_names(_names(record.whole(_MAX_NAMES)))
                continue
            width = min(WIDTH, stated.size - record.block)
            data = record.whole(width * (MAX_ENTRY + 2))
            try:
                entries = decode_bundle(data, width)
            except ProofRefused as error:
                raise ProofRefused(error.text, block=record.block, **error.fields) from None
            staging.add_blocks(entries, record.block)
            progress("blocks", staging.size, stated.size)

    async def contents(self, staging: Staging, needed: Needed, progress: Progress) -> Absent:
        last = "the blocks"
        async with aclosing(Lot(staging)) as lot:
            for record in self._take("response", "revisit", "head"):
                if record.block is None or record.block >= staging.size:
                    raise ProofRefused("record does not say of which block it is", record=record.kind, after=last)
                await self._content(record, Height(record.block), staging, needed, lot)
                last = f"block {record.block}"
                if not record.block % 16:
                    progress("contents", record.block, staging.size)
            await lot.flush()
        end = next(self._take("end"), None)
        told = end.whole(_MAX_END) if end is not None else None
        if told is None or self._peek() is not None:
            raise ProofRefused("export is not whole: its last record is missing, or not the last", after=last)
        return _absent(told, staging)

    async def _content(self, record: Record, height: Height, staging: Staging, needed: Needed, lot: Lot) -> None:
        entry = staging.block(height).entry
        if not isinstance(entry, Stored):
            raise ProofRefused("record is of a block that stores no response", block=height)
        wants_body = record.kind == "response" and entry.body in needed.bodies and not lot.has_body(entry.body)
        if height not in needed.heads and not wants_body:
            return  # taken before, or erased since
        head, rest = _head(record)
        if height in needed.heads:
            await lot.head(height, head)
        if wants_body:
            if record.length - len(head) - 2 != entry.length:
                raise ProofRefused("body has another length than its block says", block=height)
            await lot.body(height, body_of(entry), _pieces(record, rest))


def _head(record: Record) -> tuple[bytes, bytes]:
    """The stored head, and the first bytes of what follows the empty line."""
    if record.kind == "head":
        return record.whole(MAX_HEAD), b""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        piece = record.read(_PIECE)
        if not piece or len(data) > MAX_HEAD:
            raise ProofRefused("record has no HTTP head", **record.where)
        data += piece
    return bytes(data[: end + 2]), bytes(data[end + 4 :])


async def _pieces(record: Record, first: bytes) -> AsyncIterator[bytes]:
    if first:
        yield first
    while piece := record.read(_PIECE):
        yield piece


def _verifier(data: bytes | None) -> Verifier | None:
    if data is None:
        return None
    try:
        return parse_verifier(data[:_MAX_KEY].decode().removesuffix("\n"))
    except UnicodeDecodeError:
        raise ProofRefused("key in the export is not text") from None


def _signer(data: bytes | None) -> Signer | None:
    if data is None:
        return None
    try:
        return parse_signer(data[:_MAX_KEY].decode().removesuffix("\n"))
    except UnicodeDecodeError:
        raise ProofRefused("private key in the export is not text") from None


def _names(data: bytes) -> Iterator[tuple[int, NameColumns]]:
    try:
        for height, site, value, extra in json.loads(data):
            if not isinstance(height, int) or height < 0:
                raise TypeError(height)
            yield height, (site.encode(), value.encode(), extra.encode())
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ProofRefused("names in the export cannot be read") from None


def _absent(data: bytes, staging: Staging) -> Absent:
    """What the last record says is not there."""
    try:
        told = json.loads(data)
        heads = {int(height) for height in told["without_heads"]}
        bodies = {int(height) for height in told["without_bodies"]}
        has_bodies = bool(told["bodies"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ProofRefused("last record of the export cannot be read") from None
    entries = [staging.block(Height(height)).entry for height in bodies if 0 <= height < staging.size]
    digests: set[Digest] = {entry.body for entry in entries if isinstance(entry, Stored)}
    return Absent(frozenset(heads), frozenset(digests), all_bodies=not has_bodies)
