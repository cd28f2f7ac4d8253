"""The writing thread: a target that fails costs lines, never an exchange."""

import logging
import os
from pathlib import Path

import pytest

from edgeproxy.telemetry import log_writer
from edgeproxy.telemetry.log_writer import WAITING_BYTES, LogWriter

LINE = b'{"n":1}\n'


def test_a_full_disk_loses_lines_is_said_once_and_heals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log"
    writer = LogWriter(os.open("/dev/full", os.O_WRONLY), str(path))
    writer.start()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            writer.put(LINE * 2, 2)
        writer.reopen()
        writer.put(LINE, 1)
        writer.stop()
    assert writer.lost == 10
    assert [record.message for record in caplog.records] == [
        f"access log cannot be written, lines are lost (target={path}, error=No space left on device)"
    ]
    assert path.read_bytes() == LINE


def test_a_closed_pipe_loses_lines_only(caplog: pytest.LogCaptureFixture) -> None:
    reader, target = os.pipe()
    os.close(reader)
    writer = LogWriter(target, None)
    writer.start()
    with caplog.at_level(logging.WARNING):
        writer.put(LINE, 1)
        writer.put(LINE, 1)
        writer.stop()
    assert writer.lost == 2
    assert len(caplog.records) == 1
    assert "Broken pipe" in caplog.records[0].message


def test_a_reader_that_does_not_read_bounds_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "STOP_SECONDS", 0.05)
    reader, target = os.pipe()  # blocking: the thread sticks in its first write
    writer = LogWriter(target, None)
    writer.start()
    block = b"x" * ((1 << 20) - 1) + b"\n"
    for _ in range(20):
        writer.put(block, 1)
    assert 20 - WAITING_BYTES // len(block) - 1 <= writer.lost < 20
    writer.stop()  # returns although the thread cannot
    os.close(reader)


def test_a_non_blocking_reader_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "STALL_SECONDS", 0.01)
    reader, target = os.pipe()
    os.set_blocking(target, False)
    writer = LogWriter(target, None)
    line = b"x" * 9 + b"\n"
    many = 30_000  # more than a pipe holds
    writer._write(line * many, many)
    held = os.read(reader, 1 << 20)
    whole = held.count(b"\n")
    assert 0 < whole < many
    assert writer.lost == many - whole
    writer._write(line, 1)
    after = os.read(reader, 1 << 20)
    assert after == (b"\n" + line if not held.endswith(b"\n") else line)
    assert writer.lost == many - whole
    os.close(reader)
    os.close(target)


@pytest.mark.parametrize(
    ("accepted", "lost", "torn"),
    [
        pytest.param(0, 3, False, id="nothing written"),
        pytest.param(8, 2, False, id="one whole line written"),
        pytest.param(11, 2, True, id="a line and a piece written"),
        pytest.param(3, 3, True, id="a piece written"),
    ],
)
def test_a_line_after_a_torn_one_begins_on_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accepted: int, lost: int, torn: bool
) -> None:
    path = tmp_path / "log"
    writer = LogWriter.open(str(path))
    real = os.write
    left = accepted

    def scarce(descriptor: int, data: memoryview) -> int:
        nonlocal left
        if left == 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[:left])
        left -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(log_writer.os, "write", scarce)
        writer._write(LINE * 3, 3)
    assert writer.lost == lost
    writer._write(LINE, 1)
    expected = (LINE * 3)[:accepted] + (b"\n" if torn else b"") + LINE
    assert path.read_bytes() == expected
    writer.stop()


def test_a_file_that_cannot_be_opened_again_keeps_the_old_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    writer = LogWriter.open(str(folder / "log"))
    writer.start()
    folder.rename(tmp_path / "moved")
    with caplog.at_level(logging.WARNING):
        writer.reopen()
        writer.put(LINE, 1)
        writer.stop()
    assert (tmp_path / "moved" / "log").read_bytes() == LINE
    assert "cannot be opened again" in caplog.records[0].message
    assert writer.lost == 0


def test_stop_ends_the_thread(tmp_path: Path) -> None:
    writer = LogWriter.open(str(tmp_path / "log"))
    writer.start()
    writer.stop()
    assert not writer._thread.is_alive()
