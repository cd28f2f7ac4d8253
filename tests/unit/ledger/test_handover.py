"""The file of rotations beside a proof: its one form, and what it does not prove."""

from collections.abc import Callable

import pytest

from edgeproxy.caching.model import Height
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Place, seal, seal_genesis
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.drafts import RotateDraft
from edgeproxy.ledger.handover import MAX_ROTATIONS, Handover, encode_rotations, parse_rotations, rotations_of, verify_rotations
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.proofs import inclusion_proof, subtree_root
from tests.support.ledgers import NOW, store_draft
from tests.support.trees import nodes_of

SALT = bytes(range(32))
KEYS = [Signer("edge-1/.edge/ledger", bytes([number]) * 32) for number in (1, 2, 3)]


def _blocks() -> list[bytes]:
    """Genesis, a page, a rotation, a page, a rotation."""
    blocks = [seal_genesis(NOW, "edge-1", SALT).raw]
    for draft in (store_draft(1), RotateDraft(KEYS[0], KEYS[1], NOW), store_draft(2), RotateDraft(KEYS[1], KEYS[2], NOW)):
        blocks.append(seal(Place(Height(len(blocks)), leaf_hash(blocks[-1]), NOW, "edge-1"), draft, SALT).raw)
    return blocks


BLOCKS = _blocks()
NODES = nodes_of([leaf_hash(raw) for raw in BLOCKS])
TREE = Checkpoint("edge-1/.edge/ledger", 5, subtree_root(NODES, 0, 5))
HANDOVERS = tuple(Handover(BLOCKS[index], inclusion_proof(NODES, index, 5)) for index in (2, 4))
FILE = encode_rotations(HANDOVERS)


def test_what_is_written_is_read_and_leads_from_key_to_key() -> None:
    assert parse_rotations(FILE) == HANDOVERS
    rotations = rotations_of(HANDOVERS)
    assert [(each.height, each.new) for each in rotations] == [(2, str(KEYS[1].verifier)), (4, str(KEYS[2].verifier))]
    verify_rotations(HANDOVERS, rotations, TREE)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: b"", "line feed"),
        (lambda data: data[:-1], "line feed"),
        (lambda data: data.replace(b"v1", b"v2"), "version 1"),
        (lambda data: data.splitlines(keepends=True)[0], "no rotations, or too many"),
        (lambda data: data + b"\n", "no block"),
        (lambda data: data.replace(b"v1\n\n", b"v1\n"), "does not begin with an empty line"),
        (lambda data: data.replace(b"\n\n", b"\n\n\n"), "no block"),
        (lambda data: data.replace(b"block ", b"BLOCK "), "no block"),
        (lambda data: data.replace(b"block ", b"block  "), "base64"),
        (lambda data: data.replace(b"=\n", b"\n"), "base64"),
        (lambda data: data.replace(b"\n", b"\r\n"), "control character"),
        (lambda data: data + b"AAAA\n", "32 bytes"),
        (lambda data: b"edgeproxy ledger rotations v1\n" + b"\nblock AAAA\n" * (MAX_ROTATIONS + 1), "too many"),
    ],
)
def test_there_is_one_way_to_write_it(change: Callable[[bytes], bytes], fault: str) -> None:
    with pytest.raises(ProofRefused, match=fault):
        parse_rotations(change(FILE))


def test_nothing_and_too_much_are_not_written() -> None:
    for handovers in ((), HANDOVERS * MAX_ROTATIONS):
        with pytest.raises(ValueError, match="too many"):
            encode_rotations(handovers)


def test_another_block_order_or_place_is_refused() -> None:
    with pytest.raises(ProofRefused, match="out of order"):
        rotations_of(HANDOVERS[::-1])
    with pytest.raises(ProofRefused, match="another block"):
        rotations_of((Handover(BLOCKS[1], ()),))
    for raw in (b"nonsense", BLOCKS[2].replace(b'"height":2', b'"height":3')):
        with pytest.raises(ProofRefused, match="block of a rotation: "):
            rotations_of((Handover(raw, ()),))
    moved = (Handover(BLOCKS[2], HANDOVERS[1].path),)
    with pytest.raises(ProofRefused):
        verify_rotations(moved, rotations_of(moved), TREE)
    with pytest.raises(ProofRefused, match="not in a tree of this size"):
        verify_rotations(HANDOVERS[1:], rotations_of(HANDOVERS[1:]), Checkpoint(TREE.origin, 4, subtree_root(NODES, 0, 4)))
