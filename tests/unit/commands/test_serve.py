"""`check`, `run`, `demo`: every fault of a configuration is printed, and flags are handed over."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeproxy.errors import StartError
from tests.support.command_line import Command

SITE = '[[site]]\nhosts = ["example.org"]\norigins = ["http://127.0.0.1:9000"]\n'


def test_check_says_that_a_file_is_good(command: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(SITE)
    status, out, err = command("check", "--config", "e.toml")
    assert (status, err) == (0, "")
    assert out.startswith("e.toml: good, 1 site, listening on 127.0.0.1:8080\n")
    assert json.loads(command("check", "-c", "e.toml", "--json")[1])["sites"] == [
        {"name": "example.org", "hosts": ["example.org"], "origins": ["http://127.0.0.1:9000"]}
    ]


def test_check_names_the_addresses_with_tls(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(
        f'[edge]\ndata = "{tmp_path}/data"\n[acme]\nemail = "a@example.org"\n'
        '[[site]]\nhosts = ["a.org"]\norigins = ["http://127.0.0.1:1"]\n'
    )
    status, out, _ = command("check", "--config", str(path))
    assert status == 0
    assert "listening on :80, :443 with TLS" in out


def test_check_prints_every_fault_and_ends_with_status_2(command: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("[edge]\nnoed = 1\nworkers = 9\n" + SITE + "[site.cache]\ndefault_ttl = 12\n")
    status, out, err = command("check", "--config", "e.toml")
    assert status == 2
    assert [line.partition(":")[0] for line in out.splitlines()] == ["edge.workers", "edge.noed", "site[0].cache.default_ttl"]
    assert err == "edgeproxy: e.toml: 3 faults\n"
    status, out, _ = command("check", "--config", "e.toml", "--json")
    assert status == 2
    assert len(json.loads(out)["faults"]) == 3


def test_run_refuses_a_bad_configuration_with_every_fault(command: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("[edge]\nnoed = 1\n" + SITE)
    status, out, err = command("run", "--config", "e.toml", "--listen", "nowhere")
    assert (status, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == ["edge.noed", "--listen"]
    status, _, err = command("run")
    assert status == 2
    assert "--origin URL" in err


def test_run_hands_over_the_configuration_and_its_status(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def run(config: object) -> int:
        taken.append(config)
        return 0

    monkeypatch.setitem(sys.modules, "edgeproxy.process", SimpleNamespace(run=run))
    line = ["run", "--origin", "http://a", "--origin", "http://b", "--host", "a.org", "--listen", ":1", "--listen", "[::1]:2"]
    assert command(*line, "--admin", "localhost:3", "--data", "d", "--workers", "auto")[0] == 0
    (config,) = taken
    assert config.sites[0].origins == ("http://a", "http://b")
    assert config.sites[0].hosts == ("a.org",)
    assert [str(address) for address in config.listen.http] == [":1", "[::1]:2"]
    assert (str(config.listen.admin), config.edge.data, config.edge.workers) == ("localhost:3", Path("d"), 1)


def test_what_keeps_the_edge_from_starting_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> int:
        raise StartError("address in use", address="127.0.0.1:8080")

    monkeypatch.setitem(sys.modules, "edgeproxy.process", SimpleNamespace(run=run))
    assert command("run", "--origin", "http://a") == (1, "", "edgeproxy: address in use (address=127.0.0.1:8080)\n")


def test_demo_hands_over_its_flags(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def run_demo(**flags: object) -> int:
        taken.append(flags)
        return 0

    monkeypatch.setitem(sys.modules, "edgeproxy.process", SimpleNamespace(run_demo=run_demo))
    assert command("demo")[0] == 0
    assert command("demo", "--listen", ":1", "--admin", ":2", "--data", "d")[0] == 0
    assert taken == [{"listen": None, "admin": None, "data": None}, {"listen": ":1", "admin": ":2", "data": Path("d")}]
