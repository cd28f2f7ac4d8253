"""Each status of add-checkpoint and the order in which they are looked for (C2SP tlog-witness)."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.cosigning import encode_request
from edgeproxy.ledger.merkle import EMPTY_ROOT
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import Note, SignatureLine, parse_note
from edgeproxy.validator.judge import Cosigned, Refusal, Signed, follows, read, signed_by, was_cosigned
from tests.support.logs import ORIGIN, Log

LOG = Log()
LOG.grow(9)
FORK = LOG.fork(5)
FORK.grow(5, "other")
TWIN = LOG.fork(4)
TWIN.grow(1, "other")
KNOWN = Cosigned(5, LOG.root(5))


@dataclass
class Case:
    name: str
    body: bytes
    status: int
    text: str = ""
    size: int | None = None
    fork: bool = False
    before: Cosigned = KNOWN


def _empty(root: bytes) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, 0, root), LOG.signer)  # type: ignore[arg-type]


def _wrong_signature() -> bytes:
    note = parse_note(LOG.note())
    line = note.signatures[0]
    forged = Note(note.text, (SignatureLine(line.name, line.key_id, bytes(64)),))
    return encode_request(5, LOG.proof(5, 10), forged.encode())


def _by(signer: Signer) -> bytes:
    return encode_request(5, LOG.proof(5, 10), sign_checkpoint(Checkpoint(ORIGIN, 10, LOG.root()), signer))


def _twice() -> bytes:
    note = parse_note(LOG.note())
    return encode_request(5, LOG.proof(5, 10), Note(note.text, note.signatures * 2).encode())


CASES = [
    Case("not a request", b"hello\n", 400),
    Case("old above the checkpoint", encode_request(11, (), LOG.note()), 400, "above"),
    Case("two lines of one key", _twice(), 400, "two signatures"),
    Case("extension line", LOG.request(5).replace(b"\n\n\xe2", b"\nmore\n\n\xe2"), 400, "extension"),
    Case("signature that does not verify", _wrong_signature(), 403, "does not verify"),
    Case("signature of nobody known", _by(Signer("somebody.else", bytes([7]) * 32)), 403, "not signed by the log"),
    Case("old is behind", LOG.request(3), 409, size=5),
    Case("old is ahead", LOG.request(7), 409, size=5),
    Case("first contact with more", LOG.request(5), 409, size=0, before=Cosigned()),
    Case("a fork of the same size, with another old", encode_request(3, (), FORK.fork(4).note()), 409, size=5),
    Case("another root for the size, and old behind", encode_request(0, (), TWIN.note()), 409, size=5, fork=True),
    Case("another root for the size", encode_request(5, (), TWIN.note()), 422, "another root", fork=True),
    Case("empty log with another root", encode_request(0, (), _empty(bytes(32))), 422, "empty", before=Cosigned()),
    Case("proof from nothing", encode_request(0, (LOG.root(),), LOG.note()), 422, "empty log", before=Cosigned()),
    Case("proof that is too short", encode_request(5, LOG.proof(5, 10)[:-1], LOG.note()), 422, "proof"),
    Case("no proof", encode_request(5, (), LOG.note()), 422, "proof"),
    Case("proof where none can be", encode_request(5, LOG.proof(4, 5), LOG.note(5)), 422, "proof"),
    Case("another future, which nobody has cosigned against", FORK.request(5), 0),
    Case("grown", LOG.request(5), 0),
    Case("the same again", LOG.request(5, 5), 0),
    Case("first contact", LOG.request(0), 0, before=Cosigned()),
    Case("first contact with an empty log", encode_request(0, (), _empty(EMPTY_ROOT)), 0, before=Cosigned()),
]


def judged(case: Case) -> Refusal | None:
    submitted = read(case.body)
    if isinstance(submitted, Refusal):
        return submitted
    signed = signed_by(submitted.note, LOG.signer.verifier)
    if isinstance(signed, Refusal):
        return signed
    assert signed is Signed.BY_LOG
    return follows(submitted, case.before)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_request_gets_its_status(case: Case) -> None:
    refusal = judged(case)
    if case.status == 0:
        assert refusal is None
        return
    assert refusal is not None
    assert (refusal.status, refusal.size, refusal.fork) == (case.status, case.size, case.fork)
    assert case.text in refusal.text


def test_a_tree_that_rewrites_what_was_cosigned_has_no_proof() -> None:
    shrunk = LOG.fork(3)
    shrunk.grow(6, "rewritten")
    for proof in (shrunk.proof(5, 9), LOG.proof(5, 9)):
        submitted = read(encode_request(5, proof, shrunk.note()))
        assert not isinstance(submitted, Refusal)
        refusal = follows(submitted, KNOWN)
        assert refusal is not None
        assert refusal.status == 422


def test_a_key_that_is_not_known_may_be_the_next_one_of_the_log() -> None:
    submitted = read(_by(Signer(ORIGIN, bytes([7]) * 32)))
    assert not isinstance(submitted, Refusal)
    assert signed_by(submitted.note, LOG.signer.verifier) is Signed.BY_SUCCESSOR


@pytest.mark.parametrize(("change", "expected"), [(lambda blob: blob, True), (lambda blob: blob[:-1] + b"\0", False)])
def test_only_a_true_cosignature_of_ours_is_remembered(change: Callable[[bytes], bytes], expected: bool) -> None:
    own = Signer("v.example", bytes([5]) * 32, COSIGNATURE)
    note = parse_note(LOG.note())
    blob = change(own.sign(note.message, 1_764_000_000))
    signed = Note(note.text, (*note.signatures, SignatureLine(own.name, own.key_id, blob)))
    assert was_cosigned(signed, own.verifier) is expected
    assert not was_cosigned(note, own.verifier)
