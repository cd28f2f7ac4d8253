"""Commands that ask a running edge: a stand-in answers over a real socket, or there is none."""

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.backend import PurgeKind, PurgeOrder, RollbackOrder
from edgeproxy.admin.presence import Running, announce, ensure_token
from edgeproxy.commands.printing import print_facts
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.storage.bodies import BodyStore
from tests.support.admin_backend import ROOT, StandInBackend
from tests.support.command_line import Command
from tests.support.ledgers import Ledger


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[StandInBackend]:
    """A stand-in edge whose data folder is `./edgeproxy-data`, on a thread of its own."""
    data = tmp_path / "edgeproxy-data"
    data.mkdir()
    backend = StandInBackend()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = AdminServer(backend, ensure_token(data), ("127.0.0.1", 0))
    host, port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    announce(data, Running(f"{host}:{port}", os.getpid()))
    yield backend
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


# --- a running edge


ASKING = [
    ["status"],
    ["explain", "http://a/"],
    ["purge", "http://a/"],
    ["reload"],
    ["ledger", "head"],
    ["ledger", "show", "0"],
    ["ledger", "history", "http://a/"],
]


@pytest.mark.parametrize("line", ASKING, ids=" ".join)
def test_without_an_edge_there_is_one_clear_line_and_status_1(command: Command, line: list[str]) -> None:
    status, out, err = command(*line, "--data", "none")
    assert (status, out) == (1, "")
    (told,) = err.splitlines()
    assert told.startswith(f"edgeproxy: no edge is running with data folder {Path.cwd()}/none: there is no such folder; ")
    assert "--data DIR or --config FILE" in told


@pytest.mark.parametrize("line", [*ASKING, ["ledger", "verify"], ["ledger", "export", "file"]], ids=" ".join)
def test_a_folder_of_another_user_is_not_mistaken_for_one_without_an_edge(
    command: Command, tmp_path: Path, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """root may read everything; so what the system would say to anybody else is said here by a stand-in."""
    (tmp_path / "data").mkdir()
    closed = Path.stat, Path.read_text

    def refuse(which: int) -> Callable[..., object]:
        def asked(path: Path, *arguments: object, **more: object) -> object:
            if path.parent.name == "data":
                raise PermissionError(13, "Permission denied", str(path))
            return closed[which](path, *arguments, **more)

        return asked

    monkeypatch.setattr(Path, "stat", refuse(0))
    monkeypatch.setattr(Path, "read_text", refuse(1))
    status, out, err = command(*line, "--data", "data")
    assert (status, out) == (1, "")
    (told,) = err.splitlines()
    assert "another user" in told
    assert "run this as the user of the edge" in told
    assert "no edge is running" not in told


@pytest.mark.parametrize("line", ASKING, ids=" ".join)
def test_a_killed_edge_is_told_from_a_running_one(command: Command, tmp_path: Path, line: list[str]) -> None:
    announce(tmp_path, Running("127.0.0.1:9", 999_999))
    ensure_token(tmp_path)
    status, out, err = command(*line, "--data", str(tmp_path))
    assert (status, out) == (1, "")
    assert err == "edgeproxy: no edge answers at 127.0.0.1:9: it is not running, or it was killed\n"


def test_the_edge_is_found_through_the_file_too_though_it_has_faults(
    command: Command, edge: StandInBackend, tmp_path: Path
) -> None:
    (tmp_path / "e.toml").write_text(f'[edge]\ndata = "{tmp_path}/edgeproxy-data"\nnoed = 1\n')
    assert command("status", "--config", "e.toml")[0] == 0
    assert command("status", "--config", "none.toml") == (2, "", "edgeproxy: none.toml: no such file or directory\n")


def test_status_shows_sites_store_and_ledger(command: Command, edge: StandInBackend) -> None:
    status, out, err = command("status")
    assert (status, err) == (0, "")
    for text in (
        "edge-1 · edgeproxy 0.1.0",
        "1h 2m",
        "1.5 KiB of 256 MiB",
        "10 blocks, 1 pending",
        ROOT,
        "93.1 %",
        "http://127.0.0.1:9000 up",
    ):
        assert text in out
    assert json.loads(command("status", "--json")[1])["sites"][0]["hits"] == 931


def test_status_says_first_which_origins_are_in_trouble(
    command: Command, edge: StandInBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    origins = [
        {"url": "http://a", "state": "down", "since": 1_764_000_000_000, "why": "no connection to the origin"},
        {"url": "http://b", "state": "erring", "since": 1_764_000_000_000, "why": "status 503"},
        {"url": "http://c", "state": "untried", "since": None, "why": ""},
    ]
    edge.origins = origins
    status, out, err = command("status")
    assert status == 0
    assert [each["state"] in out for each in origins] == [True, True, True]
    at, hosts = "2025-11-24 16:00:00 UTC", "example.org, www.example.org"
    assert err == (
        f"edgeproxy: origin http://a of {hosts} is down since {at}: no connection to the origin\n"
        f"edgeproxy: origin http://b of {hosts} answers with errors since {at}: status 503\n"
    )


def test_explain_shows_plan_reason_and_variants_and_no_control_characters(command: Command, edge: StandInBackend) -> None:
    status, out, _ = command("explain", "http://example.org/page", "-H", "Accept-Language: de", "--header", "X-A:b")
    assert status == 0
    assert re.search(r"plan +Revalidate", out)
    assert re.search(r"reason +stale", out)
    assert "cookie: (absent)" in out
    assert "\x1b" not in out
    assert edge.asked[-1][2].lines == (("Accept-Language", "de"), ("X-A", "b"))
    assert json.loads(command("explain", "http://example.org/page", "--json")[1])["reason"] == "stale"


def test_explain_of_a_host_that_is_no_site_is_status_1(command: Command, edge: StandInBackend) -> None:
    assert command("explain", "http://nowhere/") == (1, "", "edgeproxy: no site has this host\n")
    assert command("explain", "/page")[0] == 2
    assert command("explain", "http://a/", "-H", "nocolon")[0] == 2


PURGES = [
    (["http://a/", "http://b/"], PurgeOrder(PurgeKind.URL, ("http://a/", "http://b/"))),
    (["--prefix", "http://a/p"], PurgeOrder(PurgeKind.PREFIX, ("http://a/p",))),
    (["--prefix", "/p", "--site", "a.org"], PurgeOrder(PurgeKind.PREFIX, ("/p",), site="a.org")),
    (["--tag", "t", "--tag", "u"], PurgeOrder(PurgeKind.TAG, ("t", "u"))),
    (["--tag", "t", "--site", "a.org", "--hard"], PurgeOrder(PurgeKind.TAG, ("t",), site="a.org", hard=True)),
    (["--site", "a.org", "--dry-run"], PurgeOrder(PurgeKind.SITE, ("a.org",), dry_run=True)),
]


@pytest.mark.parametrize(("line", "order"), PURGES, ids=[" ".join(line) for line, _ in PURGES])
def test_a_purge_reaches_the_edge_as_meant(command: Command, edge: StandInBackend, line: list[str], order: PurgeOrder) -> None:
    status, out, _ = command("purge", *line)
    assert status == 0
    assert edge.asked == [("purge", order)]
    if order.dry_run:
        assert out == "would purge 2 stored responses; nothing was written\n"
    else:
        assert out == f"purged 2 stored responses ({'hard' if order.hard else 'soft'}), block 9\n"


@pytest.mark.parametrize(
    "line",
    [
        ["/path"],
        ["http://a/", "--tag", "t"],
        ["http://a/", "--site", "a"],
        ["--prefix", "p"],
        ["--prefix", "/p", "--tag", "t"],
        ["--hard"],
    ],
)
def test_a_purge_that_is_not_clear_is_wrong_usage(command: Command, edge: StandInBackend, line: list[str]) -> None:
    status, out, err = command("purge", *line)
    assert (status, out) == (2, "")
    assert err.startswith("edgeproxy: ")
    assert edge.asked == []


def test_a_rollback_reaches_the_edge_as_meant_and_says_what_is_served_now(command: Command, edge: StandInBackend) -> None:
    status, out, _ = command("rollback", "--to", "15m ago", "--site", "example.org", "--prefix", "/blog/", "--strict")
    assert (status, edge.asked) == (0, [("rollback", RollbackOrder("15m ago", "example.org", "/blog/", "refuse"))])
    assert out.splitlines()[0] == "block 9: every site served as at block 4 (2025-11-24 16:00:00 UTC)"
    assert out.splitlines()[1:] == [
        "7 of 8 stored URLs are served as then; what was not stored then is not found",
        "`edgeproxy release --site example.org --prefix /blog/` ends it; `edgeproxy status` shows what is in force",
    ]
    status, out, _ = command("rollback", "--to", "4", "--json")
    assert json.loads(out)["height"] == 9
    _, out, _ = command("rollback", "--to", "4", "--data", "edgeproxy-data")
    assert out.splitlines()[1:] == [
        "7 of 8 stored URLs are served as then; for what was not stored then the origin is asked",
        "`edgeproxy release --data edgeproxy-data` ends it; `edgeproxy status` shows what is in force",
    ]
    # An edge that was not restarted yet after an update does not count.
    edge.is_old = True
    _, out, err = command("rollback", "--to", "4")
    assert (len(out.splitlines()), err) == (2, "")
    edge.is_old = False
    # One that covers nothing is in force all the same, and the operator has to know that the site is as it was.
    status, _, err = command("rollback", "--to", "4", "--prefix", "/blgo/")
    assert (status, "nothing that is stored is covered by it: every site" in err) == (0, True)
    assert command("release") == (0, "block 10: every site released\n", "")
    refused = "edgeproxy: nothing to release: no rollback is in force\n"
    assert command("release", "--site", "nowhere.example") == (1, "", refused)


def test_a_dry_run_of_a_rollback_lists_and_counts(command: Command, edge: StandInBackend) -> None:
    status, out, _ = command("rollback", "--to", "4", "--dry-run")
    assert (status, edge.asked) == (0, [("rollback", RollbackOrder("4", dry_run=True))])
    lines = out.splitlines()
    assert lines[0] == "every site as at block 4 (2025-11-24 16:00:00 UTC); nothing was written"
    # Below the lists, which may be longer than a screen.
    assert lines[-1] == (
        "203 URLs: 101 would change (1 in content), 1 stay, 1 were not stored then, 1 have lost their content of then"
    )
    assert re.search(r"http://example.org/\\x1b +8 +3 +differs", out)
    assert "http://example.org/late" in out
    assert re.search(r"http://example.org/lost +2 +nothing", out)
    assert "… and 100 more" in lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["rollback", "--to", "noon"], "neither a height nor a time"),
        (["rollback", "--to", "4", "--prefix", "blog"], "is not a prefix"),
        (["release", "--prefix", "blog"], "is not a prefix"),
    ],
)
def test_a_rollback_that_is_not_clear_is_wrong_usage(command: Command, edge: StandInBackend, line: list[str], words: str) -> None:
    status, out, err = command(*line)
    assert (status, out, edge.asked) == (2, "", [])
    assert words in err


def test_status_shows_the_rollbacks_in_force(command: Command, edge: StandInBackend) -> None:
    rule = {"height": 9, "time": 1_764_000_000_000, "to": 4, "to_time": 1_763_999_000_000, "absent": "refuse"}
    edge.rollbacks = [{**rule, "kind": "prefix", "site": None, "value": "/blog/"}]
    _, out, _ = command("status")
    assert re.search(r"/blog/ +4 +2025-11-24 15:43:20 UTC +9 +2025-11-24 16:00:00 UTC +not found", out)


def test_reload_says_whether_the_file_was_applied(command: Command, edge: StandInBackend) -> None:
    assert command("reload") == (0, "configuration applied\n", "")
    edge.waiting = ["ledger.quorum: changes from None to 2 only with a restart"]
    assert command("reload") == (
        0,
        "configuration applied, but not all of it: restart the edge for\n"
        "ledger.quorum: changes from None to 2 only with a restart\n",
        "",
    )
    edge.faults = ["edge.noed: unknown key; did you mean node?"]
    assert command("reload") == (
        2,
        "edge.noed: unknown key; did you mean node?\n",
        "edgeproxy: configuration refused, the old one goes on\n",
    )
    status, out, _ = command("reload", "--json")
    assert (status, json.loads(out)["applied"]) == (2, False)


def test_certificates_are_shown_with_what_went_wrong_last(command: Command, edge: StandInBackend) -> None:
    edge.last_failure = {"time": 1.0, "directory": "https://ca.test/", "problem": "caa", "detail": "forbidden\x1b[31m"}
    for line in (["certs", "list"], ["status"]):
        status, out, _ = command(*line)
        assert status == 0
        assert "example.org  valid" in out
        assert "60d" in out
        assert "CN=Tests" in out
        assert "caa: forbidden" in out
        assert "\x1b" not in out
    status, out, _ = command("certs", "list", "--json")
    assert json.loads(out)[0]["names"] == ["example.org"]


def test_a_renewal_is_asked_for_by_name(command: Command, edge: StandInBackend) -> None:
    status, out, _ = command("certs", "renew", "example.org")
    assert (status, edge.asked) == (0, [("renew", "example.org")])
    assert out.startswith("example.org: will be renewed")
    status, _, err = command("certs", "renew", "other.org")
    assert status == 1
    assert "no certificate is kept for this name" in err


def test_ledger_answers_come_from_the_running_edge(command: Command, edge: StandInBackend) -> None:
    head = json.loads(command("ledger", "head", "--json")[1])
    assert {name: head[name] for name in ("origin", "size", "root", "vkey", "final_size")} == {
        "origin": "edge-1/.edge/ledger",
        "size": 10,
        "root": ROOT,
        "vkey": None,
        "final_size": None,
    }
    assert "2025-11-24 16:00:00 UTC" in command("ledger", "head")[1]
    assert json.loads(command("ledger", "show", "3", "--json")[1])["url"] == "http://example.org/"
    assert "http://example.org/" in command("ledger", "show", "3")[1]
    assert command("ledger", "show", "4") == (1, "", "edgeproxy: there is no block 4\n")
    assert "abababababababab" in command("ledger", "history", "http://example.org/page")[1]
    assert command("ledger", "history", "http://example.org/no") == (
        1,
        "",
        "edgeproxy: the ledger has no version of http://example.org/no\n"
        "edgeproxy: it has the same path at http://example.org:8080/no\n",
    )
    _, _, err = command("ledger", "history", "http://example.org/other")
    assert err == "edgeproxy: the ledger has no version of http://example.org/other\n"
    status, out, _ = command("ledger", "history", "http://example.org/no", "--json")
    assert (status, json.loads(out)["versions"]) == (1, [])
    assert command("ledger", "history", "page")[0] == 2


# --- service workers


def test_sw_orders_for_one_site_or_for_all(command: Command, edge: StandInBackend) -> None:
    for mode in ("on", "observe", "bypass", "kill", "config"):
        status, out, _ = command("sw", mode)
        assert status == 0
        assert "serial 7" in out
    assert command("sw", "kill", "--site", "example.org")[0] == 0
    assert edge.asked == [
        *(("order", None, mode) for mode in ("on", "observe", "bypass", "kill", "config")),
        ("order", "example.org", "kill"),
    ]


def test_status_shows_who_was_saved(command: Command, edge: StandInBackend) -> None:
    for words in (("sw", "status"), ("status",)):
        status, out, _ = command(*words)
        assert status == 0
        for shown in ("example.org", "50 %", "cache 2, none 1", "network 3", "2025-11-24"):
            assert shown in " ".join(out.split()), out
    status, out, _ = command("sw", "status", "--json")
    assert json.loads(out)["sites"][0]["receipts"]["served"] == 2


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_goes_on_when_it_is_run_again_says_so_when_it_is_interrupted_or_fails(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = "--key", str(Signer("log.test/.edge/ledger", bytes(32)).verifier)
    (tmp_path / "damaged").write_bytes(b"no export")
    status, out, err = command("restore", "--from", "damaged", *key, "--data", "new")
    assert (status, out) == (1, "")
    assert (
        err.splitlines()[-1]
        == "edgeproxy: what was proved so far is kept in new: run it again, with a whole source, and it goes on"
    )
    monkeypatch.setattr("edgeproxy.commands.disaster._restore", _interrupted)
    monkeypatch.setattr("edgeproxy.commands.auditing.audit_url", _interrupted)
    for line, said in (
        (
            ("restore", "--from", "http://a", *key, "--data", "new"),
            "what was taken so far is kept in new: run it again, and it goes on",
        ),
        (("ledger", "verify", "--url", "http://a", *key), "what was checked so far is kept: run it again, and it goes on"),
    ):
        assert command(*line) == (130, "", f"edgeproxy: interrupted; {said}\n")


def test_a_key_stays_in_one_line_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there to be copied; the terminal breaks the line without breaking what is copied."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    print_facts("title", [("signed by", "k" * 70), ("none", None), ("size", 3)])
    assert capsys.readouterr().out == f"title\nsigned by  {'k' * 70}\nsize       3\n"


@pytest.mark.parametrize("since", ["3", "99"])
def test_an_addition_to_an_export_says_what_is_in_it_and_has_to_have_something(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, since: str
) -> None:
    async def fill() -> None:
        async with Ledger(tmp_path / "data", BodyStore(tmp_path / "data")) as ledger:
            await ledger.fill(5)

    asyncio.run(fill())
    status, out, err = command("ledger", "export", "later.warc.gz", "--since", since, "--data", "data")
    if since == "99":
        assert (status, out) == (1, "")
        assert err == "edgeproxy: export would begin behind the newest block (since=99, newest=5)\n"
        assert not (tmp_path / "later.warc.gz").exists()
    else:
        assert status == 0
        assert out.startswith("wrote later.warc.gz: heads and bodies of blocks 3 to 5, 3 bodies (")
        assert "an addition to an export of the blocks before" in out
