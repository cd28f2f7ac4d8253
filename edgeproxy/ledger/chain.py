"""The rules of the chain, block after block, for one who has nothing but the blocks: a validator, an auditor.

Owns: `next_block`, and `Chain`, the end of a chain whose blocks were looked at one after the other, and the first that broke a
rule. Must not fetch blocks, and must not be stricter than the sequencer that writes them.

Each block is in canonical form with a known op and references that can be (`ledger.block.decode`: rollbacks and receipts name
earlier blocks, rotations hold), stands at its height, names the block before it, and is not older than that. A rotation hands
over from the key that the log has.
"""

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Block, Rotate, decode
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.merkle import MerkleFrontier, leaf_hash


class BrokenRule(Corrupt):
    """A block that no honest log has. `height` and `raw` are its place and bytes."""

    def __init__(self, text: str, height: int, raw: bytes, why: str | None = None) -> None:
        fields = {"height": height} if why is None else {"height": height, "why": why}
        super().__init__(text, **fields)
        self.height = height
        self.raw = raw


def next_block(raw: bytes, height: int, last: Digest, time: Instant) -> Block:
    """The block in `raw`, which follows `height` blocks of which the newest has this leaf hash and time. Raises `BrokenRule`."""
    try:
        block = decode(raw)
    except Corrupt as error:
        why = error.fields.get("why")
        raise BrokenRule(error.text, height, raw, None if why is None else str(why)) from None
    if block.height != height:
        raise BrokenRule("block says that it is at another height", height, raw, str(block.height))
    if block.prev != last:
        raise BrokenRule("block does not name the one before it", height, raw)
    if block.time < time:
        raise BrokenRule("block is older than the one before it", height, raw)
    return block


class Chain:
    """`key` is the log's verifier key at this end; None when it is not known yet, which only a chain from block 0 may begin with.

    After a broken rule blocks are hashed and no longer read: whether the log signed them, only its root can tell.
    """

    __slots__ = ("_frontier", "fault", "handed_over", "key", "last", "time")

    def __init__(self, frontier: MerkleFrontier, last: Digest, time: Instant, key: str | None) -> None:
        self._frontier = frontier
        self.last = last
        """Leaf hash of the newest block."""
        self.time = time
        """Of the newest block."""
        self.key = key
        self.handed_over: set[str] = set()
        """Keys that were handed over from, by rotations since the start of this object."""
        self.fault: BrokenRule | None = None

    @classmethod
    def empty(cls) -> "Chain":
        """The chain before its first block."""
        return cls(MerkleFrontier(), Digest(ZERO), Instant(0), None)

    def __repr__(self) -> str:
        return f"<Chain size={self.size} fault={self.fault}>"

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def peaks(self) -> tuple[Digest, ...]:
        """The right edge of the tree (`MerkleFrontier.peaks`)."""
        return self._frontier.peaks

    def root(self) -> Digest:
        """Root over all blocks so far."""
        return self._frontier.root()

    def copy(self) -> "Chain":
        """A chain that can go on by itself."""
        other = Chain(self._frontier.copy(), self.last, self.time, self.key)
        other.handed_over, other.fault = set(self.handed_over), self.fault
        return other

    def take(self, raw: bytes) -> None:
        """The next block; what is wrong with it is in `fault`."""
        if self.fault is None:
            try:
                self._judge(raw)
            except BrokenRule as error:
                self.fault = error
        self.last = leaf_hash(raw)
        self._frontier.append(self.last)

    def _judge(self, raw: bytes) -> None:
        block = next_block(raw, self.size, self.last, self.time)
        self._follow_key(block, raw)
        self.time = block.time

    def _follow_key(self, block: Block, raw: bytes) -> None:
        entry = block.entry
        if not isinstance(entry, Rotate):
            return
        if self.key is not None and entry.old != self.key:
            raise BrokenRule("rotation is from a key that the log does not have", block.height, raw)
        self.handed_over.add(entry.old)
        self.key = entry.new
