"""Proofs in a file (C2SP tlog-proof): an entry's place, its path to the root, and the checkpoint with that root.

Owns: the form of the file and the order of its checks. Must not read one.

  c2sp.org/tlog-proof@v1
  extra <base64>             unauthenticated; may be left out
  index <decimal>
  <base64 of a hash>         each hash of the path, the leaf's sibling first
  <empty line>
  <checkpoint, as it is>
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Opened, open_checkpoint
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.ledger.notes import MAX_NOTE
from edgeproxy.ledger.proofs import MAX_PROOF, verify_inclusion
from edgeproxy.ledger.strict import decode_base64, decode_decimal, decode_hashes, decode_lines, encode_base64

MAX_PROOF_FILE = MAX_NOTE + (1 << 18)
"""Bytes."""

_FIRST = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class ProofFile:
    """What a file says, unverified. `note` is the checkpoint's bytes; `extra` None when there is no such line."""

    index: int
    path: tuple[Digest, ...]
    note: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The bytes of the file."""
        lines = [_FIRST]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines += [f"index {self.index}", *(encode_base64(each) for each in self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note


def parse_proof_file(data: bytes) -> ProofFile:
    """The inverse of `ProofFile.encode`; the note in it is parsed when it is verified. Raises `ProofRefused`."""
    lines = decode_lines(data, most=MAX_PROOF_FILE)
    if lines[0] != _FIRST:
        raise ProofRefused("not a tlog-proof of version 1")
    if "" not in lines:
        raise ProofRefused("proof has no empty line before its checkpoint")
    empty = lines.index("")
    rest = lines[1:empty]
    extra = None
    if rest and rest[0].startswith("extra "):
        extra = decode_base64(rest.pop(0).removeprefix("extra "))
    if not rest or not rest[0].startswith("index "):
        raise ProofRefused("proof has no index")
    index = decode_decimal(rest[0].removeprefix("index "))
    path = decode_hashes(rest[1:], most=MAX_PROOF)
    return ProofFile(index, path, "".join(f"{line}\n" for line in lines[empty + 1 :]).encode(), extra)


def verify_proof(proof: ProofFile, entry: bytes, log: Verifier, origin: str, cosigners: Sequence[Verifier] = ()) -> Opened:
    """That `entry` is in the log at `proof.index`, as the checkpoint in the proof has it. Raises `ProofRefused`.

    It proves what was logged, not that it is the newest; how old the checkpoint may be is for the caller to judge.
    """
    opened = open_checkpoint(proof.note, log, origin, cosigners)
    tree = opened.checkpoint
    verify_inclusion(proof.index, tree.size, leaf_hash(entry), proof.path, tree.root)
    return opened
