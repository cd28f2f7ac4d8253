"""Proofs about the Merkle tree: that an entry is in it, and that a smaller tree is its beginning.

Owns: making them from the nodes of a tree, and verifying them. Must not know where nodes come from.
Sources: RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4; subtrees: draft-ietf-plants-merkle-tree-certs section 4, of
which both are cases: [i, i+1) is the inclusion of an entry, [0, m) the consistency with the tree of m entries.
"""

from collections.abc import Callable, Sequence

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.merkle import EMPTY_ROOT, node_hash

MAX_PROOF = 63
"""Hashes in a proof of any tree of less than 2**63 entries."""

Nodes = Callable[[int, int], Digest]
"""(height, index) to the hash of the complete subtree over the entries [index * 2**height, (index + 1) * 2**height)."""

Proof = Sequence[bytes]


def is_subtree(start: int, end: int) -> bool:
    """Whether the entries [start, end) may be a subtree: it begins at a multiple of its length, rounded up to a power of two."""
    return 0 <= start <= end and start % _bit_ceil(end - start) == 0


def _bit_ceil(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _split(length: int) -> int:
    """The largest power of two below `length`, which is more than one."""
    return 1 << ((length - 1).bit_length() - 1)


def subtree_root(nodes: Nodes, start: int, end: int) -> Digest:
    """Hash of the tree over the entries [start, end), a subtree."""
    if start == end:
        return EMPTY_ROOT
    peaks = []
    while start < end:
        height = (end - start).bit_length() - 1
        peaks.append(nodes(height, start >> height))
        start += 1 << height
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def subtree_proof(nodes: Nodes, start: int, end: int, size: int) -> tuple[Digest, ...]:
    """That [start, end) is a part of the tree of `size` entries. Raises ValueError when it cannot be one."""
    if not is_subtree(start, end) or end > size:
        raise ValueError("no such subtree")
    if start == end:
        return ()
    low, high, known = 0, size, True
    above: list[tuple[int, int]] = []
    while (start, end) != (low, high):
        middle = low + _split(high - low)
        if end <= middle:
            above.append((middle, high))
            high = middle
        else:
            above.append((low, middle))
            if start < middle:
                # It reaches over the middle, so it is a beginning, and the left half is whole: only the rest is to be shown.
                start, known = middle, False
            low = middle
    if not known:
        above.append((low, high))
    return tuple(subtree_root(nodes, *span) for span in reversed(above))


def inclusion_proof(nodes: Nodes, index: int, size: int) -> tuple[Digest, ...]:
    """The path from entry `index` to the root of `size` entries, leaf's sibling first. Raises ValueError when there is none."""
    if not 0 <= index < size:
        raise ValueError("no such entry")
    return subtree_proof(nodes, index, index + 1, size)


def consistency_proof(nodes: Nodes, old: int, new: int) -> tuple[Digest, ...]:
    """That the tree of `old` entries is the beginning of that of `new`. Raises ValueError when `old` is larger."""
    if not 0 <= old <= new:
        raise ValueError("the old tree is larger")
    return subtree_proof(nodes, 0, old, new)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Proof, root: bytes) -> None:
    """Entry `index` of the tree of `size` entries under `root` has the leaf hash `leaf`. Raises `ProofRefused`."""
    if not 0 <= index < size:
        raise ProofRefused("entry is not in a tree of this size", index=index, size=size)
    _verify(index, index + 1, size, leaf, proof, root)


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Proof) -> None:
    """The tree of `old` entries under `old_root` is the beginning of that of `new` under `new_root`. Raises `ProofRefused`."""
    if not 0 <= old <= new:
        raise ProofRefused("tree has become smaller", old=old, new=new)
    if old == 0:
        if proof:
            raise ProofRefused("proof has too many hashes", count=len(proof))
        if old_root != EMPTY_ROOT:
            raise ProofRefused("root of the empty tree is another")
        return
    _verify(0, old, new, old_root, proof, new_root)


def verify_subtree(start: int, end: int, size: int, subtree: bytes, proof: Proof, root: bytes) -> None:
    """The entries [start, end) of the tree of `size` entries under `root` have the hash `subtree`. Raises `ProofRefused`."""
    if not is_subtree(start, end) or end > size or start == end:
        raise ProofRefused("no such subtree", start=start, end=end, size=size)
    _verify(start, end, size, subtree, proof, root)


def _verify(start: int, end: int, size: int, known: bytes, proof: Proof, root: bytes) -> None:
    """Walk up the right edge of [start, end), computing it and the whole tree side by side from what they share."""
    if any(len(each) != DIGEST_SIZE for each in (known, root, *proof)):
        raise ProofRefused("hash has not 32 bytes")
    first, second, last = _where_it_ends(start, end - 1, size - 1)
    rest = list(proof)
    if first == second:
        old = new = known
    else:
        if not rest:
            raise ProofRefused("proof has too few hashes", count=0)
        old = new = rest.pop(0)
    for each in rest:
        if last == 0:
            raise ProofRefused("proof has too many hashes", count=len(proof))
        if second & 1 or second == last:
            if first < second:
                old = node_hash(each, old)
            new = node_hash(each, new)
            while not second & 1 and second:
                first, second, last = first >> 1, second >> 1, last >> 1
        else:
            new = node_hash(new, each)
        first, second, last = first >> 1, second >> 1, last >> 1
    if last != 0:
        raise ProofRefused("proof has too few hashes", count=len(proof))
    if old != known:
        raise ProofRefused("proof does not lead to the hash that was known")
    if new != root:
        raise ProofRefused("proof does not lead to the root")


def _where_it_ends(first: int, second: int, last: int) -> tuple[int, int, int]:
    """The node at which the right edge of a subtree stops being its own: its top, or one with a left sibling below the top."""
    is_right_edge = second == last
    while first != second and (is_right_edge or second & 1):
        first, second, last = first >> 1, second >> 1, last >> 1
    return first, second, last
