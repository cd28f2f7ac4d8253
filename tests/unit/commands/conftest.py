"""The command line, in the process of the test."""

from pathlib import Path

import pytest

from edgeproxy import cli
from tests.support.command_line import Command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run one command line in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("EDGEPROXY_DEBUG", raising=False)
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # given, so that `run` does not start this process over (`edgeproxy.launch`)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run
