"""Lines of the access log: their form, and that no request can forge one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeproxy.clock import Instant, ManualClock
from edgeproxy.errors import StartError
from edgeproxy.telemetry.access_log import (
    HAND_OVER_LINES,
    AccessLog,
    Entry,
    WrittenLog,
    hit_suffix,
    log_prefix,
    open_access_log,
    stamp,
)
from edgeproxy.telemetry.log_writer import LogWriter

COLUMNS = ["time", "client", "site", "method", "url", "status", "bytes", "duration_ms", "cache", "block", "trace", "origin_ms"]


class Kept(LogWriter):
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(-1, None)
        self.puts: list[tuple[bytes, int]] = []

    def put(self, data: bytes, lines: int) -> None:
        self.puts.append((data, lines))


@pytest.fixture
def kept() -> Iterator[Kept]:
    return Kept()


def suffix(**changes: str) -> bytes:
    given = {"site": "shop", "method": "GET", "url": "http://shop/", "cache": "fresh"} | changes
    return hit_suffix(**given, status=200, length=5, block=17)


def test_the_time_is_rfc_3339_with_milliseconds() -> None:
    assert stamp(Instant(1_764_000_000_007)) == b'{"time":"2025-11-24T16:00:00.007Z",'


def test_a_hit_has_all_columns_in_order(kept: Kept) -> None:
    log = WrittenLog(kept, ManualClock())
    log.hit(log_prefix("192.0.2.1"), suffix())
    log._hand_over()
    ((data, lines),) = kept.puts
    assert lines == 1
    line = json.loads(data)
    assert list(line) == COLUMNS
    assert line == {
        "time": "2025-11-24T16:00:00.000Z",
        "client": "192.0.2.1",
        "site": "shop",
        "method": "GET",
        "url": "http://shop/",
        "status": 200,
        "bytes": 5,
        "duration_ms": 0,
        "cache": "fresh",
        "block": 17,
        "trace": "",
        "origin_ms": None,
    }


def test_an_entry_has_the_same_columns_and_the_time_of_now(kept: Kept) -> None:
    clock = ManualClock()
    log = WrittenLog(kept, clock)
    clock.advance(1.5)
    log.write(Entry("::1", "shop", "POST", "http://shop/a", 502, 0, 12.34567, "origin-failed", None, "ab" * 16, 3.0))
    log._hand_over()
    line = json.loads(kept.puts[0][0])
    assert list(line) == COLUMNS
    assert line["time"] == "2025-11-24T16:00:01.500Z"
    assert (line["duration_ms"], line["origin_ms"], line["trace"]) == (12.346, 3.0, "ab" * 16)


HOSTILE = [
    "\n",
    "\r\n{}",
    '"',
    '","status":"200',
    "\\",
    "\\u0000",
    "\x00\x1b[2J",
    "\x7f",
    "\x85\x9b",
    "\u2028\u2029",
    "é",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("column", ["url", "method", "site", "cache"])
def test_no_text_of_a_client_leaves_its_column(column: str, text: str) -> None:
    line = stamp(Instant(0)) + log_prefix("x") + suffix(**{column: text})
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert all(0x20 <= octet <= 0x7E for octet in line[:-1])
    read = json.loads(line)
    assert list(read) == COLUMNS
    assert read[column] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_the_client_column_is_escaped_too(text: str) -> None:
    line = stamp(Instant(0)) + log_prefix(text) + suffix()
    assert line.count(b"\n") == 1
    assert json.loads(line)["client"] == text


def test_lines_are_handed_over_when_there_are_many(kept: Kept) -> None:
    log = WrittenLog(kept, ManualClock())
    for _ in range(HAND_OVER_LINES + 3):
        log.hit(b'"client":"a"', suffix())
    assert [lines for _, lines in kept.puts] == [HAND_OVER_LINES]
    assert kept.puts[0][0].count(b"\n") == HAND_OVER_LINES


def test_off_is_off() -> None:
    log = open_access_log("off", ManualClock())
    assert type(log) is AccessLog
    assert not log.enabled
    log.hit(b"", b"")
    assert log.lost == 0


@pytest.mark.parametrize(
    "make", [lambda folder: folder / "missing" / "log", lambda folder: folder], ids=["no folder", "a folder"]
)
def test_a_file_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path, make) -> None:
    with pytest.raises(StartError, match="access log cannot be opened"):
        open_access_log(str(make(tmp_path)), ManualClock())


async def test_a_line_reaches_the_file_by_the_tick(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b'{"old":1}\n')
    log = open_access_log(str(path), ManualClock())
    log.start()
    log.hit(log_prefix("a"), suffix())
    log.write(Entry("b", "shop", "GET", "http://shop/", 200, 1, 1.0, "miss"))
    await log.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("client") for line in lines] == [None, "a", "b"]


async def test_a_new_file_is_not_for_everybody_to_read(tmp_path: Path) -> None:
    log = open_access_log(str(tmp_path / "access.log"), ManualClock())
    log.start()
    await log.stop()
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


async def test_reopen_follows_the_name_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = open_access_log(str(path), ManualClock())
    log.start()
    log.hit(log_prefix("before"), suffix())
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    log.hit(log_prefix("after"), suffix())
    await log.stop()
    assert json.loads((tmp_path / "access.log.1").read_text())["client"] == "before"
    assert json.loads(path.read_text())["client"] == "after"
