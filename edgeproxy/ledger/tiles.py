"""Tiles (C2SP tlog-tiles): the Merkle tree and the entries cut into files that never change once they are full.

Owns: their names, widths and bytes, and `TileTree`, the upper part of a growing tree. Must not read or write a file.

A hash tile of level L holds 256 hashes: at level 0 those of the leaves, above that the roots of 256 full tiles one level down.
Item i of tile N at level L is the root over the entries [(256 N + i) 256**L, (256 N + i + 1) 256**L). An entry bundle holds the
256 entries of a tile of level 0, each after its length in 16 bits.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.merkle import leaf_hash, parents_of, root_of
from edgeproxy.ledger.strict import MAX_NUMBER

HEIGHT = 8
WIDTH = 256
MAX_LEVEL = 63
MAX_ENTRY = 65_535

_parse = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?", re.ASCII
).fullmatch


@dataclass(frozen=True, slots=True)
class Tile:
    """One resource. `level` None is an entry bundle; `width` counts its items, `WIDTH` when it is full."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix, as `tile/0/x001/234.p/7`."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"

    @property
    def height(self) -> int:
        """Level of the items in the tree of hashes: 0 for the leaves, which an entry bundle stands for too."""
        return self.level or 0

    @property
    def start(self) -> int:
        """Index of the first item at its level."""
        return self.index * WIDTH


def index_path(index: int) -> str:
    """A tile's number in groups of three digits, all but the last marked with an x."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def parse_tile_path(path: str) -> Tile:
    """The tile that a path names. Every tile has one path; `ProofRefused` for anything else."""
    match = _parse(path)
    if match is None:
        raise ProofRefused("not the path of a tile")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("/", "").replace("x", ""))
    width = int(match["width"] or WIDTH)
    if (level or 0) > MAX_LEVEL or index > MAX_NUMBER // WIDTH or (match["width"] and width >= WIDTH):
        raise ProofRefused("tile is out of range")
    if index_path(index) != match["index"]:
        raise ProofRefused("not the path of a tile")
    return Tile(level, index, width)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every hash tile and entry bundle of a log of `size` entries."""
    for level in (None, *range(MAX_LEVEL + 1)):
        items = size >> HEIGHT * (level or 0)
        if not items:
            return
        for index in range(items // WIDTH):
            yield Tile(level, index)
        if items % WIDTH:
            yield Tile(level, items // WIDTH, items % WIDTH)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle. Raises ValueError for an entry that is too long."""
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise ValueError("entry is too long")
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises `ProofRefused` when there are more or fewer bytes."""
    entries: list[bytes] = []
    offset = 0
    for _ in range(width):
        if offset + 2 > len(data):
            raise ProofRefused("entry bundle ends too early", entries=len(entries))
        offset += 2
        end = offset + int.from_bytes(data[offset - 2 : offset], "big")
        if end > len(data):
            raise ProofRefused("entry bundle ends within an entry", entries=len(entries))
        entries.append(data[offset:end])
        offset = end
    if offset != len(data):
        raise ProofRefused("entry bundle has bytes behind its entries", entries=width)
    return entries


def decode_hash_tile(data: bytes, width: int) -> list[Digest]:
    """The `width` hashes of a tile. Raises `ProofRefused`."""
    if len(data) != width * DIGEST_SIZE:
        raise ProofRefused("tile has another length than its width says", length=len(data), width=width)
    return [Digest(data[start : start + DIGEST_SIZE]) for start in range(0, len(data), DIGEST_SIZE)]


def verify_bundle(entries: Sequence[bytes], tile: Sequence[bytes]) -> None:
    """Raises `ProofRefused` unless the entries have the leaf hashes of the tile of level 0."""
    if len(entries) != len(tile) or any(leaf_hash(entry) != leaf for entry, leaf in zip(entries, tile, strict=True)):
        raise ProofRefused("entries do not have the hashes of their tile")


LeafTile = Callable[[int], Sequence[Digest]]
"""Number of a full tile of level 0 to its 256 hashes; may raise what reading raises."""


class TileTree:
    """All of a growing tree but its full tiles of level 0: 1/255 of its hashes, and the last leaves.

    A leaf that damage made unknown is appended as None; nothing that stands on it can be had then (`Corrupt`).
    """

    __slots__ = ("_levels", "size")

    def __init__(self) -> None:
        self.size = 0
        # Level 0 has only what is not yet in a full tile.
        self._levels: list[list[Digest | None]] = [[]]

    def __repr__(self) -> str:
        return f"<TileTree size={self.size}>"

    def append(self, leaf: Digest | None) -> None:
        """Add the next leaf hash."""
        last = self._levels[0]
        last.append(leaf)
        self.size += 1
        if len(last) == WIDTH:
            self._append_upper(1, _root(last))
            last.clear()

    def extend(self, leaves: Sequence[Digest | None]) -> None:
        """Add leaf hashes."""
        last = self._levels[0]
        last.extend(leaves)
        self.size += len(leaves)
        full = len(last) - len(last) % WIDTH
        for start in range(0, full, WIDTH):
            self._append_upper(1, _root(last[start : start + WIDTH]))
        del last[:full]

    def extend_by_tiles(self, roots: Sequence[Digest], leaves: Sequence[Digest]) -> None:
        """Add full tiles of level 0 by their roots, and leaves behind them. Raises ValueError when the last tile is not full."""
        if roots and self._levels[0]:
            raise ValueError("last tile is not full")
        for root in roots:
            self._append_upper(1, root)
        self.size += WIDTH * len(roots)
        self.extend(leaves)

    def _append_upper(self, level: int, root: Digest | None) -> None:
        if level == len(self._levels):
            self._levels.append([])
        items = self._levels[level]
        items.append(root)
        if not len(items) % WIDTH:
            self._append_upper(level + 1, _root(items[-WIDTH:]))

    def width(self, level: int, index: int) -> int:
        """How many items the tile has by now; 0 when it does not exist."""
        return max(0, min(WIDTH, (self.size >> HEIGHT * level) - index * WIDTH))

    def last_leaves(self) -> tuple[Digest, ...]:
        """The leaves behind the last full tile. Raises `Corrupt`."""
        return _known(self._levels[0])

    def items(self, level: int, index: int, width: int) -> tuple[Digest, ...]:
        """The first items of a tile above level 0. Raises `Corrupt`, and ValueError when it has fewer."""
        if level < 1 or not 0 < width <= self.width(level, index):
            raise ValueError("no such items")
        return _known(self._levels[level][index * WIDTH : index * WIDTH + width])

    def verify_leaf_tile(self, index: int, leaves: Sequence[bytes]) -> None:
        """Raises `Corrupt` unless these are the leaves of a full tile, and ValueError when that is not full yet."""
        if self.width(0, index) < WIDTH:
            raise ValueError("tile is not full")
        (expected,) = _known(self._levels[1][index : index + 1])
        if len(leaves) != WIDTH or root_of(Digest(leaf) for leaf in leaves) != expected:
            raise Corrupt("leaf hashes of a tile are not those of the tree", tile=index)

    def node(self, height: int, index: int, leaf_tile: LeafTile) -> Digest:
        """A complete subtree (`proofs.Nodes` once `leaf_tile` is bound). Raises `Corrupt`."""
        level, up = divmod(height, HEIGHT)
        first, count = index << up, 1 << up
        tile, offset = divmod(first, WIDTH)
        items: Sequence[Digest]
        if level:
            items = self.items(level, tile, offset + count)
        elif (tile + 1) * WIDTH <= self.size:
            items = leaf_tile(tile)
        else:
            items = self.last_leaves()
        return root_of(items[offset : offset + count])


def _root(items: Sequence[Digest | None]) -> Digest | None:
    """Root over items of which none is unknown."""
    level = [each for each in items if each is not None]
    return root_of_tile(level) if len(level) == len(items) else None


def root_of_tile(items: Sequence[Digest]) -> Digest:
    """Root over the items of a full tile."""
    level = list(items)
    while len(level) > 1:
        level = parents_of(level)
    return level[0]


def _known(items: Sequence[Digest | None]) -> tuple[Digest, ...]:
    known = tuple(each for each in items if each is not None)
    if len(known) < len(items):
        raise Corrupt("hashes of this part of the tree were lost to damage")
    return known
