"""Policy files: the vectors, each rule of their form, and what a quorum makes of a checkpoint."""

from typing import Any

import pytest

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.policy import MAX_POLICY, parse_policy
from tests.support.trees import VECTORS

LOG, W1, W2 = (VECTORS[f"{name}_key"]["vkey"] for name in ("log", "witness1", "witness2"))
HEAD = f"log {LOG}\nwitness a {W1} https://a.example/\nwitness b\t{W2}\n"


@pytest.mark.parametrize("case", VECTORS["policy_cases"], ids=lambda case: case["policy"].splitlines()[-1] + str(case["expect"]))
def test_the_policy_cases_of_the_vectors(case: dict[str, Any]) -> None:
    if case["expect"] == "parse-error":
        with pytest.raises(ProofRefused):
            parse_policy(case["policy"].encode())
    else:
        assert parse_policy(case["policy"].encode()).is_met(set(case["cosigned_by"])) is case["expect"]


def test_the_policy_of_the_vectors_opens_their_checkpoint() -> None:
    policy = parse_policy(VECTORS["tlog_policy"].encode())
    opened = policy.open(VECTORS["cosigned_checkpoint_8"].encode())
    assert (opened.checkpoint.size, len(opened.cosigned)) == (8, 2)
    assert list(policy.logs) == ["edge.example/cache-log"]


@pytest.mark.parametrize(
    ("quorum", "cosigned", "expected"),
    [
        ("none", "", True),
        ("a", "b", False),
        ("a", "ab", True),
        ("g", "a", False),
        ("g", "ab", True),
    ],
)
def test_a_checkpoint_counts_when_a_quorum_cosigned_it(quorum: str, cosigned: str, expected: bool) -> None:
    policy = parse_policy(f"{HEAD}group g all a b\nquorum {quorum}\n".encode())
    lines = "".join(VECTORS[f"cosignature_w{'ab'.index(each) + 1}_size8"]["line"] for each in cosigned)
    note = (VECTORS["checkpoints"]["8"]["note"] + lines).encode()
    if expected:
        assert policy.open(note).checkpoint.size == 8
    else:
        with pytest.raises(ProofRefused, match="quorum"):
            policy.open(note)


def test_a_checkpoint_of_another_log_counts_for_nothing() -> None:
    policy = parse_policy(b"quorum none")
    for note in (VECTORS["checkpoints"]["8"]["note"].encode(), b"nonsense"):
        with pytest.raises(ProofRefused, match="no log that the policy names"):
            policy.open(note)


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ("", "no quorum"),
        (HEAD, "no quorum"),
        (f"{HEAD}quorum none\nquorum none\n", "two quorums"),
        (f"{HEAD}quorum c\n", "not one of a line above"),
        (f"{HEAD}quorum none more\n", "not understood"),
        (f"{HEAD}Quorum none\n", "not understood"),
        (f"{HEAD}group g all\nquorum none\n", "not understood"),
        (f"{HEAD}group g 0 a b\nquorum g\n", "needs none"),
        (f"{HEAD}group g 3 a b\nquorum g\n", "needs none"),
        (f"{HEAD}group g 02 a b\nquorum g\n", "plain decimal"),
        (f"{HEAD}group g two a b\nquorum g\n", "plain decimal"),
        (f"{HEAD}group g any a\ngroup h any a b\nquorum h\n", "one already"),
        (f"{HEAD}group g any g\nquorum g\n", "not one of a line above"),
        (f"{HEAD}group a any b\nquorum a\n", "name is taken"),
        (f"{HEAD}witness none {W1}\nquorum none\n", "name is taken"),
        (f"{HEAD}witness c {W1}\nquorum none\n", "there twice"),
        (f"witness c {LOG}\nquorum none\n", "type that cosigns"),
        (f"log {W1}\nquorum none\n", "type that signs"),
        (f"log {LOG}\nlog {LOG}\nquorum none\n", "named twice"),
        (f"log {LOG} a b\nquorum none\n", "not understood"),
        (f"log {LOG[:-1]}\nquorum none\n", r"base64|key ID"),
        ("log \xff+00000000+AAAA\nquorum none\n", r"UTF-8|key ID"),
        ("quorum none\r\n", "control character"),
        ("quorum\x00none\n", "control character"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_and_its_fault_named(policy: str, fault: str) -> None:
    with pytest.raises(ProofRefused, match=fault):
        parse_policy(policy.encode("latin-1"))


def test_comments_blanks_and_tabs_are_passed_over_and_the_line_of_a_fault_is_told() -> None:
    policy = parse_policy(f"# a comment\n\n \t \n  #another\n{HEAD}\tgroup  g\t1 a   b\nquorum g".encode())
    assert policy.witnesses["a"].url == "https://a.example/"
    assert policy.is_met({"b"})
    with pytest.raises(ProofRefused) as refused:
        parse_policy(b"# one\n\nwitness a b c d\n")
    assert refused.value.fields["line"] == 3
    with pytest.raises(ProofRefused, match="too long"):
        parse_policy(b"#" * (MAX_POLICY + 1))


@pytest.mark.parametrize(
    ("quorum", "expected"),
    [
        ("quorum none\n", None),
        ("quorum b\n", (1, (W2,))),
        ("group g all a b\nquorum g\n", (2, (W1, W2))),
        ("group g any a b\nquorum g\n", (1, (W1, W2))),
        ("group g any a\ngroup h all g b\nquorum h\n", None),
    ],
)
def test_a_quorum_is_plain_when_a_number_and_keys_say_it(quorum: str, expected: tuple[int, tuple[str, ...]] | None) -> None:
    plain = parse_policy(f"{HEAD}{quorum}".encode()).plain()
    assert (None if plain is None else (plain[0], tuple(str(each) for each in plain[1]))) == expected
