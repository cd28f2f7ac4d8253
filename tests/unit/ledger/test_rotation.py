"""The block in which one key hands over to the next, and every other one refused."""

import json

import pytest

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, ProofRefused, StoreError
from edgeproxy.ledger.block import Place, Rotate, decode, seal
from edgeproxy.ledger.drafts import RotateDraft, names_of
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.rotation import check_rotation, rotation_statement

OLD, NEW = Signer("a.example/.edge/ledger", bytes(range(32))), Signer("a.example/.edge/ledger", bytes(range(1, 33)))
PLACE = Place(Height(7), Digest(bytes(range(32))), Instant(1_764_000_000_000), "edge-1")
DRAFT = RotateDraft(OLD, NEW, PLACE.time)


def test_a_rotation_stands_in_a_block_that_anyone_can_check() -> None:
    block = seal(PLACE, DRAFT, bytes(32))
    assert decode(block.raw) == block
    assert isinstance(block.entry, Rotate)
    assert (block.entry.old, block.entry.new) == (str(OLD.verifier), str(NEW.verifier))
    assert list(json.loads(block.raw))[5:] == ["op", "old", "new", "signature"]
    assert names_of(DRAFT) is None
    check_rotation(block.entry.old, block.entry.new, block.entry.signature, 7, PLACE.prev)
    assert "PRIVATE" not in block.raw.decode() + repr(DRAFT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height", 8),
        ("prev", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("old", str(NEW.verifier)),
        ("new", str(Signer(OLD.name, bytes(32)).verifier)),
        ("new", str(Signer("b.example/.edge/ledger", bytes(32)).verifier)),
        ("new", str(OLD.verifier)),
        ("new", str(Signer(OLD.name, bytes(32), COSIGNATURE).verifier)),
        ("new", "nonsense"),
        ("signature", "A" * 86 + "=="),
    ],
)
def test_a_rotation_holds_for_its_keys_and_its_place_only(key: str, value: object) -> None:
    content = json.loads(seal(PLACE, DRAFT, bytes(32)).raw)
    content[key] = value
    with pytest.raises(Corrupt, match="rotation of the key does not hold"):
        decode(json.dumps(content, separators=(",", ":")).encode())


def test_a_key_cannot_hand_over_to_another_log_nor_to_itself() -> None:
    for new in (OLD, Signer("b.example/.edge/ledger", bytes(32))):
        with pytest.raises(StoreError):
            seal(PLACE, RotateDraft(OLD, new, PLACE.time), bytes(32))
    statement = rotation_statement(str(OLD.verifier), str(NEW.verifier), 7, PLACE.prev)
    with pytest.raises(ProofRefused, match="does not verify"):
        check_rotation(str(OLD.verifier), str(NEW.verifier), NEW.sign_bytes(statement), 7, PLACE.prev)
