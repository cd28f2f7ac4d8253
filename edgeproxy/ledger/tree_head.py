"""The small rows beside the blocks: where to go on, and what a restored ledger has not.

Owns: what they say and their bytes. Must not read a store.
"""

import msgspec

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.merkle import MerkleFrontier


class TreeHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state to append to, written with the blocks. `last` is the leaf hash of block `size`-1, `time` its time."""

    size: int
    root: Digest
    time: Instant
    last: Digest
    peaks: tuple[Digest, ...]

    def frontier(self) -> MerkleFrontier:
        """The edge of the tree; raises ValueError when the head does not agree with itself."""
        frontier = MerkleFrontier(self.size, self.peaks)
        if frontier.root() != self.root:
            raise ValueError("root does not follow from the peaks")
        return frontier


EMPTY_HEAD = TreeHead(0, MerkleFrontier().root(), Instant(0), ZERO, ())

_head_encoder = msgspec.json.Encoder()
_head_decoder = msgspec.json.Decoder(TreeHead)


def encode_tree_head(head: TreeHead) -> bytes:
    """The head as the store keeps it."""
    return _head_encoder.encode(head)


def decode_tree_head(data: bytes) -> TreeHead:
    """The inverse; raises `Corrupt` for a head that does not agree with itself."""
    try:
        head = _head_decoder.decode(data)
        head.frontier()
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt("tree head cannot be read", why=str(error)) from None
    return head


class Restored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a ledger was rebuilt, up to the block `below`, from a source that had not all of it. False: some are not there, and
    that is no fault."""

    below: int
    names: bool
    heads: bool
    bodies: bool


_restored_decoder = msgspec.json.Decoder(Restored)


def encode_restored(restored: Restored) -> bytes:
    """As the store keeps it."""
    return _head_encoder.encode(restored)


def decode_restored(data: bytes) -> Restored:
    """The inverse. Raises `Corrupt`."""
    try:
        return _restored_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Corrupt("note of a restore cannot be read", why=str(error)) from None
