"""The Merkle tree over the blocks (RFC 6962 section 2.1 = RFC 9162 section 2.1.1, SHA-256).

Owns: leaf and node hashes, roots, and the frontier with which the root of a growing tree is kept in O(log n). Must not know what
a leaf means.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from edgeproxy.caching.model import Digest


class _Hash(Protocol):
    def digest(self) -> Digest: ...


# Said once for all: to call `Digest` on each result would cost a tenth of the hash.
_sha256: Callable[[bytes | bytearray | memoryview], _Hash] = hashlib.sha256  # type: ignore[assignment]

EMPTY_ROOT = _sha256(b"").digest()


def leaf_hash(data: bytes | memoryview) -> Digest:
    """Hash of a leaf whose content is `data`."""
    return _sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> Digest:
    """Hash of an inner node."""
    return _sha256(b"\1" + left + right).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[Digest]:
    """`leaf_hash` of each, without a call for each."""
    sha256 = _sha256
    return [sha256(b"\0" + entry).digest() for entry in entries]


def parents_of(nodes: Sequence[bytes]) -> list[Digest]:
    """`node_hash` of each pair; a last one without a sibling has no parent."""
    sha256 = _sha256
    return [sha256(b"\1" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


def root_of(leaves: Iterable[Digest]) -> Digest:
    """Root of the tree over these leaf hashes."""
    frontier = MerkleFrontier()
    frontier.extend(list(leaves))
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

    def extend(self, leaves: Sequence[Digest]) -> None:
        """Add leaves, level by level: less than half of what as many `append` cost."""
        if not leaves:
            return
        size, peaks, kept = self.size, self._peaks, []
        level: list[Digest] = list(leaves)
        height = 0
        while level:
            if size >> height & 1:
                level.insert(0, peaks.pop())
            if len(level) & 1:
                kept.append(level[-1])
            level = parents_of(level)
            height += 1
        self.size += len(leaves)
        # Those above were not reached; those below are as many as the size now has bits.
        peaks.extend(reversed(kept))

    def append_subtree(self, height: int, root: Digest) -> None:
        """Add a complete subtree of 2**`height` leaves. Raises ValueError where none can begin."""
        if self.size % (1 << height):
            raise ValueError("no subtree of this height begins here")
        above = MerkleFrontier(self.size >> height, self._peaks)
        above.append(root)
        self.size, self._peaks = above.size << height, above._peaks

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
