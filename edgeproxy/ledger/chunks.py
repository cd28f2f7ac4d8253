"""Large bodies in pieces that can be proved one by one: a Merkle tree over chunks of 64 KiB.

Owns: where a body is cut and the root over its chunks (the `chunks` of a block). The tree is that of RFC 6962 section 2.1,
with the chunks as its leaves. Must not read files.
"""

import hashlib
from collections.abc import Sequence

from edgeproxy.caching.model import Digest
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.ledger.merkle import leaf_hash, root_of

CHUNK = 65_536
"""Bytes in every chunk but the last."""

WHOLE_BODY_LIMIT = 262_144
"""A body up to this many bytes is hashed whole before it is sent; a longer one carries `chunks`."""


def chunk_count(length: int) -> int:
    """Chunks of a body of `length` bytes."""
    return -(-length // CHUNK)


def chunk_length(length: int, index: int) -> int:
    """Bytes in chunk `index` of a body of `length` bytes; raises ValueError when there is no such chunk."""
    if not 0 <= index < chunk_count(length):
        raise ValueError("no such chunk")
    return min(CHUNK, length - index * CHUNK)


def chunk_leaves(data: bytes) -> tuple[Digest, ...]:
    """Leaf hashes of the chunks of a whole body."""
    view = memoryview(data)
    return tuple(leaf_hash(view[start : start + CHUNK]) for start in range(0, len(data), CHUNK))


def root_of_chunks(leaves: Sequence[bytes]) -> Digest:
    """Root over the leaf hashes of a body's chunks."""
    return root_of(Digest(leaf) for leaf in leaves)


class BodyHasher:
    """Reference of a body that comes in pieces of any size."""

    __slots__ = ("_leaf", "_leaves", "_room", "_whole", "length")

    def __init__(self) -> None:
        self.length = 0
        self._whole = hashlib.sha256()
        self._leaf = hashlib.sha256(b"\0")
        self._room = CHUNK
        self._leaves: list[Digest] = []

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._whole.update(data)
        self.length += len(data)
        view = memoryview(data)
        while view:
            piece, view = view[: self._room], view[self._room :]
            self._leaf.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._close()

    def _close(self) -> None:
        self._leaves.append(Digest(self._leaf.digest()))
        self._leaf = hashlib.sha256(b"\0")
        self._room = CHUNK

    @property
    def leaves(self) -> tuple[Digest, ...]:
        """Leaf hashes of the chunks that are complete; of all of them after `finish`."""
        return tuple(self._leaves)

    def finish(self) -> BodyRef:
        """What a block says of these bytes. Nothing can be added after."""
        if self._room < CHUNK:
            self._close()
        chunks = root_of_chunks(self._leaves) if self.length > WHOLE_BODY_LIMIT else None
        return BodyRef(Digest(self._whole.digest()), self.length, chunks)


def ref_of(data: bytes) -> BodyRef:
    """What a block says of the body `data`."""
    hasher = BodyHasher()
    hasher.update(data)
    return hasher.finish()
