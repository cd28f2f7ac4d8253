"""A log's tree as a stranger reads it: tiles that come from anywhere, proved from the root down before they are believed.

Owns: which tiles are needed, and that each is the one which the root stands for. Must not fetch one.

The order matters. The unfinished tiles at the right edge of all levels together give the root. Each full tile's own root is an
item of the tile above it, so what is wrong is known to one tile, before anything below it is read.
"""

from collections.abc import Iterator, Sequence

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.merkle import EMPTY_ROOT, node_hash, root_of
from edgeproxy.ledger.proofs import consistency_proof, subtree_root, verify_consistency
from edgeproxy.ledger.tiles import HEIGHT, WIDTH, Tile, decode_hash_tile

MAX_TILE = WIDTH * DIGEST_SIZE
"""Bytes of a full hash tile."""


class TreeReader:
    """The tree of `size` entries under `root`. First `take_edge`, then the full tiles above level 0 in the order of `upper`."""

    __slots__ = ("_edge", "_full", "root", "size")

    def __init__(self, size: int, root: Digest) -> None:
        self.size = size
        self.root = root
        self._edge: list[tuple[Digest, ...]] = []
        # For each level its full tiles, which `upper` names; level 0 has none here.
        self._full: list[dict[int, tuple[Digest, ...]]] = []

    def __repr__(self) -> str:
        return f"<TreeReader size={self.size}>"

    def edge(self) -> list[Tile]:
        """The unfinished tile of each level that has one, lowest first."""
        return [
            Tile(level, (self.size >> HEIGHT * level) // WIDTH, width)
            for level in range(self._levels())
            if (width := (self.size >> HEIGHT * level) % WIDTH)
        ]

    def take_edge(self, data: Sequence[bytes]) -> None:
        """The bytes of `edge()`, in its order. Raises `ProofRefused` when they do not give the root."""
        self._edge = [() for _ in range(self._levels())]
        self._full = [{} for _ in range(self._levels())]
        for tile, each in zip(self.edge(), data, strict=True):
            self._edge[tile.height] = tuple(decode_hash_tile(each, tile.width))
        if self._edge_root() != self.root:
            raise ProofRefused("hashes at the right edge of the tree do not give the root of the checkpoint", size=self.size)

    def upper(self) -> Iterator[Tile]:
        """The full tiles above level 0, from the top down: each can be proved once those before it were taken."""
        for level in range(self._levels() - 1, 0, -1):
            for index in range((self.size >> HEIGHT * level) // WIDTH):
                yield Tile(level, index)

    def take(self, tile: Tile, data: bytes) -> None:
        """The bytes of a tile of `upper()`. Raises `ProofRefused`."""
        self._full[tile.height][tile.index] = self._prove(tile, data)

    def leaves(self, tile: Tile, data: bytes) -> tuple[Digest, ...]:
        """The leaf hashes in the bytes of a tile of level 0, full or the last one. Raises `ProofRefused`."""
        if tile.width == WIDTH:
            return self._prove(tile, data)
        leaves = tuple(decode_hash_tile(data, tile.width))
        if leaves != self._edge[0]:
            raise ProofRefused("tile is not the one that the checkpoint covers", tile=tile.path)
        return leaves

    def bundles(self, start: int) -> Iterator[Tile]:
        """The tiles of level 0, and so the bundles, that hold the entries from `start` on."""
        for index in range(start // WIDTH, (self.size + WIDTH - 1) // WIDTH):
            yield Tile(0, index, min(WIDTH, self.size - index * WIDTH))

    def needed_for(self, old: int) -> Tile | None:
        """The full tile of level 0 without which nothing is known of the tree of the first `old` entries; None: all is here."""
        return Tile(0, old // WIDTH) if old % WIDTH and old // WIDTH < self.size // WIDTH else None

    def check_grown_from(self, old: int, root: bytes, last: Sequence[Digest] = ()) -> None:
        """Raises `ProofRefused` unless the tree of the first `old` entries has this root. `last`: leaves of `needed_for(old)`."""

        def node(height: int, index: int) -> Digest:
            return self._node(height, index, last, old // WIDTH)

        verify_consistency(old, self.size, root, self.root, consistency_proof(node, old, self.size))

    def root_of_first(self, count: int) -> Digest:
        """Root over the first `count` entries: all of them, or a multiple of 256. Raises ValueError for another number."""
        if count == self.size:
            return self.root
        if count % WIDTH:
            raise ValueError("not whole tiles")
        return subtree_root(lambda height, index: self._node(height, index, (), -1), 0, count)

    # -- within ------------------------------------------------------------------------------------------------------------

    def _levels(self) -> int:
        return (self.size.bit_length() + HEIGHT - 1) // HEIGHT

    def _edge_root(self) -> Digest:
        """The complete subtrees that the size has bits for, from the smallest: each lies in the unfinished tile of its level."""
        root: Digest | None = None
        for items in self._edge:
            end = len(items)
            for bit in range(HEIGHT):
                if not len(items) >> bit & 1:
                    continue
                peak = root_of(items[end - (1 << bit) : end])
                end -= 1 << bit
                root = peak if root is None else node_hash(peak, root)
        return EMPTY_ROOT if root is None else root

    def _prove(self, tile: Tile, data: bytes) -> tuple[Digest, ...]:
        items = tuple(decode_hash_tile(data, WIDTH))
        if root_of(items) != self._item(tile.height + 1, tile.index):
            raise ProofRefused("tile is not the one that the checkpoint covers", tile=tile.path)
        return items

    def _item(self, level: int, index: int) -> Digest:
        tile, place = divmod(index, WIDTH)
        full = self._full[level].get(tile)
        return self._edge[level][place] if full is None else full[place]

    def _node(self, height: int, index: int, last: Sequence[Digest], last_tile: int) -> Digest:
        """A complete subtree (`proofs.Nodes`); `last` are the leaves of the full tile `last_tile`."""
        level, up = divmod(height, HEIGHT)
        tile, offset = divmod(index << up, WIDTH)
        items: Sequence[Digest] = self._edge[level]
        if level == 0 and tile == last_tile and last:
            items = last
        elif level and tile in self._full[level]:
            items = self._full[level][tile]
        return root_of(items[offset : offset + (1 << up)])
