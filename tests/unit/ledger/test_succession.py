"""The rules of the chain, and which key signs when."""

import dataclasses

import pytest

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Place, seal, seal_genesis
from edgeproxy.ledger.chain import Chain, Rotated, key_at, rotation_in
from edgeproxy.ledger.drafts import RotateDraft
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import Signer
from tests.support.ledgers import NOW, store_draft

SALT = bytes(range(32))
GENESIS = seal_genesis(NOW, "edge-1", SALT)


def _next(chain: Chain, *, height: int | None = None, prev: Digest | None = None, time: int = 0) -> bytes:
    place = Place(Height(chain.size if height is None else height), prev or chain.last, Instant(chain.time + time), "edge-1")
    return seal(place, store_draft(1), SALT).raw


def _chain(size: int) -> Chain:
    chain = Chain()
    chain.take(GENESIS.raw)
    while chain.size < size:
        # A store block's time is that of its draft.
        chain.take(_next(chain, time=1))
    return chain


def test_blocks_that_follow_each_other_are_taken() -> None:
    chain = Chain()
    assert chain.take(GENESIS.raw).op == "genesis"
    raw = _next(chain)
    assert chain.take(raw).height == 1
    assert (chain.size, chain.last) == (2, leaf_hash(raw))


def test_each_broken_rule_is_named_with_the_height_and_changes_nothing() -> None:
    chain = _chain(3)
    before = dataclasses.astuple(chain)
    good = _next(chain)
    for wrong, fault in (
        (_next(chain, height=7), "another height"),
        (GENESIS.raw, "another height"),
        (_next(chain, prev=leaf_hash(b"x")), "does not follow"),
        (good.replace(b'"status":200', b'"status": 200'), "canonical"),
        (good.replace(b'"op":"store"', b'"op":"steal"'), "unknown op"),
        (b"\xff", "cannot be read"),
        (b"", "cannot be read"),
    ):
        with pytest.raises(ProofRefused, match=fault) as refused:
            chain.take(wrong)
        assert refused.value.fields["height"] == 3
        assert dataclasses.astuple(chain) == before
    chain.take(good)


def test_time_never_goes_back() -> None:
    chain = _chain(2)
    raw = _next(chain)
    later = Chain(chain.size, chain.last, Instant(chain.time + 1))
    with pytest.raises(ProofRefused, match="older than the one before") as refused:
        later.take(raw)
    assert refused.value.fields == {"height": 2, "behind": 1}
    with pytest.raises(ProofRefused, match="another height"):
        Chain().take(raw)


def test_a_rotation_is_told_by_its_block_and_needs_the_old_keys_signature() -> None:
    chain = _chain(2)
    old, new, other = (Signer("edge-1/.edge/ledger", bytes([number]) * 32) for number in (1, 2, 3))
    place = Place(Height(2), chain.last, chain.time, "edge-1")
    raw = seal(place, RotateDraft(old, new, NOW), SALT).raw
    forged = raw.replace(str(new.verifier).encode(), str(other.verifier).encode())
    with pytest.raises(ProofRefused, match="rotation of the key does not hold"):
        chain.take(forged)
    assert rotation_in(chain.take(raw)) == Rotated(2, str(old.verifier), str(new.verifier))
    assert rotation_in(GENESIS) is None


@pytest.mark.parametrize(
    ("trusted", "size", "signs"),
    [
        ("a", 0, "a"), ("a", 10, "a"), ("a", 11, "b"), ("a", 20, "b"), ("a", 21, "c"),
        ("b", 10, "a"), ("b", 11, "b"), ("b", 20, "b"), ("b", 21, "c"),
        ("c", 10, "a"), ("c", 11, "b"), ("c", 21, "c"),
        # one that came after a loss, which no block tells of
        ("x", 5, "x"), ("x", 99, "x"),
    ],
)  # fmt: skip
def test_whoever_trusts_a_key_of_any_time_knows_the_one_that_signs(trusted: str, size: int, signs: str) -> None:
    rotations = (Rotated(10, "a", "b"), Rotated(20, "b", "c"))
    assert key_at(trusted, rotations, size) == signs
