"""The rules of the chain, checked block by block as they come, and which of the log's keys signs at which size.

Owns: `Chain`, which takes raw blocks in order and keeps only what the next one needs, and `key_at`. Must not fetch or store
anything, nor know the tree: that the blocks are those of a signed root is for the caller to prove.

The rules: a block is canonical and has a known op (`ledger.block`), its height is one more than that of the block before, `prev`
is the leaf hash of that block, its time is not earlier, and a `rotate` block holds the signature of the key that hands over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.block import Block, Rotate, decode
from edgeproxy.ledger.digests import ZERO

_BEFORE_ALL = Instant(0)


class Rotated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The block at `height` hands the log over from the verifier key `old` to `new`, both in writing."""

    height: int
    old: str
    new: str


@dataclass(slots=True)
class Chain:
    """What the next block must follow: `size` blocks so far, the leaf hash and the time of the last one."""

    size: int = 0
    last: Digest = ZERO
    time: Instant = _BEFORE_ALL

    def take(self, raw: bytes) -> Block:
        """The next block. Raises `ProofRefused` with the field `height`; the chain then stays as it was."""
        try:
            block = decode(raw)
        except Corrupt as error:
            raise ProofRefused(error.text, **{"height": self.size, **error.fields}) from None
        if block.height != self.size:
            raise ProofRefused("block says another height than its place in the log", height=self.size, says=block.height)
        if block.prev != self.last:
            raise ProofRefused("block does not follow from the one before it", height=self.size)
        if block.time < self.time:
            raise ProofRefused("block is older than the one before it", height=self.size, behind=self.time - block.time)
        self.size, self.last, self.time = self.size + 1, block.leaf, block.time
        return block


def rotation_in(block: Block) -> Rotated | None:
    """The change of keys that a block tells; its signature was checked when the block was decoded."""
    entry = block.entry
    return Rotated(block.height, entry.old, entry.new) if isinstance(entry, Rotate) else None


def key_at(trusted: str, rotations: Sequence[Rotated], size: int) -> str:
    """The key that signs the checkpoint over `size` blocks, for one who trusts `trusted`, which is of any time.

    `rotations`: those of the log, lowest first. One that no trusted key takes part in says nothing. The key that a block hands
    over to signs from the checkpoint that covers this block on.
    """
    key = trusted
    for each in reversed(rotations):
        if each.new == key and each.height >= size:
            key = each.old
    for each in rotations:
        if each.old == key and each.height < size:
            key = each.new
    return key
