"""How one key of the log hands over to the next: a statement that the old one signs, and that stands in a `rotate` block.

Owns: the bytes of that statement and its check. Must not keep keys.

  edgeproxy ledger key rotation v1
  <verifier key of the old key>
  <verifier key of the new key>
  <height of the block>
  <base64 of the block's `prev`>

The last two tie it to its place: `prev` stands for every block before it, so it cannot be used in another ledger or again.
"""

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.note_keys import ED25519, parse_verifier
from edgeproxy.ledger.strict import encode_base64


def rotation_statement(old: str, new: str, height: int, prev: bytes) -> bytes:
    """What the old key signs."""
    return f"edgeproxy ledger key rotation v1\n{old}\n{new}\n{height}\n{encode_base64(prev)}\n".encode()


def check_rotation(old: str, new: str, signature: bytes, height: int, prev: bytes) -> None:
    """Raises `ProofRefused` unless the old key says that the new one, of the same log, follows it here."""
    before, after = parse_verifier(old), parse_verifier(new)
    if {before.kind, after.kind} != {ED25519}:
        raise ProofRefused("key of a log is not of the type that signs notes")
    if before.name != after.name or before.public == after.public:
        raise ProofRefused("new key is the old one, or of another log")
    before.verify(rotation_statement(old, new, height, prev), signature)
