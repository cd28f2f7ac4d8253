"""Which key signs when."""

import pytest

from edgeproxy.caching.model import Height
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Place, decode, seal, seal_genesis
from edgeproxy.ledger.drafts import RotateDraft
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.succession import Rotated, key_at, rotation_in
from tests.support.ledgers import NOW

SALT = bytes(range(32))
GENESIS = seal_genesis(NOW, "edge-1", SALT)


def test_a_rotation_is_told_by_its_block_and_needs_the_old_keys_signature() -> None:
    old, new, other = (Signer("edge-1/.edge/ledger", bytes([number]) * 32) for number in (1, 2, 3))
    raw = seal(Place(Height(1), GENESIS.leaf, NOW, "edge-1"), RotateDraft(old, new, NOW), SALT).raw
    with pytest.raises(Corrupt, match="rotation of the key does not hold"):
        decode(raw.replace(str(new.verifier).encode(), str(other.verifier).encode()))
    assert rotation_in(decode(raw)) == Rotated(1, str(old.verifier), str(new.verifier))
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
