"""The state of a validator: one step at a time, never back, and no older copy is taken for it."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgeproxy.errors import StartError
from edgeproxy.validator.state import STATE_FILE, LogState, State, create_state, read_logs
from tests.support.logs import ORIGIN, Log

VKEY = "v.example+00000000+key"


@pytest.fixture
def log() -> Log:
    log = Log()
    log.grow(299)
    return log


def step(log: Log, before: LogState, size: int, cosigned: int) -> LogState:
    chain = before.chain()
    for raw in log.raws[chain.size : size]:
        chain.take(raw)
    return replace(before.at(chain, log.vkey), cosigned=cosigned, note=b"note")


@pytest.fixture
def state(tmp_path: Path) -> State:
    create_state(tmp_path, VKEY)
    return State(tmp_path, VKEY)


def test_what_was_cosigned_is_there_at_the_next_start(state: State, log: Log, tmp_path: Path) -> None:
    before = state.know(ORIGIN, log.vkey)
    assert before == LogState(ORIGIN, log.vkey, log.vkey)
    middle = step(log, before, 77, 1_000)
    after = step(log, middle, 300, 1_005)
    assert state.advance(before, middle)
    assert state.advance(middle, after)
    assert read_logs(tmp_path) == [after]
    state.close()
    again = State(tmp_path, VKEY)
    assert again.know(ORIGIN, log.vkey) == after
    assert (again.time, after.chain().root()) == (1_005, log.root())
    again.close()


def test_of_two_steps_from_one_place_only_the_first_is_taken(state: State, log: Log) -> None:
    before = state.know(ORIGIN, log.vkey)
    first, second = step(log, before, 5, 1_000), step(log, before, 9, 1_000)
    assert state.advance(before, first)
    assert not state.advance(before, second)
    assert state.logs() == [first]
    assert not state.advance(before, first)
    state.close()


def test_a_step_back_is_refused(state: State, log: Log) -> None:
    before = state.know(ORIGIN, log.vkey)
    first = step(log, before, 5, 1_000)
    assert state.advance(before, first)
    for back in (replace(first, size=4), replace(first, cosigned=999), replace(first, origin="another")):
        with pytest.raises(ValueError):
            state.advance(first, back)
    state.close()


def test_of_two_logs_the_one_signed_first_may_be_written_down_last(state: State, log: Log) -> None:
    one, other = state.know(ORIGIN, log.vkey), state.know("other.example", "key")
    assert state.advance(one, step(log, one, 5, 1_001))
    assert state.advance(other, replace(step(log, other, 5, 1_000), key="key"))
    assert state.time == 1_001
    state.close()


def test_a_refresh_is_a_step_too(state: State, log: Log) -> None:
    before = state.know(ORIGIN, log.vkey)
    first = step(log, before, 5, 1_000)
    assert state.advance(before, first)
    assert state.advance(first, replace(first, cosigned=1_001))
    assert not state.advance(first, replace(first, cosigned=1_002))
    state.close()


def test_a_key_that_the_operator_writes_anew_replaces_the_one_that_rotations_led_to(state: State, log: Log) -> None:
    before = state.know(ORIGIN, log.vkey)
    rotated = replace(step(log, before, 5, 1_000), key="other")
    assert state.advance(before, rotated)
    assert state.know(ORIGIN, log.vkey) == rotated
    assert state.know(ORIGIN, "third") == replace(rotated, given="third", key="third")
    state.close()


def _older_copy(folder: Path, log: Log) -> None:
    shutil.copy(folder / STATE_FILE, folder / "kept")
    state = State(folder, VKEY)
    known = state.know(ORIGIN, log.vkey)
    assert state.advance(known, step(log, known, 20, 2_000))
    state.close()
    shutil.copy(folder / "kept", folder / STATE_FILE)


def _missing(folder: Path, log: Log) -> None:
    (folder / STATE_FILE).unlink()


def _empty(folder: Path, log: Log) -> None:
    (folder / STATE_FILE).write_bytes(b"")


def _damaged(folder: Path, log: Log) -> None:
    data = bytearray((folder / STATE_FILE).read_bytes())
    data[100:4096] = bytes(3996)
    (folder / STATE_FILE).write_bytes(data)


def _another_root(folder: Path, log: Log) -> None:
    connection = sqlite3.connect(folder / STATE_FILE)
    with connection:
        connection.execute("UPDATE logs SET root = ?", (bytes(32),))
    connection.close()


def _without_counter(folder: Path, log: Log) -> None:
    (folder / f"{STATE_FILE}-size").unlink()


def _newer(folder: Path, log: Log) -> None:
    connection = sqlite3.connect(folder / STATE_FILE)
    with connection:
        connection.execute("UPDATE own SET format = 2")
    connection.close()


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (_older_copy, "older than it was"),
        (_missing, "missing"),
        (_empty, "cannot be used"),
        (_damaged, "validator"),
        (_another_root, "damaged"),
        (_without_counter, "older than it was"),
        (_newer, "newer version"),
    ],
)
def test_a_state_that_is_not_what_it_was_is_refused(
    state: State, log: Log, tmp_path: Path, harm: Callable[[Path, Log], None], what: str
) -> None:
    before = state.know(ORIGIN, log.vkey)
    assert state.advance(before, step(log, before, 9, 1_000))
    state.close()
    harm(tmp_path, log)
    with pytest.raises(StartError, match=what):
        State(tmp_path, VKEY)


def test_a_state_of_another_key_is_refused(state: State, tmp_path: Path) -> None:
    state.close()
    with pytest.raises(StartError, match="another key"):
        State(tmp_path, "another")
    with pytest.raises(StartError, match="already"):
        create_state(tmp_path, VKEY)
