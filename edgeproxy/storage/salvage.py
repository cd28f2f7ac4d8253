"""Reading a damaged ledger database without SQLite: every record that is still whole is found, wherever it lies.

Owns: the reading of SQLite's file format (pages, cells, overflow chains) as far as our own tables need it. Must
not write. It believes no structure: what a record claims is checked by hashes later (`ledger.replay`); a wrong find is harmless.

Source: the SQLite project's "Database File Format", sections 1.6 (b-tree pages) and 2.1 (records).
"""

import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Block, Entry, Genesis, Stored, decode
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.drafts import NameColumns, decode_names
from edgeproxy.ledger.replay import RawRow, Restored, TreeHead, decode_restored, decode_tree_head
from edgeproxy.ledger.verify import check_names
from edgeproxy.storage.ledger_log import read_log
from edgeproxy.storage.ledger_rows import PAGE_SIZE
from edgeproxy.storage.witness import read_witness

_TABLE_LEAF = 0x0D
_MAX_LOCAL = PAGE_SIZE - 35
_MIN_LOCAL = (PAGE_SIZE - 12) * 32 // 255 - 23
_RECORD_START = re.compile(rb"[\x03-\x10]\x00")
"""Length of a record's header, then the NULL that stands for the row's number; before it, 2 to 7 bytes of length and number."""
_MAX_PAYLOAD = 1 << 20
"""No row of ours is longer; a length beyond it is damage."""
_MAX_STRAY = 100
_THOROUGH_LIMIT = 64 << 20
"""Bytes of pages that are searched offset by offset when rows are missing."""


@dataclass(slots=True)
class Salvaged:
    """What was found. `blocks` are those that decode, by the height they say; `damaged` are others, by their row's number.

    Heads and names are kept by what they are as well as by the number of their row, since that number may be what is damaged.
    """

    blocks: dict[int, tuple[Block, bytes]] = field(default_factory=dict)
    damaged: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    heads_by_digest: dict[Digest, bytes] = field(default_factory=dict)
    names: dict[int, list[NameColumns]] = field(default_factory=dict)
    tree_head: TreeHead | None = None
    genesis: Block | None = None
    checkpoint: bytes | None = None
    restored: Restored | None = None

    def size(self) -> int:
        """How many blocks the ledger had, as far as can be told."""
        known = [height + 1 for height in self.blocks]
        return max([*known, self.tree_head.size if self.tree_head else 0], default=0)

    def gaps(self) -> bool:
        """Whether a row is missing that should be there, or nothing was found at all."""
        if not self.blocks:
            return True
        for height in range(self.size()):
            found = self.blocks.get(height)
            if found is None:
                return True
            entry = found[0].entry
            if isinstance(entry, Stored) and (height not in self.names or entry.head not in self.heads_by_digest):
                return True
        return False

    def rows(self) -> Iterator[RawRow]:
        """One row for each height; empty bytes where nothing is left, so that every later audit names it."""
        first = self.blocks[0][0] if 0 in self.blocks else self.genesis
        salt = first.entry.salt if first is not None and isinstance(first.entry, Genesis) else b""
        stray = self._stray_names(salt)
        for height in range(self.size()):
            found = self.blocks.get(height)
            raw, leaf = (found[0].raw, found[1]) if found else self.damaged.get(height, (b"", b""))
            if height == 0 and not found and self.genesis is not None:
                raw, leaf = self.genesis.raw, self.genesis.leaf
            head, names = self.heads.get(height), self.names.get(height, [])
            if found is not None:
                entry = found[0].entry
                head = self.heads_by_digest.get(entry.head, head) if isinstance(entry, Stored) else None
                names = [columns for columns in names + stray if _are_names_of(entry, columns, salt)] or names
            yield RawRow(height, raw, leaf, head, names[0] if names else None)

    def _stray_names(self, salt: bytes) -> list[NameColumns]:
        """Names that do not belong to the block of their number."""
        stray = []
        for number, found in self.names.items():
            block = self.blocks.get(number)
            stray += [columns for columns in found if block is None or not _are_names_of(block[0].entry, columns, salt)]
        return stray[:_MAX_STRAY]

    def add_names(self, number: int, columns: NameColumns) -> None:
        """Another find; the same again changes nothing."""
        found = self.names.setdefault(number, [])
        if columns not in found:
            found.append(columns)


def _are_names_of(entry: Entry, columns: NameColumns, salt: bytes) -> bool:
    try:
        check_names(entry, decode_names(columns), salt)
    except Corrupt:
        return False
    return True


def salvage(path: Path, *, doubtful: bool = True) -> Salvaged:
    """Everything that can be found in the database at `path` and its log; `doubtful`: also where SQLite would not look."""
    found = Salvaged()
    log = read_log(path)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        try:
            image = _Image(pages if pages is not None else b"", log.pages)
            for number in image.numbers():
                _search(image, image.page(number), found, start=100 if number == 1 else 0)
            if not doubtful:
                return found
            whole = _Image(image.data, log.pages | log.doubtful)
            # What SQLite would not replay is added only where it does not contradict what it would.
            _extend(found, whole, log.frames)
            if found.gaps():
                _search_thoroughly(whole, found)
        finally:
            if pages is not None:
                pages.close()
    return found


# -- pages -----------------------------------------------------------------------------------------------------------------


class _Image:
    """The pages of the database as its log leaves them."""

    __slots__ = ("_newer", "data")

    def __init__(self, data: mmap.mmap | bytes, newer: dict[int, bytes]) -> None:
        self.data = data
        self._newer = newer

    def numbers(self) -> range:
        return range(1, max([(len(self.data) + PAGE_SIZE - 1) // PAGE_SIZE, *self._newer]) + 1)

    def page(self, number: int) -> bytes:
        newer = self._newer.get(number)
        if newer is not None:
            return newer
        start = (number - 1) * PAGE_SIZE
        return self.data[start : start + PAGE_SIZE].ljust(PAGE_SIZE, b"\0")


def _search(image: _Image, page: bytes, found: Salvaged, *, start: int = 0) -> None:
    if page[start] != _TABLE_LEAF:
        return
    count = struct.unpack_from(">H", page, start + 3)[0]
    for index in range(min(count, (PAGE_SIZE - start - 8) // 2)):
        offset = struct.unpack_from(">H", page, start + 8 + 2 * index)[0]
        _take_cell(image, page, offset, found)


def _search_thoroughly(image: _Image, found: Salvaged) -> None:
    """Try every offset of every page: a damaged pointer, count or page type hides no record."""
    budget = _THOROUGH_LIMIT
    for number in image.numbers():
        budget -= PAGE_SIZE
        if budget < 0:
            return
        page = image.page(number)
        for start in _RECORD_START.finditer(page):
            for width in range(2, 8):
                if start.start() >= width:
                    _take_cell(image, page, start.start() - width, found)


def _take_cell(image: _Image, page: bytes, offset: int, found: Salvaged) -> None:
    with suppress(ValueError, IndexError, struct.error):
        length, offset = _varint(page, offset)
        number, offset = _varint(page, offset)
        if 3 <= length <= _MAX_PAYLOAD and number < 1 << 53:
            columns = _columns(_payload(image, page, offset, length))
            if columns is not None:
                _classify(number, columns, found)


def _payload(image: _Image, page: bytes, offset: int, length: int) -> bytes:
    if length <= _MAX_LOCAL:
        if offset + length > PAGE_SIZE:
            raise ValueError("record leaves its page")
        return page[offset : offset + length]
    local = _MIN_LOCAL + (length - _MIN_LOCAL) % (PAGE_SIZE - 4)
    local = local if local <= _MAX_LOCAL else _MIN_LOCAL
    data = bytearray(page[offset : offset + local])
    following = struct.unpack_from(">I", page, offset + local)[0]
    while len(data) < length:
        if following not in image.numbers():
            raise ValueError("overflow chain is broken")
        page = image.page(following)
        following = struct.unpack_from(">I", page)[0]
        data += page[4 : 4 + length - len(data)]
    return bytes(data)


def _columns(payload: bytes) -> list[bytes] | None:
    """The BLOB columns of a record whose first column is the NULL of a row number; None for any other record."""
    size, offset = _varint(payload, 0)
    if not 3 <= size <= 32 or payload[offset] != 0:
        return None
    offset += 1
    types = []
    while offset < size:
        kind, offset = _varint(payload, offset)
        if kind < 12 or kind & 1:
            return None
        types.append((kind - 12) // 2)
    if offset != size or size + sum(types) != len(payload):
        return None
    columns = []
    for length in types:
        columns.append(payload[offset : offset + length])
        offset += length
    return columns


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = data[offset + index]
        if index == 8:
            return value << 8 | byte, offset + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + index + 1
    raise ValueError("varint is too long")


def _classify(number: int, columns: list[bytes], found: Salvaged) -> None:
    """Tell the tables apart by their columns; the first find of a row stays."""
    match columns:
        case [data]:
            found.heads.setdefault(number, data)
            found.heads_by_digest[sha256(data)] = data
        case [site, value, extra]:
            found.add_names(number, (site, value, extra))
        case [data, total] if sha256(data) == total:
            _take_state(data, found)
        case [raw, leaf]:
            try:
                block = decode(raw)
            except Corrupt:
                found.damaged.setdefault(number, (raw, leaf))
                return
            if block.leaf != leaf and block.height != number:
                # Two of three disagree: the height it says may be what is damaged.
                found.damaged.setdefault(number, (raw, leaf))
                return
            kept = found.blocks.get(block.height)
            # The leaf hash beside a block is its witness: a copy that agrees with it wins.
            if kept is None or (kept[0].leaf != kept[1] and block.leaf == leaf):
                found.blocks[block.height] = (block, leaf)
        case _:
            pass


def _take_state(data: bytes, found: Salvaged) -> None:
    with suppress(Corrupt):
        head = decode_tree_head(data)
        if found.tree_head is None or head.size > found.tree_head.size:
            found.tree_head = head
        return
    with suppress(Corrupt):
        block = decode(data)
        if block.op == "genesis":
            found.genesis = block
        return
    with suppress(Corrupt):
        found.restored = decode_restored(data)
        return
    checkpoint, kept = read_checkpoint(data), read_checkpoint(found.checkpoint)
    # The largest one that was ever signed is what must not be contradicted.
    if checkpoint is not None and (kept is None or checkpoint.size > kept.size):
        found.checkpoint = data


def _extend(found: Salvaged, image: _Image, doubtful: list[bytes]) -> None:
    """Add what doubtful pages have more, unless they tell another story than the committed ones.

    A transaction that failed at its very end may lie there under one that was committed in its place: both begin at the same
    height with different blocks, and then nothing of it is taken.
    """
    extra = Salvaged()
    for page in reversed(doubtful):
        _search(image, page, extra)
    for height, (block, leaf) in extra.blocks.items():
        kept = found.blocks.get(height)
        if kept is not None and kept[0].leaf == kept[1] and block.leaf == leaf and kept[1] != leaf:
            return
    found.blocks = extra.blocks | found.blocks
    found.damaged = extra.damaged | found.damaged
    found.heads = extra.heads | found.heads
    found.heads_by_digest |= extra.heads_by_digest
    for number, names in extra.names.items():
        for columns in names:
            found.add_names(number, columns)
    found.genesis = found.genesis or extra.genesis
    found.checkpoint = found.checkpoint or extra.checkpoint
    found.restored = found.restored or extra.restored
    if extra.tree_head is not None and (found.tree_head is None or extra.tree_head.size > found.tree_head.size):
        found.tree_head = extra.tree_head


def log_is_damaged(path: Path) -> bool:
    """Whether the log beside `path` has committed transactions that SQLite would drop, because a checksum before them fails.

    What a crash cuts off in the middle of a transaction looks alike, except that nothing of it was acknowledged.
    """
    log = read_log(path)
    if not log.frames:
        return False
    acknowledged = read_witness(path)
    if acknowledged is None:
        # Nothing tells. A kill leaves at most the last frame broken.
        return log.beyond > 0
    committed = salvage(path, doubtful=False).tree_head
    return acknowledged > (committed.size if committed is not None else 0)
