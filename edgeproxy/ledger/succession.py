"""Which of a log's keys signs at which size, as its rotate blocks tell it.

Owns: `key_at`. Must not check a signature: a rotate block is only decoded when the old key signed it (`ledger.block`).
"""

from collections.abc import Sequence

import msgspec

from edgeproxy.ledger.block import Block, Rotate


class Rotated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The block at `height` hands the log over from the verifier key `old` to `new`, both in writing."""

    height: int
    old: str
    new: str


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
