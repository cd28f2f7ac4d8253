"""`edgeproxy validator` on a folder: what an operator types, and what it says."""

import json
from pathlib import Path

import pytest

from edgeproxy import cli
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer, parse_verifier
from edgeproxy.ledger.policy import parse_policy
from tests.support.command_line import Command
from tests.support.logs import Log

LOG = Log()
URL = "https://edge.example/.edge/ledger"
OTHER = Signer("b.example/.edge/ledger", bytes([2]) * 32).verifier


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["validator", *arguments, "--data", str(tmp_path / "v")])
        return (status, *capsys.readouterr())

    return run


def test_init_prints_the_key_and_a_line_that_a_policy_file_takes(command: Command) -> None:
    status, out, _ = command("init", "--name", "v.example", "--log", LOG.vkey, "--url", URL)
    assert status == 0
    vkey, line = out.splitlines()[:2]
    assert parse_verifier(vkey).kind == COSIGNATURE
    witness = parse_policy(f"{line}\nquorum v.example\n".encode()).witnesses["v.example"]
    assert (str(witness.verifier), witness.url) == (vkey, "https://v.example")
    assert "PRIVATE" not in out
    status, _, error = command("init", "--name", "v.example")
    assert (status, "already" in error) == (1, True)


def test_logs_are_added_and_shown(command: Command) -> None:
    assert command("init", "--name", "v.example", "--log", LOG.vkey, "--url", URL, "--json")[0] == 0
    status, out, _ = command("add", "--log", str(OTHER), "--url", "http://b.example/.edge/ledger", "--json")
    assert (status, [each["origin"] for each in json.loads(out)["logs"]]) == (0, [LOG.origin, OTHER.name])
    assert OTHER.name in command("add", "--log", str(OTHER), "--url", "http://b.example/.edge/ledger")[1]
    shown = json.loads(command("status", "--json")[1])
    assert shown["logs"][0] == {"origin": LOG.origin, "url": URL, "size": 0, "cosigned": None, "vkey": None}
    assert shown["evidence"] == {"fork": 0, "conflict": 0}
    status, out, _ = command("status")
    assert (status, URL in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (("add",), 2, "needs --log"),
        (("add", "--log", LOG.vkey), 2, "goes with one --url"),
        (("add", "--log", "nonsense", "--url", URL), 1, "verifier key"),
        (("add", "--log", LOG.vkey, "--url", URL), 1, "no validator in this folder"),
        (("init", "--name", "two words"), 1, "name of the validator"),
        (("status",), 1, "no validator in this folder"),
        (("serve",), 1, "no validator in this folder"),
        (("serve", "--listen-tls", ":1"), 2, "--host"),
        (("serve", "--listen-tls", ":1", "--host", "v.example"), 2, "--email or --acme-directory"),
        (("serve", "--listen-tls", ":1", "--host", "v.example", "--email", "x"), 2, '--email: "x" is not an address'),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(command: Command, arguments: tuple[str, ...], status: int, what: str) -> None:
    ended, _, error = command(*arguments)
    assert (ended, what in error) == (status, True), error
    assert "Traceback" not in error


def test_a_folder_whose_state_is_gone_is_refused(command: Command, tmp_path: Path) -> None:
    command("init", "--name", "v.example")
    (tmp_path / "v" / "validator.sqlite").unlink()
    status, _, error = command("serve", "--listen", "127.0.0.1:0")
    assert (status, "state of the validator is missing" in error, "retire its key" in error) == (1, True, True)
