"""Reading a whole ledger again: which of its rows are good, what is wrong with the others, and how the chain goes on.

Owns: the judgement over stored rows. Must not read or write a store; rows come in by height, an account comes out. Recovery at
start and the audit both use it, so that what one finds the other finds.

How a row is judged. A row keeps a block's bytes and, apart from them, its leaf hash; the next block names that hash again in
`prev`; the tree head keeps the last one and the root over all. So one damaged place is always outvoted:
  bytes ≠ leaf, next block says leaf     the bytes are damaged: the version is not used, the chain goes on over the leaf hash
  bytes ≠ leaf, next block says bytes    the leaf column is damaged: the block is good
  bytes = leaf, next block says neither  the next row is damaged, or it is a fork: the next row is not used
A damaged row is kept as it is, so it is named by every later audit. The tree head is the authority on where to go on when it is
itself intact: a new block is never chained to something that the old head did not cover.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Block, Entry, Erase, Genesis, Purge, Receipt, Release, Rollback, Stored, decode
from edgeproxy.ledger.digests import ZERO, sha256, site_salt, url_digest
from edgeproxy.ledger.drafts import ErasedNames, NameColumns, Names, PurgeNames, ReceiptNames, StoredNames, decode_names
from edgeproxy.ledger.fold import Fold
from edgeproxy.ledger.merkle import EMPTY_ROOT, MerkleFrontier, leaf_hash
from edgeproxy.ledger.pages import CleanPage, Columns, KeptPage, judge_page
from edgeproxy.ledger.tiles import HEIGHT, TileTree
from edgeproxy.ledger.tree_head import (
    EMPTY_HEAD,
    Restored,
    TreeHead,
    decode_restored,
    decode_tree_head,
    encode_restored,
    encode_tree_head,
)
from edgeproxy.ledger.verify import check_head, check_names

MAX_FAULTS = 10_000
"""Faults that are listed; more are only counted."""


class FaultKind(StrEnum):
    """What is wrong with a ledger or its bodies."""

    DATABASE = "database"
    MISSING = "missing"
    BLOCK = "block"
    LEAF = "leaf"
    CHAIN = "chain"
    TIME = "time"
    NAMES = "names"
    HEAD = "head"
    ROOT = "root"
    CHECKPOINT = "checkpoint"
    BODY_DAMAGED = "body-damaged"
    BODY_MISSING = "body-missing"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `height` is that of the block concerned, for a body the newest that names it; `digest` that of the
    body, and `url`, where it is known, the page whose it is."""

    kind: FaultKind
    height: Height | None
    digest: Digest | None
    text: str
    url: str = ""

    def __str__(self) -> str:
        where = [] if self.kind is FaultKind.BLOCK and self.height is not None else [str(self.kind)]
        where += [f"block {self.height}"] if self.height is not None else []
        where += [f"body {self.digest.hex()}"] if self.digest else []
        where += [f"of {self.url}"] if self.url else []
        return f"{' '.join(where)}: {self.text}"


class RawRow(msgspec.Struct, frozen=True, gc=False):
    """What a store has at one height, unchecked. `leaf` may have any length; `head` and `names` are None when there is no row."""

    height: int
    raw: bytes
    leaf: bytes
    head: bytes | None
    names: NameColumns | None


@dataclass(frozen=True, slots=True)
class Account:
    """What a ledger came to. `faults` are in order of height, at most `MAX_FAULTS`; `fault_count` counts all.

    `head` is where to go on; `good` counts the usable blocks. `tiles` is the tree below `head`, None when that is another.
    `watched` is the root over the first blocks, as many as `Replay.watch` says; None when it is unknown. `unerased` are the
    heights of blocks that were erased and whose heads or names are there all the same.
    """

    fold: Fold
    head: TreeHead
    faults: tuple[Fault, ...]
    fault_count: int
    good: int
    missing: tuple[int, ...]
    tiles: TileTree | None
    watched: Digest | None
    unerased: tuple[int, ...] = ()


@dataclass(slots=True)
class _Judged:
    """A row after looking at it alone."""

    row: RawRow
    block: Block | None
    computed: Digest | None
    kept: Digest | None
    why: str = ""

    @property
    def agrees(self) -> bool:
        return self.block is not None and self.computed == self.kept


@dataclass(slots=True)
class Replay:
    """Takes rows in ascending order of height, then `finish`. `genesis` is a second copy of block 0; both may be None.

    `watch` is a size whose root is wanted: that of a checkpoint that was signed once. `restored` says what need not be there.

    What misses its head or names is a fault, unless a later block says that it was erased: so such faults wait until the end.
    """

    stored_head: TreeHead | None
    genesis: bytes | None
    watch: int | None = None
    restored: Restored | None = None
    folds: bool = True
    """Whether the account's fold is wanted; without it what is clean costs less, and the fold is of no use."""
    _bare: dict[Digest, list[tuple[Fault, bool]]] = field(init=False, default_factory=dict)
    _unerased: list[int] = field(init=False, default_factory=list)
    _naming: dict[Digest, list[int]] = field(init=False, default_factory=dict)
    _fold: Fold = field(init=False)
    _faults: list[Fault] = field(init=False, default_factory=list)
    _fault_count: int = field(init=False, default=0)
    _good: int = field(init=False, default=0)
    _missing: list[int] = field(init=False, default_factory=list)
    _frontier: MerkleFrontier | None = field(init=False, default_factory=MerkleFrontier)
    _tiles: TileTree = field(init=False, default_factory=TileTree)
    _watched: Digest | None = field(init=False, default=None)
    _waiting: _Judged | None = field(init=False, default=None)
    _next: int = field(init=False, default=0)
    _last: Digest | None = field(init=False, default=ZERO)
    _time: Instant = field(init=False, default=Instant(0))

    def __post_init__(self) -> None:
        self._fold = Fold(_salt_of(self.genesis))
        if self.watch == 0:
            self._watched = EMPTY_ROOT

    def feed(self, rows: Iterable[RawRow]) -> None:
        """Take the next rows."""
        for row in rows:
            judged = _judge(row)
            expected = self._waiting.row.height + 1 if self._waiting else self._next
            if row.height < expected:
                self._fault(FaultKind.DATABASE, row.height, "row is out of order")
                continue
            if self._waiting:
                self._settle(self._waiting, judged if row.height == expected else None)
            self._skip_to(row.height, judged)
            self._waiting = judged

    @property
    def genesis_salt(self) -> bytes:
        """As far as it is known by now."""
        return self._fold.genesis_salt

    def feed_page(self, rows: Sequence[Columns], to_row: Callable[[Columns], RawRow]) -> None:
        """As `feed`, for rows as the store has them, a page at a time: what is clean costs a fraction."""
        if rows and self._next == 0 and self._waiting is None:
            # Block 0 says with which salt the others are to be read.
            self.feed(map(to_row, rows[:1]))
            rows = rows[1:]
        page = judge_page(rows, self._next, self.genesis_salt, keep=self.folds) if self._needs_no_witness() else None
        if page is None or not self.take(page):
            self.feed(map(to_row, rows))

    def _needs_no_witness(self) -> bool:
        """Settle the row that waits for the next one, if that has nothing to say about it."""
        if self._waiting is not None and self._waiting.agrees:
            self._settle(self._waiting, None)
            self._waiting = None
        return self._waiting is None

    def take(self, page: CleanPage) -> bool:
        """Take rows of which it is known that each is good; False when they do not simply follow: then `feed` must judge them.

        The page must have been judged with this ledger's `genesis_salt`.
        """
        if not self._needs_no_witness():
            return False
        follows = page.start == self._next and page.prev == self._last and page.first_time >= self._time
        if not follows or (self.watch is not None and page.start < self.watch < page.end):
            return False
        self._tiles.extend_by_tiles(page.tiles, page.leaves)
        if self._frontier is not None:
            for root in page.tiles:
                self._frontier.append_subtree(HEIGHT, root)
            self._frontier.extend(page.leaves)
            if self._frontier.size == self.watch:
                self._watched = self._frontier.root()
        self._next, self._last, self._time = page.end, page.last, page.last_time
        self._good += page.count
        if self.folds:
            assert isinstance(page, KeptPage), "a fold needs to know what is in the rows"
            for block, names in zip(page.blocks, page.names, strict=True):
                self._fold.apply(block, names)
                if not isinstance(names, StoredNames):
                    self._note_naming(block, names)
        return True

    def finish(self) -> Account:
        """The account. Nothing can be fed after."""
        if self._waiting:
            self._settle(self._waiting, None)
            self._waiting = None
        self._settle_bare()
        head = self._conclude()
        missing, unerased = tuple(self._missing), tuple(self._unerased)
        tiles, faults = self._tiles_under(head), tuple(self._faults)
        return Account(self._fold, head, faults, self._fault_count, self._good, missing, tiles, self._watched, unerased)

    def _settle_bare(self) -> None:
        """Nobody erased these."""
        late = [fault for faults in self._bare.values() for fault, _ in faults]
        if late:
            self._bare.clear()
            self._fault_count += len(late)
            self._faults = sorted(self._faults + late, key=_order)[:MAX_FAULTS]

    def _tiles_under(self, head: TreeHead) -> TileTree | None:
        """The tree for `head`, with what was lost as unknown; None when the rows add up to another."""
        if self._frontier is not None and self._frontier.size == head.size and self._frontier.root() != head.root:
            return None
        while self._tiles.size < head.size:
            self._tiles.append(None)
        return self._tiles if self._tiles.size == head.size else None

    def _fault(self, kind: FaultKind, height: int | None, text: str) -> None:
        self._fault_count += 1
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(kind, None if height is None else Height(height), None, text))

    def _skip_to(self, height: int, then: _Judged) -> None:
        while self._next < height:
            self._fault(FaultKind.MISSING, self._next, "there is no such row")
            self._missing.append(self._next)
            # The block after a gap of one names the hash of what is missing.
            known = then.block.prev if then.agrees and then.block and self._next == height - 1 else None
            self._advance(known)

    def _advance(self, leaf: Digest | None) -> None:
        """One height further in the chain. Without its leaf hash the root cannot be computed any more."""
        self._last = leaf
        self._tiles.append(leaf)
        if leaf is None:
            self._frontier = None
        elif self._frontier is not None:
            self._frontier.append(leaf)
            if self._frontier.size == self.watch:
                self._watched = self._frontier.root()
        self._next += 1

    def _settle(self, judged: _Judged, then: _Judged | None) -> None:
        """Decide what is true at this height, with the next row (if it is there) as witness."""
        leaf, block = self._true_leaf(judged, then), judged.block
        row = judged.row
        if block is None:
            self._fault(FaultKind.BLOCK, row.height, judged.why or "block is damaged")
        elif leaf != judged.computed:
            self._fault(FaultKind.BLOCK, row.height, "block does not match its leaf hash")
            block = None
        elif judged.computed != judged.kept:
            self._fault(FaultKind.LEAF, row.height, "leaf hash kept beside the block is damaged")
        if block is not None and self._last is not None and block.prev != self._last:
            self._fault(FaultKind.CHAIN, row.height, "block does not follow from the one before it")
            block = None
        if block is not None and block.time < self._time:
            self._fault(FaultKind.TIME, row.height, "block is older than the one before it")
        self._advance(leaf)
        if block is None and row.height == 0:
            block = self._second_genesis(leaf)
        if block is None:
            self._apply_damaged(row)
            return
        self._time = Instant(max(self._time, block.time))
        self._good += 1
        self._apply(block, row)

    def _true_leaf(self, judged: _Judged, then: _Judged | None) -> Digest | None:
        if judged.agrees:
            return judged.computed
        witness = None
        if then is not None and then.block is not None and then.agrees:
            witness = then.block.prev
        elif then is None and self.stored_head is not None and self.stored_head.size == judged.row.height + 1:
            witness = self.stored_head.last
        elif then is not None and then.block is not None and then.block.prev in (judged.computed, judged.kept):
            witness = then.block.prev
        if witness is not None:
            return witness
        return judged.kept

    def _second_genesis(self, leaf: Digest | None) -> Block | None:
        if self.genesis is None or leaf is None or leaf_hash(self.genesis) != leaf:
            return None
        return decode(self.genesis)

    def _apply(self, block: Block, row: RawRow) -> None:
        entry = block.entry
        if isinstance(entry, Genesis) and self._fold.height < 0:
            self._fold = Fold(entry.salt)
        names = self._names(block, row)
        good = not isinstance(entry, Stored) or self._has_head(entry, row)
        if isinstance(entry, Erase):
            self._erase(entry)
        if good and names is None and isinstance(entry, Stored) and self._may_lack(row, names=True):
            self._fold.apply_blind(block)
        else:
            self._fold.apply(block, names if good else None)

    def _has_head(self, entry: Stored, row: RawRow) -> bool:
        if row.head is None:
            if not self._may_lack(row, names=False):
                self._set_bare(entry.url, FaultKind.HEAD, row, "stored head is missing")
            return False
        try:
            check_head(entry, row.head)
        except Corrupt as error:
            self._fault(FaultKind.HEAD, row.height, error.text)
            return False
        return True

    def _may_lack(self, row: RawRow, *, names: bool) -> bool:
        """Whether the source of this ledger had no names (or not all heads) itself."""
        restored = self.restored
        if restored is None or row.height >= restored.below:
            return False
        return row.names is None and not restored.names if names else not restored.heads

    def _set_bare(self, url: Digest, kind: FaultKind, row: RawRow, text: str) -> None:
        left = row.head is not None or row.names is not None
        self._bare.setdefault(url, []).append((Fault(kind, Height(row.height), None, text), left))

    def _erase(self, entry: Erase) -> None:
        """What is missing of this URL is missing rightly, and what is not should be."""
        for fault, left in self._bare.pop(entry.url, ()):
            if left and fault.height is not None:
                self._unerased.append(fault.height)
        self._unerased += self._fold.heights_of(entry.url) + self._naming.pop(entry.url, [])

    def _names(self, block: Block, row: RawRow) -> Names | None:
        if row.names is None and _has_names(block.entry):
            if isinstance(block.entry, Stored | Receipt) and not self._may_lack(row, names=True):
                self._set_bare(block.entry.url, FaultKind.NAMES, row, "private row is missing or of another kind")
                return None
            if self._may_lack(row, names=True):
                return None
        try:
            names = decode_names(row.names) if row.names is not None else None
            check_names(block.entry, names, self._fold.genesis_salt)
        except Corrupt as error:
            self._fault(FaultKind.NAMES, row.height, error.text)
            return None
        if isinstance(names, ErasedNames):
            fault = Fault(FaultKind.NAMES, Height(row.height), None, "names were taken out, and no block erases what they named")
            self._bare.setdefault(names.url, []).append((fault, False))
        self._note_naming(block, names)
        return names

    def _note_naming(self, block: Block, names: Names | None) -> None:
        """Rows besides those of versions that name one URL: an erasure takes them too."""
        if isinstance(names, ReceiptNames) and isinstance(block.entry, Receipt):
            self._naming.setdefault(block.entry.url, []).append(block.height)
        elif isinstance(names, PurgeNames) and names.kind == "url":
            url = url_digest(site_salt(self.genesis_salt, names.site), names.value)
            self._naming.setdefault(url, []).append(block.height)

    def _apply_damaged(self, row: RawRow) -> None:
        """A rule whose block is damaged is obeyed from its private row, where that says enough."""
        if row.names is None:
            return
        try:
            names = decode_names(row.names)
        except Corrupt:
            return
        self._fold.rules.apply_damaged(Height(row.height), names)

    def _conclude(self) -> TreeHead:
        """Compare with the stored tree head, and say where to go on."""
        kept, size = self.stored_head, self._next
        if kept is None:
            if size:
                self._fault(FaultKind.ROOT, None, "tree head is missing or damaged")
            return self._own_head()
        for height in range(size, kept.size):
            self._fault(FaultKind.MISSING, height, "there is no such row")
            self._missing.append(height)
        if kept.size < size:
            # One transaction writes both, so a whole head cannot be older than the rows: it is one from another time.
            self._fault(FaultKind.ROOT, None, f"tree head covers {kept.size} of {size} blocks")
            return self._own_head()
        if self._frontier is not None and kept.size == size and self._frontier.root() != kept.root:
            self._fault(FaultKind.ROOT, None, "root of the blocks is not that of the tree head")
        return kept

    def _own_head(self) -> TreeHead:
        if self._frontier is None or self._last is None:
            raise Corrupt("neither the blocks nor the tree head say how the chain goes on", blocks=self._next)
        frontier = self._frontier
        return TreeHead(frontier.size, frontier.root(), self._time, self._last, frontier.peaks)


def _order(fault: Fault) -> int:
    return fault.height if fault.height is not None else 1 << 62


def _has_names(entry: Entry) -> bool:
    return isinstance(entry, Stored | Purge | Rollback | Release | Receipt)


def _judge(row: RawRow) -> _Judged:
    kept = Digest(row.leaf) if len(row.leaf) == 32 else None
    try:
        block = decode(row.raw)
    except Corrupt as error:
        return _Judged(row, None, leaf_hash(row.raw) if row.raw else None, kept, error.text)
    if block.height != row.height:
        return _Judged(row, None, block.leaf, kept, "block says another height")
    return _Judged(row, block, block.leaf, kept)


def _salt_of(genesis: bytes | None) -> bytes:
    """The salt in the second copy of block 0; zeros when it is not there, then no name can be checked and none is believed."""
    if genesis is not None:
        try:
            entry = decode(genesis).entry
        except Corrupt:
            return bytes(32)
        if isinstance(entry, Genesis):
            return entry.salt
    return bytes(32)


def head_checksum(data: bytes) -> bytes:
    """Kept beside each row of small state, so that damage to it is told from a lie."""
    return sha256(data)


__all__ = [
    "EMPTY_HEAD",
    "MAX_FAULTS",
    "Account",
    "Fault",
    "FaultKind",
    "RawRow",
    "Replay",
    "Restored",
    "TreeHead",
    "decode_restored",
    "decode_tree_head",
    "encode_restored",
    "encode_tree_head",
    "head_checksum",
]
