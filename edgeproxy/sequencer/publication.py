"""The ledger as a public transparency log: its newest checkpoint, its tiles, and its entry bundles.

Owns: what is published, which is what is committed and nothing more, and the bytes of tiles. Must not sign or write.

Only hashes above the full tiles of level 0 are kept in memory (1/255 of all). A tile of level 0 and its entries are read when
they are asked for, and proved against the tree before they are handed out.
"""

from collections.abc import Callable, Sequence

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.proofs import Nodes, consistency_proof, inclusion_proof, subtree_root
from edgeproxy.ledger.tiles import WIDTH, Tile, TileTree, encode_bundle
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.ledger_rows import read_tile
from edgeproxy.storage.memory import MemoryTier

CACHED_BYTES = 8 << 20
"""Of tiles and bundles that were read from the disk last."""


class Publication:
    """`tiles` None: the tree was damaged, and only the checkpoint can be published."""

    def __init__(self, db: LedgerDb, tiles: TileTree | None, checkpoint: bytes | None) -> None:
        self._db = db
        self._tiles = tiles
        self._checkpoint = checkpoint
        self._cache: MemoryTier[bytes] = MemoryTier(CACHED_BYTES)

    def __repr__(self) -> str:
        return f"<Publication {self._tiles} {self._cache}>"

    @property
    def checkpoint(self) -> bytes | None:
        """The signed note over what is committed; None while it could not be kept (the disk is full)."""
        return self._checkpoint

    def advance(self, leaves: Sequence[Digest], checkpoint: bytes | None) -> None:
        """A batch is committed."""
        if self._tiles is not None:
            self._tiles.extend(leaves)
        self._checkpoint = checkpoint

    async def read(self, tile: Tile) -> bytes | None:
        """The bytes of a tile or bundle, proved; None when the log has not so many entries. Raises `Corrupt`, StoreError."""
        tiles = self._known()
        width = tiles.width(tile.height, tile.index)
        if not 0 < tile.width <= width:
            return None
        if tile.height:
            return b"".join(tiles.items(tile.height, tile.index, tile.width))
        # Taken before anything is waited for: more leaves may come meanwhile.
        leaves = tiles.last_leaves()[: tile.width] if width < WIDTH else None
        if leaves is not None and tile.level == 0:
            return b"".join(leaves)
        # What a path names never changes, not even a partial one.
        data = self._cache.get(tile.path)
        if data is None:
            data = encode_bundle(await self._entries(tile, leaves)) if leaves else await self._of_full_tile(tiles, tile)
            self._cache.put(tile.path, data, len(data))
        return data

    async def inclusion(self, index: int, size: int) -> tuple[Digest, ...]:
        """The path from block `index` to the root of `size` blocks. Raises ValueError when there are not so many; `Corrupt`."""
        return await self._proof(size, lambda nodes: inclusion_proof(nodes, index, size))

    async def consistency(self, old: int, new: int) -> tuple[Digest, ...]:
        """That the ledger of `old` blocks is the beginning of that of `new`; as `inclusion`."""
        return await self._proof(new, lambda nodes: consistency_proof(nodes, old, new))

    async def root(self, size: int) -> Digest:
        """Root of the first `size` blocks; as `inclusion`."""
        (root,) = await self._proof(size, lambda nodes: (subtree_root(nodes, 0, size),))
        return root

    async def _proof(self, size: int, make: Callable[[Nodes], tuple[Digest, ...]]) -> tuple[Digest, ...]:
        """Make a proof, reading the full tiles of level 0 that it needs: two at most, since all else is in memory."""
        tiles = self._known()
        if size > tiles.size:
            raise ValueError("the ledger has not so many blocks")
        at_hand: dict[int, list[Digest]] = {}
        while True:
            # Never waits within, so that the tree does not grow meanwhile.
            try:
                return make(lambda height, index: tiles.node(height, index, at_hand.__getitem__))
            except KeyError as missing:
                (index,) = missing.args
                rows = await self._db.read(lambda connection, index=index: read_tile(connection, index))  # type: ignore[misc]
                leaves = [Digest(leaf) for _, leaf in rows]
                tiles.verify_leaf_tile(index, leaves)
                at_hand[index] = leaves

    def _known(self) -> TileTree:
        if self._tiles is None:
            raise Corrupt("tree of the ledger was damaged, its tiles cannot be proved")
        return self._tiles

    async def _entries(self, tile: Tile, leaves: Sequence[Digest]) -> list[bytes]:
        rows = await self._db.read(lambda connection: read_tile(connection, tile.index))
        entries = [raw for raw, _ in rows[: len(leaves)]]
        if [leaf_hash(entry) for entry in entries] != list(leaves):
            raise Corrupt("block of a bundle is damaged", bundle=tile.index)
        return entries

    async def _of_full_tile(self, tiles: TileTree, tile: Tile) -> bytes:
        rows = await self._db.read(lambda connection: read_tile(connection, tile.index))
        tiles.verify_leaf_tile(tile.index, [leaf for _, leaf in rows])
        if tile.level == 0:
            return b"".join(leaf for _, leaf in rows[: tile.width])
        if any(leaf_hash(raw) != leaf for raw, leaf in rows):
            raise Corrupt("block of a bundle is damaged", bundle=tile.index)
        return encode_bundle([raw for raw, _ in rows[: tile.width]])
