"""The second key of a log, with ML-DSA-44."""

import pytest

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.mldsa import MldsaSigner, parse_mldsa_signer
from edgeproxy.ledger.note_keys import Signer
from tests.support.trees import VECTORS, decimal_leaves

VECTOR = VECTORS["mldsa44"]
SIGNER = MldsaSigner(VECTOR["name"], bytes.fromhex(VECTOR["seed"]))
LOG = Signer("edge.example/cache-log", b"\1" * 32)


def test_the_key_is_that_of_the_vectors_and_its_line_verifies() -> None:
    assert str(SIGNER.verifier) == VECTOR["vkey"]
    checkpoint = Checkpoint(LOG.name, 8, root_of(decimal_leaves(8)))
    note = sign_checkpoint(checkpoint, LOG) + str(SIGNER.line(checkpoint, 1_700_000_000)).encode()
    opened = open_checkpoint(note, LOG.verifier, LOG.name, (SIGNER.verifier,))
    assert [(each.verifier, each.timestamp) for each in opened.cosigned] == [(SIGNER.verifier, 1_700_000_000)]
    assert open_checkpoint(note, LOG.verifier, LOG.name).cosigned == ()
    other = Checkpoint(LOG.name, 9, root_of(decimal_leaves(9)))
    note = sign_checkpoint(other, LOG) + str(SIGNER.line(checkpoint, 1_700_000_000)).encode()
    with pytest.raises(ProofRefused, match="does not verify"):
        open_checkpoint(note, LOG.verifier, LOG.name, (SIGNER.verifier,))


def test_what_is_written_is_read_again_and_nothing_else() -> None:
    text = SIGNER.private()
    assert parse_mldsa_signer(text).verifier == SIGNER.verifier
    assert text not in repr(SIGNER)
    for wrong in (text[1:], text[:-4], text.replace(VECTOR["key_id"], "00000000"), LOG.private(), "", "PRIVATE+KEY+a+b+c"):
        with pytest.raises(ProofRefused):
            parse_mldsa_signer(wrong)
