"""Helpers of an audit: what they say is what the auditor would have found, and when they fail he finds it himself."""

import io
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edgeproxy.ledger.pages import CleanPage
from edgeproxy.ledger.replay import Account, Replay
from edgeproxy.sequencer import helpers as helping
from edgeproxy.sequencer.helpers import Helpers, help_out, helpers_for
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_rows import PAGE_OF_ROWS, connect_to_read, read_state
from tests.support.ledgers import Ledger

COUNT = 4 * PAGE_OF_ROWS + 100


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(COUNT - 1)
    return tmp_path / LEDGER_FILE


def _damage(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def _audited(database: Path, count: int, *, kill: bool = False) -> Account:
    with closing(connect_to_read(database)) as connection, Helpers(database, count) as helpers:
        if kill:
            for helper in helpers._helpers:
                os.kill(helper._process.pid, signal.SIGKILL)
        state = read_state(connection)
        judge = Replay(state.head, state.genesis, COUNT - 1, folds=False)
        helpers.feed(judge, connection, COUNT)
        return judge.finish()


def _said(account: Account) -> tuple[object, ...]:
    tiles = account.tiles
    upper = tiles and (tiles.size, tiles.items(1, 0, 2), tiles.last_leaves())
    return account.head, account.faults, account.good, account.missing, account.watched, upper


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        f"UPDATE heads SET bytes = x'00' WHERE height = {PAGE_OF_ROWS + 3}",
        f"UPDATE blocks SET raw = replace(raw, '\"status\":200', '\"status\":204') WHERE height = {3 * PAGE_OF_ROWS - 1}",
        f"UPDATE blocks SET leaf = x'00' WHERE height = {2 * PAGE_OF_ROWS}",
        f"DELETE FROM private WHERE height = {3 * PAGE_OF_ROWS + 1}",
    ],
)
async def test_with_helpers_an_audit_finds_what_it_finds_alone(database: Path, statement: str) -> None:
    _damage(database, statement)
    assert _said(_audited(database, 1)) == _said(_audited(database, 0))


async def test_a_helper_that_dies_costs_only_time(database: Path) -> None:
    account = _audited(database, 1, kill=True)
    assert account.faults == ()
    assert account.good == COUNT


async def test_no_helper_is_left_when_the_audit_ends(database: Path) -> None:
    with Helpers(database, 2) as helpers:
        processes = [helper._process for helper in helpers._helpers]
        assert all(process.poll() is None for process in processes)
    assert all(process.returncode is not None for process in processes)


async def test_a_helper_answers_each_request_in_turn(database: Path) -> None:
    with closing(connect_to_read(database)) as connection:
        genesis = read_state(connection).genesis
    assert genesis is not None
    judge = Replay(None, genesis)
    spans = [(PAGE_OF_ROWS, 2 * PAGE_OF_ROWS), (COUNT - 10, COUNT), (COUNT - 1, COUNT + 5), (0, 4)]
    requests = io.BytesIO(judge.genesis_salt + b"".join(helping._SPAN.pack(*span) for span in spans))
    answers = io.BytesIO()
    help_out(database, requests, answers)
    answers.seek(0)
    pages = []
    while length := answers.read(4):
        pages.append(msgspec.msgpack.decode(answers.read(int.from_bytes(length, "big")), type=CleanPage | None))
    assert [page and (page.start, page.end, len(page.tiles), len(page.leaves)) for page in pages] == [
        (PAGE_OF_ROWS, 2 * PAGE_OF_ROWS, PAGE_OF_ROWS // 256, 0),
        (COUNT - 10, COUNT, 0, 10),
        (COUNT - 1, COUNT, 0, 1),
        None,
    ]


def test_a_small_ledger_is_not_worth_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / LEDGER_FILE
    assert helpers_for(database) == 0
    database.write_bytes(b"small")
    assert helpers_for(database) == 0
    monkeypatch.setattr(helping, "WORTH_IT", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert helpers_for(database) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert helpers_for(database) == helping.MAX_HELPERS
