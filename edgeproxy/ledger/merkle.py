"""The Merkle tree over the blocks (RFC 6962 section 2.1 = RFC 9162 section 2.1.1, SHA-256).

Owns: leaf and node hashes, roots, and the frontier with which the root of a growing tree is kept in O(log n). Must not know what
a leaf means.
"""

import hashlib
from collections.abc import Iterable, Sequence

from edgeproxy.caching.model import Digest

EMPTY_ROOT = Digest(hashlib.sha256(b"").digest())


def leaf_hash(data: bytes | memoryview) -> Digest:
    """Hash of a leaf whose content is `data`."""
    return Digest(hashlib.sha256(b"\0" + data).digest())


def node_hash(left: bytes, right: bytes) -> Digest:
    """Hash of an inner node."""
    return Digest(hashlib.sha256(b"\1" + left + right).digest())


def root_of(leaves: Iterable[Digest]) -> Digest:
    """Root of the tree over these leaf hashes."""
    frontier = MerkleFrontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


class MerkleFrontier:
    """The right edge of a tree: one hash for each complete subtree, the largest first, as the bits of `size` say."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[Digest] = ()) -> None:
        """Go on from a known edge; raises ValueError when `peaks` are not as many as `size` has bits set."""
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError("peaks do not fit the size")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[Digest, ...]:
        """The hashes of the complete subtrees, the largest first."""
        return tuple(self._peaks)

    def append(self, leaf: Digest) -> None:
        """Add the next leaf."""
        peaks = self._peaks
        carry = leaf
        # As in binary addition: each trailing one-bit of the size is a subtree as large as the carry.
        bits = self.size
        while bits & 1:
            carry = node_hash(peaks.pop(), carry)
            bits >>= 1
        peaks.append(carry)
        self.size += 1

    def root(self) -> Digest:
        """Root of the tree so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> "MerkleFrontier":
        """An edge that can grow on its own."""
        return MerkleFrontier(self.size, self._peaks)

    def __repr__(self) -> str:
        return f"<MerkleFrontier size={self.size}>"
