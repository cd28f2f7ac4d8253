"""The requests of tlog-witness: the published vectors, and each byte that is not as it should be."""

import pytest

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.cosigning import MAX_REQUEST, encode_request, monitoring_path, parse_request, parse_size
from tests.support.trees import VECTORS

BODY = VECTORS["add_checkpoint_5_8_body"].encode()


@pytest.mark.parametrize("name", ["add_checkpoint_0_5_body", "add_checkpoint_5_8_body"])
def test_the_requests_of_the_vectors_read_and_write_back(name: str) -> None:
    body = VECTORS[name].encode()
    request = parse_request(body)
    assert request.old == int(body.split(b"\n")[0][4:])
    assert encode_request(request.old, request.proof, request.note) == body


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "no empty line"),
        (b"old 5\n", "no empty line"),
        (BODY.replace(b"old 5", b"Old 5"), "old size"),
        (BODY.replace(b"old 5", b"old5"), "old size"),
        (BODY.replace(b"old 5", b"old 05"), "decimal"),
        (BODY.replace(b"old 5", b"old +5"), "decimal"),
        (BODY.replace(b"old 5\n", b"old 5\r\n"), "control"),
        (BODY.replace(b"=\n", b"\n", 1), "base64"),
        (b"old 5\n" + b"AAAA\n" + b"\n" + BODY, "32 bytes"),
        (b"old 5\n" + (b"A" * 43 + b"=\n") * 64 + b"\n", "too many"),
        (b"old 5\n\n" + b"x" * MAX_REQUEST, "too long"),
        (b"old \xff\n\n", "UTF-8"),
    ],
)
def test_another_form_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(ProofRefused, match=what):
        parse_request(body)


def test_the_size_of_a_conflict() -> None:
    assert parse_size(b"17\n") == 17
    for body in (b"", b"17", b"017\n", b"17\n18\n", b"-1\n", b"1" * 65 + b"\n"):
        with pytest.raises(ProofRefused):
            parse_size(body)


def test_the_monitoring_path_of_the_vectors() -> None:
    assert monitoring_path("edge.example/cache-log") in VECTORS["monitoring_path"]
