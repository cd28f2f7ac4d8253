"""What service workers are told of the validators."""

from pathlib import Path

import pytest

from edgeproxy.config import load
from edgeproxy.finality import quorum_of_browsers
from edgeproxy.ledger.control import Quorum
from tests.support.edge import write_config
from tests.support.trees import VECTORS

W1, W2 = (VECTORS[f"{name}_key"]["vkey"] for name in ("witness1", "witness2"))
TABLES = "".join(f'[[ledger.validators]]\nvkey = "{vkey}"\nurl = "https://v.example"\n' for vkey in (W1, W2))


def told(folder: Path, more: str) -> Quorum | None:
    return quorum_of_browsers(load(write_config(folder, "http://127.0.0.1:1", more=more)))


def test_a_plain_quorum_is_told_with_its_keys(tmp_path: Path) -> None:
    assert told(tmp_path, "") is None
    assert told(tmp_path, f"[ledger]\n{TABLES}") == Quorum(2, (W1, W2))
    assert told(tmp_path, f"[ledger]\nquorum = 1\n{TABLES}") == Quorum(1, (W1, W2))


def test_groups_of_groups_are_not_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = tmp_path / "policy"
    witnesses = f"witness a {W1} https://a.example\nwitness b {W2} https://b.example\n"
    policy.write_text(f"{witnesses}group g any a b\nquorum g\n")
    assert told(tmp_path, f'[ledger]\npolicy = "{policy}"\n') == Quorum(1, (W1, W2))
    policy.write_text(f"{witnesses}group g any a\ngroup h all g b\nquorum h\n")
    assert told(tmp_path, f'[ledger]\npolicy = "{policy}"\n') is None
    assert "service workers do not ask for the validators' quorum: it has groups of groups" in caplog.text
