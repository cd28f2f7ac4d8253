"""Evidence of one stored response, for somebody without a network: a proof, and beside it block, head and body.

Owns: what is said in the proof's `extra` line, and the order in which evidence is checked. Must not read a file.

A block names a URL by a digest with a salt. `extra` carries URL, selecting fields and the site's salt in clear, as JSON:
  {"url":"...","selecting":[["name","value or null"]],"salt":"B64"}
It is not signed and need not be: nobody can find other values with the digests that are in the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgeproxy.caching.model import Selecting
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.block import Stored, body_of, decode
from edgeproxy.ledger.checkpoint import Checkpoint, Opened, read_checkpoint
from edgeproxy.ledger.handover import Handover, rotations_of, verify_rotations
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.proof_file import ProofFile, verify_proof
from edgeproxy.ledger.succession import key_at
from edgeproxy.ledger.verify import check_head, check_stored_names, verify_body


class Clear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clear values behind a block's digests."""

    url: str
    selecting: Selecting
    salt: bytes


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Clear)


def encode_clear(clear: Clear) -> bytes:
    """The `extra` of a proof."""
    return _encoder.encode(clear)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lies there, unverified. `head` and `body` are None when they are not there; `rotations` are those of the log's key."""

    proof: ProofFile
    block: bytes
    head: bytes | None = None
    body: bytes | None = None
    rotations: tuple[Handover, ...] = ()


@dataclass(frozen=True, slots=True)
class Proven:
    """What the evidence proves: `entry` was logged before the log stated `checkpoint`, and says `url`, head and body.

    `clear` is None when the proof does not name a URL; `head` and `body` say whether these were there and are the block's own.
    `opened` has the key that signed, which the trusted one may have handed over to, and the cosignatures of known keys.
    """

    entry: Stored
    checkpoint: Checkpoint
    clear: Clear | None
    head: bool
    body: bool
    opened: Opened


def check_evidence(evidence: Evidence, log: Verifier, cosigners: Sequence[Verifier] = ()) -> Proven:
    """Check all of it against a key of the log, whose name is the log's origin. Raises `ProofRefused` naming the first fault.

    The key may be an older or a newer one than that which signed, if the rotations between them are there. How many cosignatures
    are needed, and how old they may be, is for the caller to judge.
    """
    rotations = rotations_of(evidence.rotations)
    claimed = read_checkpoint(evidence.proof.note)
    key = parse_verifier(key_at(str(log), rotations, claimed.size)) if claimed is not None else log
    opened = verify_proof(evidence.proof, evidence.block, key, log.name, cosigners)
    verify_rotations(evidence.rotations, rotations, opened.checkpoint)
    try:
        block = decode(evidence.block)
        entry = block.entry
        if block.height != evidence.proof.index:
            raise ProofRefused("block has another height than its place in the log", height=block.height)
        if not isinstance(entry, Stored):
            raise ProofRefused("block stores no response", height=block.height)
        clear = _check_clear(entry, evidence.proof.extra)
        if evidence.head is not None:
            check_head(entry, evidence.head)
        if evidence.body is not None:
            verify_body(body_of(entry), evidence.body)
    except Corrupt as error:
        raise ProofRefused(error.text, **error.fields) from None
    return Proven(entry, opened.checkpoint, clear, evidence.head is not None, evidence.body is not None, opened)


def _check_clear(entry: Stored, extra: bytes | None) -> Clear | None:
    if extra is None:
        return None
    try:
        clear = _decoder.decode(extra)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProofRefused("extra of the proof cannot be read") from None
    if _encoder.encode(clear) != extra:
        raise ProofRefused("extra of the proof is not in canonical form")
    check_stored_names(entry, clear.url, clear.selecting, clear.salt)
    return clear
