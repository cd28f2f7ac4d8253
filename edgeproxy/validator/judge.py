"""What a validator answers to a checkpoint, as a function of what it was sent and what it has cosigned before.

Owns: the statuses of C2SP tlog-witness (add-checkpoint) and their order. Pure: must not fetch a block, keep or wait.

  400  malformed, or the old size is above the checkpoint's
  404  the log is not one of ours
  403  not signed by the log's key, or its signature does not verify
  409  the old size is not the one that was cosigned last: the body says which is
  422  the empty log has another root; a proof where none can be; the proof fails; another root for the size that was cosigned
"""

from dataclasses import dataclass
from enum import Enum, auto

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, parse_claim
from edgeproxy.ledger.cosigning import AddCheckpoint, parse_request
from edgeproxy.ledger.merkle import EMPTY_ROOT
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.ledger.notes import Note, SignatureLine, open_note, parse_note
from edgeproxy.ledger.proofs import verify_consistency


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no cosignature. `size` goes with a 409. `fork`: what the log signed contradicts itself."""

    status: int
    text: str
    size: int | None = None
    fork: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that can be read; no signature of it is verified."""

    request: AddCheckpoint
    note: Note
    claimed: Checkpoint


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The largest tree that was cosigned: size 0 and the empty root for a log that never was."""

    size: int = 0
    root: Digest = EMPTY_ROOT


def read(body: bytes) -> Submitted | Refusal:
    """The request in `body`, or the 400 for it."""
    try:
        request = parse_request(body)
        note = parse_note(request.note)
        claimed = parse_claim(note.message)
    except ProofRefused as error:
        return Refusal(400, str(error))
    if request.old > claimed.size:
        return Refusal(400, "old size is above that of the checkpoint")
    return Submitted(request, note, claimed)


class Signed(Enum):
    """By whom a note is signed."""

    BY_LOG = auto()
    BY_SUCCESSOR = auto()
    """Perhaps: a key that is not known, under the name of the log. Its blocks tell whether it was handed over to."""


def signed_by(note: Note, log: Verifier) -> Signed | Refusal:
    """Whether the log's key signed, or the 403."""
    if any((line.name, line.key_id) == (log.name, log.key_id) for line in note.signatures):
        try:
            open_note(note, (log,))
        except ProofRefused as error:
            return Refusal(403, f"the log's signature: {error.text}")
        return Signed.BY_LOG
    if any(line.name == log.name for line in note.signatures):
        return Signed.BY_SUCCESSOR
    return Refusal(403, "checkpoint is not signed by the log")


def follows(submitted: Submitted, before: Cosigned) -> Refusal | None:
    """Whether the tree goes on from the one that was cosigned last; the signature is verified."""
    request, claimed = submitted.request, submitted.claimed
    # Two roots of one size are a fork whatever else is asked, and need no proof to be seen as one.
    contradicts = claimed.size == before.size and claimed.root != before.root
    if request.old != before.size:
        return Refusal(409, f"{before.size}\n", before.size, fork=contradicts and before.size > 0)
    if claimed.size == 0 and claimed.root != EMPTY_ROOT:
        return Refusal(422, "an empty log has another root")
    if request.old == 0 and request.proof:
        return Refusal(422, "nothing can be proved from an empty log")
    if contradicts:
        return Refusal(422, "another root was cosigned for this size", fork=True)
    if request.old == 0:
        return None
    try:
        verify_consistency(before.size, claimed.size, before.root, claimed.root, request.proof)
    except ProofRefused as error:
        return Refusal(422, f"the consistency proof: {error.text}")
    return None


def lines_of(note: Note, verifier: Verifier) -> tuple[SignatureLine, ...]:
    """The lines of one key."""
    return tuple(line for line in note.signatures if (line.name, line.key_id) == (verifier.name, verifier.key_id))


def was_cosigned(note: Note, own: Verifier) -> bool:
    """Whether the note has a true cosignature of `own`: what its owner does not remember then, it has lost."""
    for line in lines_of(note, own):
        try:
            own.verify(note.message, line.blob)
        except ProofRefused:
            return False  # anybody can write such a line
        return True
    return False
