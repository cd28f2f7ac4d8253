"""A key of the log with ML-DSA-44 (FIPS 204) beside its Ed25519 key: a signature that a quantum computer does not forge either.

Owns: `MldsaSigner`, its written form, and its line below a checkpoint (C2SP tlog-cosignature, type 0x06). Must not keep a key.
Verifying is `ledger.note_keys`, as for the keys of everybody else. Who does not know the key ignores the line.
"""

import struct

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.note_keys import MLDSA_COSIGNATURE, Verifier, subtree_message
from edgeproxy.ledger.notes import SignatureLine
from edgeproxy.ledger.strict import decode_base64, encode_base64

_PRIVATE = "PRIVATE+KEY+"
_SEED = 32


class MldsaSigner:
    """A private ML-DSA-44 key under its name."""

    __slots__ = ("_key", "_seed", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """`seed`: 32 random bytes. Raises `ProofRefused` for a name that no key may have, and where the library has no ML-DSA."""
        try:
            self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        except UnsupportedAlgorithm:
            raise ProofRefused("ML-DSA-44 is not supported by the cryptographic library here", name=name) from None
        self._seed = seed
        self.verifier = Verifier(name, MLDSA_COSIGNATURE, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<MldsaSigner {self.verifier.name}+{self.verifier.key_id.hex()}>"

    def line(self, checkpoint: Checkpoint, timestamp: int) -> SignatureLine:
        """The line that says: at this time (POSIX seconds) the log had this tree."""
        key = self.verifier
        message = subtree_message(key.name, timestamp, checkpoint.origin, (0, checkpoint.size), checkpoint.root)
        return SignatureLine(key.name, key.key_id, struct.pack(">Q", timestamp) + self._key.sign(message))

    def private(self) -> str:
        """The key in writing. Whoever reads it can sign in this log's name."""
        key = self.verifier
        return f"{_PRIVATE}{key.name}+{key.key_id.hex()}+{encode_base64(bytes((key.kind,)) + self._seed)}"


def parse_mldsa_signer(text: str) -> MldsaSigner:
    """The inverse of `MldsaSigner.private`. Raises `ProofRefused`; the text is never part of the message."""
    name, _, rest = text.removeprefix(_PRIVATE).partition("+")
    identity, _, encoded = rest.partition("+")
    data = decode_base64(encoded)
    if not text.startswith(_PRIVATE) or len(data) != 1 + _SEED or data[0] != MLDSA_COSIGNATURE:
        raise ProofRefused("not the private form of an ML-DSA-44 key")
    signer = MldsaSigner(name, data[1:])
    if signer.verifier.key_id.hex() != identity:
        raise ProofRefused("key ID is not that of the key", name=name)
    return signer
