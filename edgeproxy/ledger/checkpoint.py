"""Checkpoints (C2SP tlog-checkpoint v1.0.0): the signed statement that a log has so many entries under this root.

Owns: their three lines, and how one is signed and opened. Must not fetch or keep one.

Extension lines are refused: ML-DSA cosignatures do not cover them, and several witnesses sign only what is above them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.merkle import EMPTY_ROOT
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.ledger.notes import MAX_NOTE, Note, Vouched, open_note, parse_note, sign_note
from edgeproxy.ledger.strict import MAX_NUMBER, decode_decimal, decode_hash, decode_lines, encode_base64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`size` entries of the log `origin` have the Merkle root `root`."""

    origin: str
    size: int
    root: Digest

    @property
    def text(self) -> str:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint whose known signatures verify. `cosigned` are those of other keys than the log's."""

    checkpoint: Checkpoint
    note: Note
    log: Verifier
    cosigned: tuple[Vouched, ...]


def parse_checkpoint(message: bytes) -> Checkpoint:
    """The checkpoint that a note's text says. Raises `ProofRefused`."""
    stated = parse_claim(message)
    if stated.size == 0 and stated.root != EMPTY_ROOT:
        raise ProofRefused("checkpoint of an empty log has another root")
    return stated


def parse_claim(message: bytes) -> Checkpoint:
    """As `parse_checkpoint`, whatever root an empty log has: a witness answers that in words of its own."""
    lines = decode_lines(message, most=MAX_NOTE)
    if len(lines) < 3:
        raise ProofRefused("checkpoint has not three lines", lines=len(lines))
    if not all(lines):
        raise ProofRefused("checkpoint has an empty line")
    if len(lines) > 3:
        raise ProofRefused("checkpoint has extension lines")
    origin, size, root = lines[0], decode_decimal(lines[1]), decode_hash(lines[2])
    return Checkpoint(origin, size, root)


def read_checkpoint(note: bytes | None) -> Checkpoint | None:
    """What a note claims, whoever signed it; None when it cannot be read, or there is none."""
    if note is None:
        return None
    try:
        return parse_checkpoint(parse_note(note).message)
    except ProofRefused:
        return None


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The note that states `checkpoint`. Raises ValueError for one that no reader would take."""
    if not 0 <= checkpoint.size <= MAX_NUMBER:
        raise ValueError("size is out of range")
    return sign_note(checkpoint.text, (signer,)).encode()


def open_checkpoint(data: bytes, log: Verifier, origin: str, cosigners: Sequence[Verifier] = ()) -> Opened:
    """The checkpoint in the note `data`, which the key `log` must have signed, for `origin` and no other log.

    Known cosigners' signatures must verify where they are; how many are needed is for the caller to say. Raises `ProofRefused`.
    """
    note = parse_note(data)
    vouched = open_note(note, (log, *cosigners))
    if not any(each.verifier is log for each in vouched):
        raise ProofRefused("checkpoint is not signed by the log", origin=origin)
    checkpoint = parse_checkpoint(note.message)
    if checkpoint.origin != origin:
        raise ProofRefused("checkpoint is of another log", origin=checkpoint.origin, expected=origin)
    return Opened(checkpoint, note, log, tuple(each for each in vouched if each.verifier is not log))
