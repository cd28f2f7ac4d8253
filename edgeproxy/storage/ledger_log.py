"""The write-ahead log of SQLite, read without SQLite: which pages it commits, and what it would drop because of a bad checksum.

Owns: the format of the log. Must not know what is in a page.

Source: the SQLite project's "Database File Format", section 4.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.storage.ledger_rows import PAGE_SIZE

_LOG_HEADER = 32
_FRAME_HEADER = 24
_FRAME = _FRAME_HEADER + PAGE_SIZE


@dataclass(slots=True)
class Log:
    """Pages of committed transactions by number, and those of transactions that a damaged checksum cuts off."""

    pages: dict[int, bytes] = field(default_factory=dict)
    doubtful: dict[int, bytes] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)
    """The doubtful pages as they lie there: the number in a frame may be what is damaged."""
    beyond: int = 0
    """Frames of this generation after the first broken one."""


def read_log(path: Path) -> Log:
    """The log beside the database at `path`; empty when there is none. Raises OSError."""
    log = Log()
    try:
        data = path.with_name(path.name + "-wal").read_bytes()
    except FileNotFoundError:
        return log
    if len(data) < _LOG_HEADER + _FRAME:
        return log
    big = bool(data[3] & 1)
    sums = _checksum(data[:24], (0, 0), big=big)
    intact = sums == struct.unpack_from(">II", data, 24) and data[:3] == b"\x37\x7f\x06"
    # With its header damaged, the first frame says which generation the log is of.
    salts = data[16:24] if intact else data[_LOG_HEADER + 8 : _LOG_HEADER + 16]
    waiting: list[tuple[int, bytes]] = []
    skipped: list[tuple[int, bytes]] = []
    for start in range(_LOG_HEADER, len(data) - _FRAME + 1, _FRAME):
        number, commit = struct.unpack_from(">II", data, start)
        page = data[start + _FRAME_HEADER : start + _FRAME]
        if data[start + 8 : start + 16] != salts:
            # Of an older generation, or damaged: only a frame of this generation after it can tell.
            intact = False
            skipped.append((number, page))
            continue
        waiting += skipped
        skipped.clear()
        if not intact:
            log.beyond += 1
        else:
            sums = _checksum(page, _checksum(data[start : start + 8], sums, big=big), big=big)
            intact = sums == struct.unpack_from(">II", data, start + 16)
        waiting.append((number, page))
        if commit:
            (log.pages if intact else log.doubtful).update(waiting)
            if not intact:
                log.frames += [page for _, page in waiting]
            waiting.clear()
    return log


def _checksum(data: bytes, sums: tuple[int, int], *, big: bool) -> tuple[int, int]:
    first, second = sums
    for left, right in struct.iter_unpack(">II" if big else "<II", data):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second
