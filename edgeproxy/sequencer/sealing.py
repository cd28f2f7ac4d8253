"""A batch of drafts made into blocks on a copy of the chain's end, ready to be committed.

Owns: what a batch consists of. Must not write it, and changes nothing but the futures of drafts that cannot become a block.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import EdgeError, StoreError
from edgeproxy.ledger.batches import seal_all
from edgeproxy.ledger.block import Block, Place, seal
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.drafts import Draft, Names, RotateDraft, StoreDraft, encode_names, names_of
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.replay import RawRow, TreeHead


class Waiting(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A draft, and the future of its block. Nothing that it holds leads back to it, so the collector need not look."""

    draft: Draft
    future: asyncio.Future[Block]

    def fail(self, error: EdgeError) -> None:
        """There will be no block."""
        if not self.future.done():
            self.future.set_exception(error)
            # The one who appended need not look: the batch was logged.
            self.future.exception()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that is ready to be committed: for each of `waiting` its block, its names and its row. `checkpoint` is the signed
    note over `head`, by `signer`."""

    waiting: Sequence[Waiting]
    blocks: list[Block]
    names: list[Names | None]
    rows: list[RawRow]
    head: TreeHead
    checkpoint: bytes
    signer: Signer


@dataclass(frozen=True, slots=True)
class Ahead:
    """A batch sealed behind a head that was not committed yet. It counts only if that is what was committed."""

    batch: Sequence[Waiting]
    behind: TreeHead | None
    sealed: Sealed | None
    signer: Signer | None

    def take(self, batch: Sequence[Waiting], head: TreeHead, signer: Signer) -> Sealed | None:
        """The sealed batch, when `batch` is to be sealed behind `head` by `signer`; None when it is another."""
        return self.sealed if self.behind is head and self.signer is signer and self.batch == batch else None


NOTHING_AHEAD = Ahead((), None, None, None)


def checkpoint_of(head: TreeHead, signer: Signer) -> bytes:
    """The signed note over `head`."""
    return sign_checkpoint(Checkpoint(signer.name, head.size, head.root), signer)


def seal_batch(batch: Sequence[Waiting], head: TreeHead, node: str, genesis_salt: bytes, signer: Signer) -> Sealed:
    """The blocks of `batch` behind `head`. A draft that cannot become a block fails, and uses no height."""
    # Validators require that time does not go back along the chain, whatever the clock did.
    first = Place(Height(head.size), head.last, head.time, node)
    blocks = seal_all([waiting.draft for waiting in batch], first, genesis_salt)
    if blocks is None:
        batch, blocks = _one_by_one(batch, first, genesis_salt)
    leaves: list[Digest] = []
    all_names: list[Names | None] = []
    rows: list[RawRow] = []
    for waiting, block in zip(batch, blocks, strict=True):
        draft = waiting.draft
        names = names_of(draft)
        stored_head = None
        if isinstance(draft, StoreDraft):
            stored_head = draft.head
        elif isinstance(draft, RotateDraft):
            signer = draft.new
        leaves.append(block.leaf)
        all_names.append(names)
        columns = None if names is None else encode_names(names)
        rows.append(RawRow(block.entry.height, block.raw, block.leaf, stored_head, columns))
    frontier = head.frontier()
    frontier.extend(leaves)
    last, time = (blocks[-1].leaf, blocks[-1].time) if blocks else (head.last, head.time)
    new_head = TreeHead(frontier.size, frontier.root(), time, last, frontier.peaks)
    # Signed, but kept to ourselves until it is committed: whatever goes wrong before leaves a statement that nobody has seen.
    return Sealed(batch, blocks, all_names, rows, new_head, checkpoint_of(new_head, signer), signer)


def _one_by_one(batch: Sequence[Waiting], place: Place, genesis_salt: bytes) -> tuple[list[Waiting], list[Block]]:
    good: list[Waiting] = []
    blocks: list[Block] = []
    for waiting in batch:
        time = Instant(max(waiting.draft.time, place.time))
        try:
            block = seal(Place(place.height, place.prev, time, place.node), waiting.draft, genesis_salt)
        except StoreError as error:
            waiting.fail(error)
            continue
        good.append(waiting)
        blocks.append(block)
        place = Place(Height(place.height + 1), block.leaf, time, place.node)
    return good, blocks
