"""A batch becomes blocks; a draft that cannot fails alone, and leaves no gap."""

import asyncio

import pytest

from edgeproxy.caching.model import Digest, Height
from edgeproxy.errors import StoreError
from edgeproxy.ledger.block import decode, seal_genesis
from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.drafts import BodyRef, Draft, RotateDraft, decode_names, names_of
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.replay import TreeHead
from edgeproxy.sequencer.sealing import Sealed, Waiting, seal_batch
from tests.support.ledgers import NOW, store_draft

SALT = bytes(range(32))
SIGNER = Signer("example.org/log", bytes(32))
GENESIS = seal_genesis(NOW, "n", SALT)
BAD = store_draft(9, body=BodyRef(Digest(b"short"), 1, None))


def _sealed(drafts: list[Draft]) -> tuple[Sealed, list[Waiting]]:
    frontier = MerkleFrontier()
    frontier.append(GENESIS.leaf)
    head = TreeHead(1, frontier.root(), NOW, GENESIS.leaf, frontier.peaks)
    loop = asyncio.get_running_loop()
    batch = [Waiting(draft, loop.create_future()) for draft in drafts]
    return seal_batch(batch, head, "n", SALT, SIGNER), batch


@pytest.mark.parametrize("drafts", [[], [store_draft(1)], [BAD, store_draft(1), BAD, store_draft(2), store_draft(3)], [BAD]])
async def test_good_drafts_follow_each_other_and_bad_ones_fail(drafts: list[Draft]) -> None:
    sealed, batch = _sealed(drafts)
    last, frontier = GENESIS, MerkleFrontier()
    frontier.append(GENESIS.leaf)
    good = [waiting for waiting in batch if waiting.draft is not BAD]
    assert sealed.waiting == good
    for waiting, block, names, row in zip(sealed.waiting, sealed.blocks, sealed.names, sealed.rows, strict=True):
        assert decode(row.raw) == block
        assert (block.height, block.prev) == (Height(last.height + 1), last.leaf)
        assert row.leaf == block.leaf
        assert row.names is not None
        assert decode_names(row.names) == names == names_of(waiting.draft)
        frontier.append(block.leaf)
        last = block
    assert (sealed.head.size, sealed.head.root, sealed.head.last) == (frontier.size, frontier.root(), last.leaf)
    stated = open_checkpoint(sealed.checkpoint, SIGNER.verifier, SIGNER.name).checkpoint
    assert (stated.size, stated.root) == (frontier.size, frontier.root())
    for waiting in batch:
        assert waiting.future.done() == (waiting.draft is BAD)
        if waiting.draft is BAD:
            assert isinstance(waiting.future.exception(), StoreError)


async def test_a_batch_that_hands_over_is_signed_by_the_new_key() -> None:
    new = Signer(SIGNER.name, b"n" * 32)
    sealed, _ = _sealed([store_draft(1), RotateDraft(SIGNER, new, NOW), store_draft(2)])
    assert sealed.signer is new
    assert open_checkpoint(sealed.checkpoint, new.verifier, new.name).checkpoint.size == 4
