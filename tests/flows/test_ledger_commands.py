"""`edgeproxy ledger` on a real data folder whose edge is not running: head, show, history, and verify before and after damage."""

import asyncio
import json
import re
import sqlite3
from pathlib import Path

import pytest

from edgeproxy import cli
from edgeproxy.admin.views import b64
from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.ledger.merkle import root_of
from edgeproxy.sequencer.sequencer import Head
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from tests.support.command_line import Command
from tests.support.ledgers import NOW, SITE, Ledger, store_draft

PAGE = f"http://{SITE}/page"


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[Path, Head]:
    """Nine blocks: genesis, five pages, two further versions of one URL, a purge. The edge is stopped."""

    async def fill() -> Head:
        async with Ledger(tmp_path, BodyStore(tmp_path)) as ledger:
            await ledger.fill(5)
            for number in (6, 7):
                body = await ledger.body(b"version %d" % number)
                ledger.sequencer.append(store_draft(number, url=PAGE, body=body, selecting=(("accept-language", "de"),)))
            ledger.sequencer.append(PurgeDraft(SITE, "tag", "news", "soft", NOW))
            await ledger.sequencer.flush()
            return ledger.sequencer.head()

    return tmp_path, asyncio.run(fill())


@pytest.fixture
def command(ledger: tuple[Path, Head], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["ledger", *arguments, "--data", str(ledger[0])])
        return (status, *capsys.readouterr())

    return run


def shape(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_head_at_rest_is_the_head_as_it_was(command: Command, ledger: tuple[Path, Head]) -> None:
    folder, head = ledger
    before = shape(folder)
    status, out, _ = command("head", "--json")
    assert status == 0
    key = read_key(folder)
    assert key is not None
    assert json.loads(out) == {
        "origin": "edge-1/.edge/ledger",
        "size": 9,
        "root": b64(head.root),
        "time": head.time,
        "vkey": str(key.verifier),
        "final_size": None,
    }
    assert command("head")[0] == 0
    assert shape(folder) == before  # reading leaves nothing behind


def test_a_block_at_rest_is_shown_as_hashed_with_its_clear_names(command: Command, ledger: tuple[Path, Head]) -> None:
    status, out, _ = command("show", "7", "--json")
    assert status == 0
    shown = json.loads(out)
    assert (shown["url"], shown["site"], shown["selecting"]) == (PAGE, SITE, {"accept-language": "de"})
    assert list(shown["block"])[:7] == ["v", "height", "prev", "time", "node", "op", "url"]
    raw = json.dumps(shown["block"], separators=(",", ":")).encode()
    connection = sqlite3.connect(ledger[0] / LEDGER_FILE)
    kept = connection.execute("SELECT raw FROM blocks WHERE height = 7").fetchone()
    connection.close()
    assert kept == (raw,)
    assert json.loads(command("show", "8", "--json")[1])["value"] == "news"
    assert json.loads(command("show", "0", "--json")[1])["block"]["op"] == "genesis"
    assert command("show", "9") == (1, "", "edgeproxy: there is no block 9\n")


def test_the_history_at_rest_is_newest_first_and_limited(command: Command) -> None:
    status, out, _ = command("history", PAGE, "--json")
    assert status == 0
    assert [version["height"] for version in json.loads(out)["versions"]] == [7, 6]
    assert [version["height"] for version in json.loads(command("history", PAGE, "--limit", "1", "--json")[1])["versions"]] == [7]
    assert command("history", f"{PAGE}/none")[0] == 1
    status, _, err = command("history", PAGE.replace("http://", "https://"))
    assert (status, f"it has the same path at {PAGE}" in err) == (1, True)


def test_a_ledger_that_holds_is_verified_with_status_0(command: Command, ledger: tuple[Path, Head]) -> None:
    status, out, err = command("verify")
    assert (status, err) == (0, "")
    assert out == f"checked 9 blocks, 7 bodies (48 B); root {b64(ledger[1].root)}\nno faults\n"
    answer = json.loads(command("verify", "--json")[1])
    assert (answer["ok"], answer["blocks"], answer["bodies"], answer["faults"]) == (True, 9, 7, [])
    assert json.loads(command("verify", "--no-bodies", "--json")[1])["bodies"] == 0


def test_every_damaged_body_is_named_with_status_1(command: Command, ledger: tuple[Path, Head]) -> None:
    bodies = sorted(path for path in (ledger[0]).rglob("*") if len(path.name) == 64)
    for path in bodies[:2]:
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)
    status, out, err = command("verify")
    assert status == 1
    assert "no faults" not in out
    assert err.splitlines()[0].startswith("edgeproxy: first fault: body-damaged")
    for path in bodies[:2]:
        assert re.search(rf"body-damaged block \d+ body {path.name} of http://\S+: body does not match its digest", err)
    assert "is never sent" in err.splitlines()[-1]
    status, out, _ = command("verify", "--json")
    assert status == 1
    assert [fault["body"] for fault in json.loads(out)["faults"]] == [path.name for path in bodies[:2]]


def test_a_damaged_block_is_the_first_fault_and_is_not_shown(command: Command, ledger: tuple[Path, Head]) -> None:
    connection = sqlite3.connect(ledger[0] / LEDGER_FILE)
    raw = bytearray(connection.execute("SELECT raw FROM blocks WHERE height = 3").fetchone()[0])
    raw[40] ^= 1
    connection.execute("UPDATE blocks SET raw = ? WHERE height = 3", (bytes(raw),))
    connection.commit()
    connection.close()
    status, _, err = command("verify")
    assert status == 1
    assert "first fault: block 3: " in err
    assert "is never sent" not in err
    status, out, err = command("show", "3")
    assert (status, out) == (1, "")
    assert "does not match its leaf hash" in err
    assert command("show", "4")[0] == 0


def test_the_head_is_worked_out_anew_when_its_row_is_damaged(command: Command, ledger: tuple[Path, Head]) -> None:
    connection = sqlite3.connect(ledger[0] / LEDGER_FILE)
    leaves = [leaf for (leaf,) in connection.execute("SELECT leaf FROM blocks ORDER BY height")]
    connection.execute("UPDATE state SET data = x'00' WHERE id = 1")
    connection.commit()
    connection.close()
    answer = json.loads(command("head", "--json")[1])
    assert (answer["size"], answer["root"]) == (9, b64(root_of(leaves)))


def test_a_file_that_is_no_database_is_a_line_and_not_a_traceback(command: Command, ledger: tuple[Path, Head]) -> None:
    (ledger[0] / LEDGER_FILE).write_bytes(b"nonsense" * 1000)
    for line in (("head",), ("show", "1"), ("history", PAGE), ("verify",)):
        status, _, err = command(*line)
        assert status == 1, line
        assert err.startswith("edgeproxy: "), line


def test_a_folder_without_a_ledger_fails_verification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ledger", "verify", "--data", str(tmp_path)]) == 1
    assert "there is no ledger in this data folder" in capsys.readouterr().err
