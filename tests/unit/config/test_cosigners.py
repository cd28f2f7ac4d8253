# ruff: noqa: E501  (the fault lines are compared whole, one a line)
"""Validators and policies in the configuration: who cosigns, how many make a quorum, and what can never become final."""

import re
from pathlib import Path

import pytest

from edgeproxy.config import load
from edgeproxy.config.cosigners import cosigners_of
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from tests.support.configs import SITE, faults_of
from tests.support.edge import ROOT

VKEYS = [str(Signer(f"v{number}.example", bytes([number + 1]) * 32, COSIGNATURE).verifier) for number in range(3)]
LOG_KEY = str(Signer("edge.example/.edge/ledger", bytes([9]) * 32).verifier)


def cosigners(*keys: str) -> str:
    return "".join(f'[[ledger.validators]]\nvkey = "{key}"\nurl = "http://127.0.0.1:1"\n' for key in keys)


@pytest.mark.parametrize(
    ("quorum", "cosigned", "expected"), [("", 1, False), ("", 2, True), ("quorum = 3", 2, False), ("quorum = 1", 1, True)]
)
def test_more_than_half_of_the_validators_are_a_quorum_unless_said_otherwise(
    write, quorum: str, cosigned: int, expected: bool
) -> None:
    found = cosigners_of(load(write(f"[ledger]\n{quorum}\n{cosigners(*VKEYS)}{SITE}")).ledger)
    assert found is not None
    policy, asked = found
    assert [str(each.verifier) for each in asked] == VKEYS
    assert policy.is_met({each.name for each in asked[:cosigned]}) is expected
    assert cosigners_of(load(write(SITE)).ledger) is None


def test_a_policy_file_says_who_cosigns(write, tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(f"witness a {VKEYS[0]} http://a\nwitness b {VKEYS[1]}\ngroup g any a b\nquorum g\n")
    found = cosigners_of(load(write(f'[ledger]\npolicy = "{tmp_path}/policy"\n{SITE}')).ledger)
    assert found is not None
    policy, asked = found
    assert [(each.name, each.url) for each in asked] == [("a", "http://a")]
    assert policy.is_met({"b"})


@pytest.mark.parametrize(
    ("ledger", "policy", "faults"),
    [
        ("quorum = 2\n", None, ["ledger.quorum: there is nobody to count; allowed: together with [[ledger.validators]]"]),
        (f"quorum = 2\n{cosigners(VKEYS[0])}", None, ["ledger.quorum: 2 is more than there are validators; allowed: up to 1"]),
        (f"publish = false\n{cosigners(VKEYS[0])}", None, ["ledger.publish: false hides the blocks from the validators too; allowed: true where there are validators"]),
        (cosigners(VKEYS[0], VKEYS[1], VKEYS[0]), None, ["ledger.validators[2].vkey: the key is there twice; allowed: each validator once"]),
        (cosigners(LOG_KEY), None, [f'ledger.validators[0].vkey: "{LOG_KEY}" is the key of a log, which does not cosign; allowed: the key that `edgeproxy validator init` printed, like "validator.example.org+1a2b3c4d+BE5d…"']),
        (cosigners("nonsense"), None, ['ledger.validators[0].vkey: "nonsense" is not a verifier key (verifier key has not three parts); allowed: the key that `edgeproxy validator init` printed, like "validator.example.org+1a2b3c4d+BE5d…"']),
        ("[[ledger.validators]]\n", None, ["ledger.validators[0].vkey: missing; allowed: the key that `edgeproxy validator init` printed", "ledger.validators[0].url: missing; allowed: where the validator is asked"]),
        (f'policy = "POLICY"\n{cosigners(VKEYS[0])}', f"witness a {VKEYS[0]} http://a\nquorum a\n", ["ledger.policy: names the validators, and so does [[ledger.validators]]; allowed: one of the two"]),
        ('policy = "POLICY"\n', "quorum none\n", ["ledger.policy: POLICY has the quorum none, with which everything is final; allowed: a quorum of witnesses"]),
        ('policy = "POLICY"\n', f"witness a {VKEYS[0]}\nquorum a\n", ["ledger.policy: POLICY has too few witnesses with a url for its quorum; allowed: a url behind the key of each"]),
        ('policy = "POLICY"\n', "quorum a\n", ["ledger.policy: POLICY is not understood: name is not one of a line above (name=a, line=1); allowed: a C2SP tlog-policy file"]),
        ('policy = "/not/there"\n', None, ['ledger.policy: "/not/there" is not a file; allowed: the path of a file that exists']),
    ],
)  # fmt: skip
def test_validators_that_cannot_make_anything_final_are_a_fault(
    write, tmp_path: Path, ledger: str, policy: str | None, faults: list[str]
) -> None:
    if policy is not None:
        (tmp_path / "policy").write_text(policy)
    path = str(tmp_path / "policy")
    assert faults_of(write(f"[ledger]\n{ledger.replace('POLICY', path)}{SITE}")) == [
        each.replace("POLICY", path) for each in faults
    ]


def test_what_the_example_shows_of_validators_can_be_used(write, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = (ROOT / "config/edgeproxy.example.toml").read_text(encoding="utf-8")
    shown = text[text.index("# [[ledger.validators]]") :].partition("\n\n")[0].replace("\n# ", "\n").removeprefix("# ")
    shown = re.sub(r'"/[^"]+\.pem"', f'"{tmp_path}/ca.pem"', shown)
    (validator,) = load(write(f"{shown}\n{SITE}")).ledger.validators
    assert validator.ca_file == tmp_path / "ca.pem"
