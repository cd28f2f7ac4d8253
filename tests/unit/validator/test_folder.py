"""The folder of a validator: a key of its own, and the logs that an operator names."""

import stat
from pathlib import Path

import pytest

from edgeproxy.errors import StartError
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.validator.folder import (
    KEY_FILE,
    LOGS_FILE,
    KnownLog,
    add_logs,
    known_log,
    lock,
    make_folder,
    read_known,
    read_signer,
)
from edgeproxy.validator.state import State
from tests.support.logs import Log

LOG = KnownLog(Log().signer.verifier, "https://edge.example/.edge/ledger")


def test_a_new_validator_has_a_key_for_itself_alone_and_an_empty_state(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    signer = make_folder(folder, "v.example", [LOG])
    assert signer.verifier.kind == COSIGNATURE
    assert read_signer(folder).verifier == signer.verifier
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert read_known(folder) == [LOG]
    state = State(folder, str(signer.verifier))
    assert state.logs() == []
    state.close()
    with pytest.raises(StartError, match="already"):
        make_folder(folder, "v.example", [])


def test_logs_are_added_and_one_that_is_known_is_replaced(tmp_path: Path) -> None:
    make_folder(tmp_path, "v.example", [LOG])
    other = KnownLog(Signer("b.example/.edge/ledger", bytes([2]) * 32).verifier, "https://b.example/.edge/ledger")
    same = KnownLog(Signer("b.example/.edge/ledger", bytes([1]) * 32).verifier, "https://b.example/.edge/ledger")
    with pytest.raises(StartError, match="together"):
        add_logs(tmp_path, [same])
    moved = KnownLog(LOG.verifier, "https://moved.example/.edge/ledger")
    assert add_logs(tmp_path, [other, moved]) == read_known(tmp_path) == [moved, other]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("quorum none\nlog nonsense http://a\n", "not understood"),
        (f"quorum none\nlog {LOG.verifier}\n", "no url"),
        (f"quorum none\nlog {LOG.verifier} ftp://a\n", "address of a log"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / LOGS_FILE).write_text(text)
    with pytest.raises(StartError, match=what):
        read_known(tmp_path)


def test_what_an_operator_cannot_mean_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="verifier key"):
        known_log("nonsense", "http://a")
    with pytest.raises(StartError, match="address"):
        known_log(str(LOG.verifier), "a")
    with pytest.raises(StartError, match="name of the validator"):
        make_folder(tmp_path, "a b", [])
    with pytest.raises(StartError, match="no validator"):
        read_signer(tmp_path)
    (tmp_path / KEY_FILE).write_text("PRIVATE+KEY+nonsense")
    with pytest.raises(StartError, match="damaged"):
        read_signer(tmp_path)
    (tmp_path / KEY_FILE).write_text(Log().signer.private())
    with pytest.raises(StartError, match="cosigns"):
        read_signer(tmp_path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    import os

    held = lock(tmp_path)
    with pytest.raises(StartError, match="in use"):
        lock(tmp_path)
    os.close(held)
