"""The keys of signed notes: their names, IDs and written forms, and what each kind signs (C2SP signed-note, tlog-cosignature).

Owns: `Signer` and `Verifier` for Ed25519 (type 0x01), Ed25519 cosignatures (0x04) and, where the library can, ML-DSA-44
cosignatures (0x06, verifying only). Must not keep keys; that is `storage.ledger_key`.

A key is known by its name and its key ID together: SHA-256 over name, line feed, type and public key, cut to 4 bytes.
  verifier key   <name>+<8 hex digits of the key ID>+<base64 of type and public key>
  signer key     PRIVATE+KEY+<name>+<key ID>+<base64 of type and 32 bytes of seed>
"""

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.strict import MAX_NUMBER, decode_base64, encode_base64

KEY_ID_SIZE = 4
ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
MLDSA_COSIGNATURE: Final = 0x06

_SIZES = {ED25519: 32, COSIGNATURE: 32, MLDSA_COSIGNATURE: 1312}
_SIGNATURES = {ED25519: 64, COSIGNATURE: 8 + 64, MLDSA_COSIGNATURE: 8 + 2420}
_NO_MLDSA = "ML-DSA-44 is not supported by the cryptographic library here"
_PRIVATE = "PRIVATE+KEY+"
_is_key_id = re.compile(r"[0-9a-f]{8}", re.ASCII).fullmatch

_PRIME = 2**255 - 19
# The points of order 1, 2, 4 and 8 by their y coordinate: under such a key some signatures verify for every message.
_SMALL_ORDER = frozenset(
    (
        0,
        1,
        _PRIME - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    )
)


def check_name(name: str) -> None:
    """Raises `ProofRefused` unless `name` may be that of a key: not empty, no space of any script, no plus sign."""
    if not name:
        raise ProofRefused("key name is empty")
    if "+" in name or any(character.isspace() or character < " " for character in name):
        raise ProofRefused("key name has a space or a plus sign", name=name)


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """The ID of a key, 4 bytes."""
    return sha256(name.encode() + b"\n" + bytes((kind,)) + public)[:KEY_ID_SIZE]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name. Made by `parse_verifier` or by a `Signer`, which check it."""

    name: str
    kind: int
    public: bytes = field(repr=False)
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Raises `ProofRefused` for a key that must not be trusted."""
        check_name(self.name)
        if len(self.public) != _SIZES.get(self.kind, -1):
            raise ProofRefused("key is of an unknown type or has a wrong length", name=self.name, type=self.kind)
        if self.kind != MLDSA_COSIGNATURE:
            _check_point(self.public)
        object.__setattr__(self, "key_id", key_id(self.name, self.kind, self.public))

    def __str__(self) -> str:
        """The verifier key ("vkey")."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.kind,)) + self.public)}"

    def verify(self, message: bytes, blob: bytes) -> int | None:
        """Verify the `blob` of a signature line over `message`, the text of a note.

        Answers the time of a cosignature in POSIX seconds, None for a plain signature. Raises `ProofRefused`.
        """
        if len(blob) != _SIGNATURES[self.kind]:
            raise ProofRefused("signature has a wrong length", name=self.name)
        if self.kind == ED25519:
            self._verify_ed25519(message, blob)
            return None
        timestamp = int.from_bytes(blob[:8], "big")
        if timestamp > MAX_NUMBER:
            raise ProofRefused("cosignature has a time out of range", name=self.name)
        if self.kind == COSIGNATURE:
            self._verify_ed25519(cosigned_message(message, timestamp), blob[8:])
        else:
            self._verify_mldsa(message, timestamp, blob[8:])
        return timestamp

    def _verify_ed25519(self, message: bytes, signature: bytes) -> None:
        try:
            _public_key(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise ProofRefused("signature does not verify", name=self.name) from None

    def _verify_mldsa(self, message: bytes, timestamp: int, signature: bytes) -> None:
        from edgeproxy.ledger.checkpoint import parse_checkpoint

        try:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
        except ImportError:
            raise ProofRefused(_NO_MLDSA, name=self.name) from None
        tree = parse_checkpoint(message)
        signed = subtree_message(self.name, timestamp, tree.origin, (0, tree.size), tree.root)
        try:
            MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, signed)
        except UnsupportedAlgorithm:
            raise ProofRefused(_NO_MLDSA, name=self.name) from None
        except (InvalidSignature, ValueError):
            raise ProofRefused("signature does not verify", name=self.name) from None


@lru_cache(maxsize=256)
def _public_key(public: bytes) -> Ed25519PublicKey:
    """As the library wants it; the same few keys come again with each checkpoint."""
    return Ed25519PublicKey.from_public_bytes(public)


def cosigned_message(message: bytes, timestamp: int) -> bytes:
    """What an Ed25519 cosignature is over (tlog-cosignature, "Ed25519 cosignatures")."""
    return b"cosignature/v1\ntime %d\n" % timestamp + message


def subtree_message(name: str, timestamp: int, origin: str, span: tuple[int, int], root: bytes) -> bytes:
    """What an ML-DSA-44 cosignature is over: the entries [start, end) of the log `origin` have the root `root`.

    Raises `ProofRefused` for a name or origin of more than 255 bytes.
    """
    parts = [b"subtree/v1\n\0"]
    for text, numbers in ((name, (timestamp,)), (origin, span)):
        encoded = text.encode()
        if len(encoded) > 255:
            raise ProofRefused("name is too long for a subtree cosignature", length=len(encoded))
        parts += [bytes((len(encoded),)), encoded, *(struct.pack(">Q", number) for number in numbers)]
    return b"".join((*parts, root))


def _check_point(public: bytes) -> None:
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _PRIME:
        raise ProofRefused("Ed25519 key is not canonical")
    if y in _SMALL_ORDER:
        raise ProofRefused("Ed25519 key is of small order")


def parse_verifier(text: str) -> Verifier:
    """The key in a vkey. Raises `ProofRefused` when any part of it is wrong."""
    # Base64 may have plus signs of its own.
    name, plus, rest = text.partition("+")
    identity, second, encoded = rest.partition("+")
    if not plus or not second:
        raise ProofRefused("verifier key has not three parts")
    kind, public = _key_bytes(identity, encoded)
    verifier = Verifier(name, kind, public)
    if verifier.key_id.hex() != identity:
        raise ProofRefused("key ID is not that of the key", name=name)
    return verifier


def _key_bytes(identity: str, encoded: str) -> tuple[int, bytes]:
    if _is_key_id(identity) is None:
        raise ProofRefused("key ID has not eight lower-case hex digits")
    data = decode_base64(encoded)
    if not data:
        raise ProofRefused("key is empty")
    return data[0], data[1:]


class Signer:
    """A private Ed25519 key under its name, for notes (`ED25519`) or for cosignatures (`COSIGNATURE`)."""

    __slots__ = ("_key", "_seed", "verifier")

    def __init__(self, name: str, seed: bytes, kind: int = ED25519) -> None:
        """`seed`: 32 random bytes. Raises `ProofRefused` for a name that no key may have, ValueError for another length."""
        if kind not in (ED25519, COSIGNATURE):
            raise ValueError("only Ed25519 keys sign")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.verifier = Verifier(name, kind, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<Signer {self.verifier}>"

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def key_id(self) -> bytes:
        return self.verifier.key_id

    def sign(self, message: bytes, timestamp: int | None = None) -> bytes:
        """What follows the key ID in a signature line. A cosignature needs a time, in POSIX seconds; a plain one has none."""
        if (timestamp is None) != (self.verifier.kind == ED25519):
            raise ValueError("cosignatures have a time, and only they")
        if timestamp is None:
            return self._key.sign(message)
        return struct.pack(">Q", timestamp) + self._key.sign(cosigned_message(message, timestamp))

    def sign_bytes(self, message: bytes) -> bytes:
        """A bare Ed25519 signature, for statements that are no notes; the caller's message must begin with its own purpose."""
        return self._key.sign(message)

    def private(self) -> str:
        """The key in writing. Whoever reads it can sign in this log's name."""
        return f"{_PRIVATE}{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.verifier.kind,)) + self._seed)}"


def parse_signer(text: str) -> Signer:
    """The inverse of `Signer.private`. Raises `ProofRefused`; the text is never part of the message."""
    if not text.startswith(_PRIVATE):
        raise ProofRefused("signer key does not begin with PRIVATE+KEY+")
    name, _, rest = text.removeprefix(_PRIVATE).partition("+")
    identity, _, encoded = rest.partition("+")
    kind, seed = _key_bytes(identity, encoded)
    if kind not in (ED25519, COSIGNATURE) or len(seed) != 32:
        raise ProofRefused("signer key is of an unknown type or has a wrong length", name=name)
    signer = Signer(name, seed, kind)
    if signer.key_id.hex() != identity:
        raise ProofRefused("key ID is not that of the key", name=name)
    return signer
