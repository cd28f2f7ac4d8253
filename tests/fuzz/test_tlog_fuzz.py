"""Whatever a stranger sends as a note, proof, policy, key, tile or path: what it says, or a fault in words; nothing else."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Height
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Place, seal
from edgeproxy.ledger.checkpoint import open_checkpoint, parse_checkpoint, read_checkpoint
from edgeproxy.ledger.cosigning import encode_request, parse_request
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import RotateDraft
from edgeproxy.ledger.handover import Handover, encode_rotations, parse_rotations, rotations_of
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.mldsa import MldsaSigner, parse_mldsa_signer
from edgeproxy.ledger.note_keys import Signer, parse_signer, parse_verifier
from edgeproxy.ledger.notes import parse_note, parse_signature_lines
from edgeproxy.ledger.policy import parse_policy
from edgeproxy.ledger.proof_file import parse_proof_file, verify_proof
from edgeproxy.ledger.tiles import Tile, decode_bundle, decode_hash_tile, parse_tile_path
from tests.support.ledgers import NOW
from tests.support.trees import VECTORS


def _rotations() -> bytes:
    old, new = (Signer("log.example", bytes([number]) * 32) for number in (1, 2))
    raw = seal(Place(Height(1), ZERO, NOW, "edge-1"), RotateDraft(old, new, NOW), bytes(32)).raw
    return encode_rotations([Handover(raw, (leaf_hash(b"1"), leaf_hash(b"2")))])


LOG = parse_verifier(VECTORS["log_key"]["vkey"])
NOTE = VECTORS["cosigned_checkpoint_8"].encode()
PROOF = VECTORS["tlog_proof_index3_size8"].encode()
ROTATIONS = _rotations()
POLICY = VECTORS["tlog_policy"].encode()
# What the formats are made of, so that what is tried gets past the first line.
PIECES = st.sampled_from(
    (
        *(
            b"\n",
            b"\n\n",
            b" ",
            b"\t",
            b"\r\n",
            b"+",
            b"=",
            b"0",
            b"8",
            b"-1",
            b"9" * 20,
            b"\xe2\x80\x94 ",
            b"AAAA",
            b"\0",
            b"\xff",
        ),
        *(b"index 3\n", b"extra ", b"log ", b"witness ", b"group g any ", b"quorum none\n", b"x001/", b".p/"),
        *(b"\xc2\x85", b"\xe2\x80\xa8"),
    )
)


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with pieces put in, cut out, or in the place of others."""
    edits = st.lists(
        st.tuples(st.integers(0, len(data)), st.integers(0, 9), PIECES | st.binary(max_size=3)), min_size=1, max_size=5
    )

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        new = data
        for place, length, piece in edits:
            new = new[:place] + piece + new[place + length :]
        return new

    return st.binary(max_size=200) | st.lists(PIECES, max_size=20).map(b"".join) | edits.map(apply)


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("parse", "good"),
    [
        (parse_note, NOTE),
        (parse_signature_lines, VECTORS["cosignature_w1_size8"]["line"].encode()),
        (parse_checkpoint, VECTORS["checkpoints"]["8"]["text"].encode()),
        (lambda data: open_checkpoint(data, LOG, LOG.name), NOTE),
        (lambda data: verify_proof(parse_proof_file(data), b"3", LOG, LOG.name), PROOF),
        (parse_policy, POLICY),
        (lambda data: rotations_of(parse_rotations(data)), ROTATIONS),
        (_text(parse_mldsa_signer), MldsaSigner("log.example", bytes(32)).private().encode()),
        (_text(parse_verifier), VECTORS["log_key"]["vkey"].encode()),
        (_text(parse_signer), VECTORS["log_key"]["go_skey"].encode()),
        (_text(parse_tile_path), b"tile/entries/x001/234.p/7"),
        (lambda data: decode_bundle(data, 5), bytes.fromhex(VECTORS["entry_bundle_size5"]["hex"])),
        (lambda data: decode_hash_tile(data, 2), bytes(64)),
        (parse_request, VECTORS["add_checkpoint_5_8_body"].encode()),
    ],
)
@given(data=st.data())
def test_nothing_but_a_fault_in_words_comes_of_it(parse: Callable[[bytes], object], good: bytes, data: st.DataObject) -> None:
    assert parse(good) is not None
    tried = data.draw(changed(good))
    with suppress(ProofRefused):
        parse(tried)


@given(changed(ROTATIONS))
def test_rotations_have_one_spelling(data: bytes) -> None:
    with suppress(ProofRefused):
        assert encode_rotations(parse_rotations(data)) == data


@given(changed(NOTE))
def test_what_can_be_read_is_written_the_same(data: bytes) -> None:
    with suppress(ProofRefused):
        assert parse_note(data).encode() == data
    checkpoint = read_checkpoint(data)
    assert checkpoint is None or data.startswith(checkpoint.text.encode())


@given(changed(VECTORS["add_checkpoint_5_8_body"].encode()))
def test_a_request_that_can_be_read_is_written_the_same(data: bytes) -> None:
    with suppress(ProofRefused):
        request = parse_request(data)
        assert encode_request(request.old, request.proof, request.note) == data


@given(changed(PROOF), changed(b"tile/0/x001/234"))
def test_a_proof_and_a_path_that_can_be_read_are_written_the_same(proof: bytes, path: bytes) -> None:
    with suppress(ProofRefused):
        assert parse_proof_file(proof).encode() == proof
    with suppress(ProofRefused):
        tile = parse_tile_path(path.decode("utf-8", "replace"))
        assert isinstance(tile, Tile)
        assert tile.path.encode() == path
