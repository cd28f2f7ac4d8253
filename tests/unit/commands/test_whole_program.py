"""The command line as a whole: exit status, what goes to which stream, and that nobody ever sees a traceback."""

import json
import re
from pathlib import Path

import pytest

import edgeproxy
from tests.support.command_line import Command


def test_there_are_the_commands_of_this_version_and_no_others(command: Command) -> None:
    status, out, _ = command("--help")
    assert status == 0
    listed = re.findall(r"^\W+(\w+)  ", out.partition("Commands")[2], re.MULTILINE)
    asked = ["status", "explain", "purge", "rollback", "release", "preview", "reload", "restore"]
    assert listed == ["run", "demo", "check", *asked, "version", "certs", "ledger", "validator", "sw", "mirror"]
    assert re.findall(r"^\W+(\w+)  ", command("ledger", "--help")[1].partition("Commands")[2], re.MULTILINE) == [
        "head",
        "show",
        "history",
        "rotate",
        "prove",
        "verify",
        "erase",
        "export",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("restore",), "--from"),
        (("restore", "--from", "http://a", "--from", "http://b"), "one URL, or one or more files"),
        (("restore", "--from", "http://a", "--from", "file"), "one URL, or one or more files"),
        (("restore", "--from", "http://a"), "whose ledger is it?"),
        (("restore", "--from", "file", "--admin-token", "token"), "goes with the URL of an admin side"),
        (("restore", "--from", "file", "--key", "none"), "--key is not a verifier key"),
        (("ledger", "export",), "FILE"),
        (("ledger", "erase", "/page"), "is not an absolute URL"),
    ],
)  # fmt: skip
def test_what_disaster_commands_do_not_understand_is_said(command: Command, arguments: tuple[str, ...], text: str) -> None:
    status, out, err = command(*arguments)
    assert status == 2
    assert text in out + err


def test_a_restore_from_a_file_that_is_not_there_and_an_export_of_nothing_end_with_one_line(
    command: Command, tmp_path: Path
) -> None:
    for arguments, text in (
        (("restore", "--from", str(tmp_path / "none"), "--data", str(tmp_path / "data")), "export cannot be read"),
        (("ledger", "export", str(tmp_path / "file"), "--data", str(tmp_path)), "there is no ledger in"),
        (("restore", "--from", "http://a", "--admin-token", str(tmp_path / "none")), "admin token cannot be read"),
    ):
        status, _, err = command(*arguments)
        assert status == 1
        assert text in err


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["check"],
        ["explain"],
        ["purge"],
        ["ledger", "show", "x"],
        ["ledger", "show", "--", "-1"],
        ["ledger", "nothing"],
    ],
)
def test_wrong_usage_is_status_2_and_goes_to_standard_error(command: Command, line: list[str]) -> None:
    status, out, err = command(*line)
    assert (status, out) == (2, "")
    assert err


def test_version_is_said_in_three_ways(command: Command) -> None:
    assert command("--version")[:2] == (0, f"edgeproxy {edgeproxy.__version__}\n")
    assert command("version")[1].startswith(f"edgeproxy {edgeproxy.__version__} (Python 3.")
    assert json.loads(command("version", "--json")[1])["version"] == edgeproxy.__version__


def test_an_unforeseen_error_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("wires crossed")

    monkeypatch.setattr("edgeproxy.commands.operate.data_folder", fail)
    assert command("status") == (
        1,
        "",
        "edgeproxy: internal error: RuntimeError: wires crossed (EDGEPROXY_DEBUG=1 shows where)\n",
    )
    monkeypatch.setenv("EDGEPROXY_DEBUG", "1")
    with pytest.raises(RuntimeError):
        command("status")


def test_an_interrupt_ends_without_a_word(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeproxy.commands.operate.data_folder", interrupt)
    assert command("status") == (130, "", "")
