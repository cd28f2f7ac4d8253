"""Signed notes, their keys, checkpoints, cosignatures and proof files: the vectors, every wrong byte refused with its fault."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.merkle import EMPTY_ROOT, root_of
from edgeproxy.ledger.note_keys import (
    COSIGNATURE,
    MLDSA_COSIGNATURE,
    Signer,
    Verifier,
    cosigned_message,
    parse_signer,
    parse_verifier,
    subtree_message,
)
from edgeproxy.ledger.notes import MAX_SIGNATURES, SignatureLine, open_note, parse_note, parse_signature_lines, sign_note
from edgeproxy.ledger.proof_file import ProofFile, parse_proof_file, verify_proof
from edgeproxy.ledger.proofs import inclusion_proof
from edgeproxy.ledger.strict import decode_base64, decode_decimal, decode_lines
from tests.support.trees import VECTORS, decimal_leaves, nodes_of

ORIGIN = "edge.example/cache-log"
LOG = parse_verifier(VECTORS["log_key"]["vkey"])
SIGNER = Signer(ORIGIN, bytes.fromhex(VECTORS["log_key"]["seed"]))
W1, W2 = (parse_verifier(VECTORS[f"witness{number}_key"]["vkey"]) for number in (1, 2))
PROOF = VECTORS["tlog_proof_index3_size8"].encode()


def _root(size: int) -> Digest:
    return root_of(decimal_leaves(size))


# -- keys ------------------------------------------------------------------------------------------------------------------


def test_keys_are_written_as_the_vectors_have_them() -> None:
    for key, kind in (("log_key", 1), ("witness1_key", COSIGNATURE), ("witness2_key", COSIGNATURE)):
        vector = VECTORS[key]
        signer = Signer(vector["name"], bytes.fromhex(vector["seed"]), kind)
        assert str(signer.verifier) == vector["vkey"]
        assert signer.verifier == parse_verifier(vector["vkey"])
        assert (signer.verifier.public.hex(), signer.key_id.hex()) == (vector["public"], vector["key_id"])
        assert str(parse_signer(signer.private()).verifier) == vector["vkey"]
        if kind == COSIGNATURE:
            assert Signer(vector["name"], bytes.fromhex(vector["seed"])).key_id.hex() == vector["key_id_if_type_01"]
    assert SIGNER.private() == VECTORS["log_key"]["go_skey"]
    assert VECTORS["log_key"]["go_skey"] not in repr(SIGNER)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda key: key.replace("+fb166e79", "+fb166e78"), "key ID is not that"),
        (lambda key: key.replace("+fb166e79", "+FB166E79"), "hex digits"),
        (lambda key: key.replace("+fb166e79", ""), "three parts|hex digits"),
        (lambda key: key.replace("edge", "Edge"), "key ID is not that"),
        (lambda key: key.replace("edge.example", "edge example"), "space"),
        (lambda key: key.replace("edge.example", "edge\u2003example"), "space"),
        (lambda key: key[key.index("+") :], "name is empty"),
        (lambda key: key + "=", "base64"),
        (lambda key: key[:-1] + "d", "base64 is not canonical|key ID"),
        (lambda key: key.rpartition("+")[0] + "+", "key is empty"),
        (lambda key: key.rpartition("+")[0] + "+AQ==", "wrong length"),
        (lambda key: key.rpartition("+")[0] + "+/w==", "unknown type"),
        (lambda key: "", "three parts"),
    ],
)
def test_a_verifier_key_that_is_wrong_anywhere_is_refused(change, fault) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProofRefused, match=fault):
        parse_verifier(change(VECTORS["log_key"]["vkey"]))


def test_keys_under_which_anything_verifies_are_refused() -> None:
    prime = 2**255 - 19
    low = (0, 1, prime - 1, _order_eight(), prime - _order_eight())
    for y in low:
        for sign in (0, 1 << 255):
            with pytest.raises(ProofRefused, match="small order"):
                Verifier("a", 1, (y | sign).to_bytes(32, "little"))
    for y in (prime, prime + 1, 2**255 - 1):
        with pytest.raises(ProofRefused, match="not canonical"):
            Verifier("a", 1, y.to_bytes(32, "little"))


def _order_eight() -> int:
    """A y whose double has y = 0: there x squared is -1/y squared on the curve."""
    prime = 2**255 - 19
    d = -121665 * pow(121666, -1, prime) % prime
    # Doubling gives y = (y^2 + x^2) / (1 - d x^2 y^2) = 0 for x^2 = -y^2; with z = y^2 the curve then says 2z = 1 - d z^2.
    root = _sqrt(1 + d, prime)
    for z in ((-1 + root) * pow(d, -1, prime) % prime, (-1 - root) * pow(d, -1, prime) % prime):
        y = _sqrt(z, prime)
        if y * y % prime == z:
            return y
    raise AssertionError("no such point")


def _sqrt(square: int, prime: int) -> int:
    root = pow(square, (prime + 3) // 8, prime)
    return root if root * root % prime == square % prime else root * pow(2, (prime - 1) // 4, prime) % prime


def test_a_signer_key_that_is_wrong_is_refused_without_being_quoted() -> None:
    good = SIGNER.private()
    for bad in (good[1:], good[:-4], good.replace("fb166e79", "fb166e78"), good.replace("+AQEB", "+BgEB"), "PRIVATE+KEY+"):
        with pytest.raises(ProofRefused) as refused:
            parse_signer(bad)
        assert "AQEBAQEB" not in str(refused.value)
    with pytest.raises(ValueError, match="sign"):
        Signer("a", bytes(32), MLDSA_COSIGNATURE)
    with pytest.raises(ValueError, match="time"):
        SIGNER.sign(b"", 1)


# -- notes and checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 8, 300])
def test_checkpoints_are_byte_for_byte_those_of_the_vectors(size: int) -> None:
    vector = VECTORS["checkpoints"][str(size)]
    checkpoint = Checkpoint(ORIGIN, size, _root(size))
    assert checkpoint.text == vector["text"]
    assert sign_checkpoint(checkpoint, SIGNER) == vector["note"].encode()
    assert open_checkpoint(vector["note"].encode(), LOG, ORIGIN).checkpoint == checkpoint


@pytest.mark.parametrize("case", VECTORS["note_cases"], ids=lambda case: case["name"])
def test_the_note_cases_of_the_vectors(case: dict[str, str]) -> None:
    data = case["note"].encode()
    if case["expect"] == "accept":
        opened = open_checkpoint(data, LOG, ORIGIN)
        assert opened.checkpoint.size == 8
        assert opened.note.encode() == data
    else:  # what the specification would let pass, we refuse
        with pytest.raises(ProofRefused):
            open_checkpoint(data, LOG, ORIGIN)


NOTE = VECTORS["checkpoints"]["8"]["note"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "line feed"),
        (NOTE.encode()[:-1], "line feed"),
        (NOTE.replace("\n", "\r\n").encode(), "control character"),
        (b"\xef\xbb\xbf" + NOTE.encode(), "known key|does not verify"),
        (NOTE.encode("utf-16"), "UTF-8"),
        (NOTE.encode() + b"\xff\n", "UTF-8"),
        (NOTE.replace("\n\n", "\n").encode(), "no text, or no empty line"),
        (b"\n" + NOTE.partition("\n\n")[2].encode(), "no text"),
        (NOTE.partition("\n\n")[0].encode() + b"\n\n", "no signatures"),
        (NOTE.encode() + b"\n", "no signatures"),
        (NOTE.replace("\u2014", "-").encode(), "em dash"),
        (NOTE.replace("\u2014 ", "\u2014").encode(), "em dash"),
        (NOTE.replace("\u2014 edge", "\u2014  edge").encode(), "key name is empty|base64"),
        (NOTE.encode() + "\u2014 a.b\n".encode(), "has no signature"),
        (NOTE.encode() + "\u2014 a.b AAAA\n".encode(), "too short"),
        (NOTE.encode() + "\u2014 a+b YWJjZHp6eg==\n".encode(), "plus sign"),
        (NOTE.encode() + "\u2014 a.b YWJjZHp6eg\n".encode(), "base64"),
        (NOTE.encode() + "\u2014 a.b YWJjZHp6eg== \n".encode(), "base64"),
        (NOTE.encode() + "\u2014 a.b YWJjZHp6eg==\n".encode() * 2, "two signatures of one key"),
        (NOTE.replace("\n8\n", "\n9\n").encode(), "does not verify"),
        (NOTE.encode() + b"".join(b"\xe2\x80\x94 k%d YWJjZHp6eg==\n" % n for n in range(MAX_SIGNATURES)), "too many signatures"),
        (b"x" * (1 << 20), "too long"),
    ],
)
def test_a_note_that_is_wrong_is_refused_and_its_fault_named(data: bytes, fault: str) -> None:
    with pytest.raises(ProofRefused, match=fault):
        open_checkpoint(data, LOG, ORIGIN)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{ORIGIN}\n", "three lines"),
        (f"{ORIGIN}\n8\n", "three lines"),
        ("\n8\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY4=\n", "empty line"),
        *(
            (f"{ORIGIN}\n{size}\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY4=\n", "plain decimal")
            for size in ("08", "+8", "-8", " 8", "8_0", "0x8", "\u0663", str(2**63), "9" * 30)
        ),
        (f"{ORIGIN}\n8\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY5=\n", "not canonical"),
        (f"{ORIGIN}\n8\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uc\n", "32 bytes"),
        (f"{ORIGIN}\n0\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY4=\n", "empty log"),
        (f"{ORIGIN}\n8\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY4=\nmore\n", "extension"),
    ],
)
def test_a_checkpoint_that_is_wrong_is_refused_though_it_is_signed(text: str, fault: str) -> None:
    with pytest.raises(ProofRefused, match=fault):
        parse_checkpoint(text.encode())
    signed = sign_note(text, (SIGNER,)).encode()
    with pytest.raises(ProofRefused, match=fault):
        open_checkpoint(signed, LOG, ORIGIN)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_checkpoint_can_be_changed(place: int, change: int) -> None:
    data = bytearray(NOTE.encode())
    data[place] ^= change
    with pytest.raises(ProofRefused):
        open_checkpoint(bytes(data), LOG, ORIGIN)


@given(st.integers(0, len(NOTE.encode()) - 1))
def test_no_byte_of_a_checkpoint_can_be_left_out_or_said_twice(place: int) -> None:
    data = NOTE.encode()
    for other in (data[:place] + data[place + 1 :], data[:place] + data[place : place + 1] + data[place:]):
        if other != data:
            with pytest.raises(ProofRefused):
                open_checkpoint(other, LOG, ORIGIN)


def test_a_key_counts_only_for_its_own_log_and_unknown_lines_do_not_count() -> None:
    other = Signer("other.example/log", bytes(range(32)))
    with pytest.raises(ProofRefused, match="known key"):
        open_checkpoint(NOTE.encode(), other.verifier, ORIGIN)
    foreign = sign_note(Checkpoint("other.example/log", 8, _root(8)).text, (SIGNER,)).encode()
    with pytest.raises(ProofRefused, match="another log"):
        open_checkpoint(foreign, LOG, ORIGIN)
    cosigned_only = VECTORS["checkpoints"]["8"]["text"] + "\n" + VECTORS["cosignature_w1_size8"]["line"]
    with pytest.raises(ProofRefused, match="not signed by the log"):
        open_checkpoint(cosigned_only.encode(), LOG, ORIGIN, (W1,))
    for wrong in ("", "no line feed", "a\tb\n"):
        with pytest.raises(ValueError):
            sign_note(wrong, (SIGNER,))
    with pytest.raises(ValueError, match="range"):
        sign_checkpoint(Checkpoint(ORIGIN, 2**63, EMPTY_ROOT), SIGNER)


# -- cosignatures ----------------------------------------------------------------------------------------------------------


def test_cosignatures_are_those_of_the_vectors() -> None:
    text = VECTORS["checkpoints"]["8"]["text"].encode()
    for number, verifier in ((1, W1), (2, W2)):
        vector = VECTORS[f"cosignature_w{number}_size8"]
        assert cosigned_message(text, vector["timestamp"]) == vector["message"].encode()
        seed = bytes.fromhex(VECTORS[f"witness{number}_key"]["seed"])
        signer = Signer(verifier.name, seed, COSIGNATURE)
        blob = signer.sign(text, vector["timestamp"])
        line = SignatureLine(signer.name, signer.key_id, blob)
        assert str(line) == vector["line"]
        assert blob.hex() == vector["blob"]
        assert parse_signature_lines(vector["line"].encode()) == (line,)
        assert verifier.verify(text, blob) == vector["timestamp"]
        for wrong in (blob[:-1], blob + b"\0", b"\0" + blob[1:-1] + b"\0", b"\xff" * 72, bytes(7) + b"\1" + blob[8:]):
            with pytest.raises(ProofRefused, match=r"length|range|does not verify"):
                verifier.verify(text, wrong)
    opened = open_checkpoint(VECTORS["cosigned_checkpoint_8"].encode(), LOG, ORIGIN, (W1, W2))
    assert [each.timestamp for each in opened.cosigned] == [1700000000, 1700000001]


def test_a_cosignature_of_ml_dsa_44_is_verified() -> None:
    vector = VECTORS["mldsa44"]
    verifier = parse_verifier(vector["vkey"])
    assert (verifier.kind, verifier.key_id.hex()) == (MLDSA_COSIGNATURE, vector["key_id"])
    signed = subtree_message(vector["name"], vector["timestamp"], ORIGIN, (0, 8), _root(8))
    assert signed.hex() == vector["message"]
    note = (NOTE + vector["line"]).encode()
    blob = base64.b64decode(vector["line"].split(" ")[2])[4:]
    assert (len(verifier.public), sha256(verifier.public).hex()) == (vector["public_len"], vector["public_sha256"])
    assert MLDSA44PrivateKey.from_seed_bytes(bytes.fromhex(vector["seed"])).public_key().public_bytes_raw() == verifier.public
    assert (sha256(blob).hex(), sha256(blob[8:]).hex()) == (vector["blob_sha256"], vector["deterministic_signature_sha256"])
    assert open_checkpoint(note, LOG, ORIGIN, (verifier,)).cosigned[0].timestamp == vector["timestamp"]
    other = sign_checkpoint(Checkpoint(ORIGIN, 5, _root(5)), SIGNER) + vector["line"].encode()
    with pytest.raises(ProofRefused, match="does not verify"):
        open_checkpoint(other, LOG, ORIGIN, (verifier,))
    with pytest.raises(ProofRefused, match="too long"):
        subtree_message("n" * 256, 0, ORIGIN, (0, 8), _root(8))


# -- proof files -----------------------------------------------------------------------------------------------------------


def test_the_proof_file_of_the_vectors() -> None:
    proof = parse_proof_file(PROOF)
    assert proof.encode() == PROOF
    assert proof.path == inclusion_proof(nodes_of(decimal_leaves(8)), 3, 8)
    opened = verify_proof(proof, b"3", LOG, ORIGIN, (W1, W2))
    assert (proof.index, opened.checkpoint.size, len(opened.cosigned)) == (3, 8, 2)
    with pytest.raises(ProofRefused, match="does not lead to the root"):
        verify_proof(proof, b"4", LOG, ORIGIN)
    with_extra = ProofFile(proof.index, proof.path, proof.note, b"anything")
    assert parse_proof_file(with_extra.encode()) == with_extra


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("@v1", "@v2", "version 1"),
        ("c2sp.org/tlog-proof@v1\n", "", "version 1"),
        ("index 3", "index 03", "plain decimal"),
        ("index 3", "index  3", "plain decimal"),
        ("index 3", "INDEX 3", "no index"),
        ("index 3\n", "", "no index"),
        ("index 3", "extra !\nindex 3", "base64"),
        ("index 3", "index 3\nextra YQ==", "base64"),
        ("index 3", "index 4", "does not lead"),
        ("index 3", "index 8", "not in a tree"),
        ("tIY=\n", "tIY\n", "base64"),
        ("tIY=\n", "tIY=\ntIY=\n", "32 bytes"),
        ("tIY=\n", "tIY=" + "\nMfKXOrY+GTdd/g0WWpLr2aE9KLXm/HgHLEBovXu/vDc=" * 2 + "\n", "too many"),
        ("\n\nedge", "\nedge", "base64|no empty line"),
    ],
)
def test_a_proof_file_that_is_wrong_is_refused_and_its_fault_named(old: str, new: str, fault: str) -> None:
    data = PROOF.decode().replace(old, new, 1).encode()
    with pytest.raises(ProofRefused, match=fault):
        verify_proof(parse_proof_file(data), b"3", LOG, ORIGIN, (W1, W2))


@given(st.integers(0, len(PROOF) - 1), st.integers(1, 255))
def test_no_byte_of_a_proof_file_can_be_changed(place: int, change: int) -> None:
    data = bytearray(PROOF)
    data[place] ^= change
    try:
        opened = verify_proof(parse_proof_file(bytes(data)), b"3", LOG, ORIGIN, (W1, W2))
    except ProofRefused:
        return
    # A line of a key that is not known is ignored: then the cosignature is missing where the policy counts it.
    assert len(opened.cosigned) < 2


# -- the forms below -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert decode_base64(text) == data
    for wrong in (text + "=", text + "\n", " " + text, text[:-1], text.replace("=", ""), base64.urlsafe_b64encode(data).decode()):
        if wrong != text and wrong:
            with pytest.raises(ProofRefused):
                decode_base64(wrong)


def test_decimals_and_lines_are_plain() -> None:
    assert [decode_decimal(text) for text in ("0", "10", str(2**63 - 1))] == [0, 10, 2**63 - 1]
    for wrong in ("", "00", "1\n", "١", "1e3", "1.0"):
        with pytest.raises(ProofRefused):
            decode_decimal(wrong)
    assert decode_lines("a\u2028b\u0085c\n".encode(), most=100) == ["a\u2028b\u0085c"]
    assert open_note(parse_note(sign_note("any text\n\nwith an empty line\n", (SIGNER,)).encode()), (LOG,))
