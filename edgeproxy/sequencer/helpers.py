"""More than one processor for an audit: other processes that judge pages of a ledger.

Owns: these processes, and which pages they are given. Must not decide what a page that is not clean means: the one who audits
reads that again, row by row. A helper that dies, or cannot read, costs time and nothing else.

A request is the first and the last height plus one; the answer is `pages.CleanPage` in MessagePack, or null, after its length in
four bytes. The very first thing that a helper is told is the salt of block 0.
"""

import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from edgeproxy.errors import Corrupt
from edgeproxy.ledger.digests import DIGEST_SIZE
from edgeproxy.ledger.pages import CleanPage, judge_page
from edgeproxy.ledger.replay import Replay
from edgeproxy.storage.ledger_rows import PAGE_OF_ROWS, UNREADABLE, connect_to_read, read_pages, row_of

WORTH_IT = 64 << 20
"""Bytes of a database below which starting a process costs more than it saves."""
MAX_HELPERS = 3
_WINDOW = 8
"""Pages that a helper is given in advance."""

_SPAN = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CleanPage | None)

Span = tuple[int, int]


def helpers_for(database: Path) -> int:
    """How many are worth starting: one for each processor but ours."""
    try:
        size = database.stat().st_size
    except OSError:
        return 0
    return min(len(os.sched_getaffinity(0)) - 1, MAX_HELPERS) if size >= WORTH_IT else 0


class _Helper:
    """One process. It answers in the order of the requests."""

    def __init__(self, database: Path) -> None:
        command = [sys.executable, "-m", "edgeproxy.sequencer.helpers", str(database)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def tell(self, data: bytes) -> None:
        """The salt, or a request."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone: there will be no answers
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def answer(self) -> CleanPage | None:
        """To the earliest request without one: the page if it is clean."""
        assert self._process.stdout is not None
        length = self._process.stdout.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            return None
        try:
            page: CleanPage | None = _decoder.decode(self._process.stdout.read(*_LENGTH.unpack(length)))
        except msgspec.DecodeError:
            return None
        return page

    def end(self) -> None:
        self._process.kill()
        # Waits for it, and closes the pipes.
        self._process.communicate()


class Helpers:
    """`count` processes that read the same database; none of them is left when the context ends."""

    def __init__(self, database: Path, count: int) -> None:
        self._database = database
        self._count = count
        self._helpers: list[_Helper] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Helpers":
        with self._stack:
            for _ in range(self._count):
                helper = _Helper(self._database)
                self._stack.callback(helper.end)
                self._helpers.append(helper)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def feed(self, judge: Replay, connection: sqlite3.Connection, stop: int) -> None:
        """Feed `judge` with the rows at heights [0, `stop`). Raises sqlite3.Error."""
        spans = [(start, min(start + PAGE_OF_ROWS, stop)) for start in range(0, stop, PAGE_OF_ROWS)]
        _judge_here(judge, connection, spans[:1])
        # Block 0 says with which salt the others are to be read.
        for helper in self._helpers:
            helper.tell(judge.genesis_salt)
        # Dealt out in turn. One of the turns is ours.
        turns = len(self._helpers) + 1
        asked = 1
        for number, span in enumerate(spans[1:], 1):
            while asked < min(number + _WINDOW * turns, len(spans)):
                if asked % turns:
                    self._helpers[asked % turns - 1].tell(_SPAN.pack(*spans[asked]))
                asked += 1
            page = self._helpers[number % turns - 1].answer() if number % turns else None
            if page is None or (page.start, page.end) != span or not judge.take(page):
                _judge_here(judge, connection, (span,))


def _judge_here(judge: Replay, connection: sqlite3.Connection, spans: Sequence[Span]) -> None:
    for start, stop in spans:
        for page in read_pages(connection, start, stop):
            judge.feed_page(page, row_of)


def help_out(database: Path, requests: BinaryIO, answers: BinaryIO) -> None:
    """What a helper does, until there are no more requests."""
    salt = requests.read(DIGEST_SIZE)
    with closing(connect_to_read(database)) as connection:
        while len(request := requests.read(_SPAN.size)) == _SPAN.size:
            start, stop = _SPAN.unpack(request)
            answer = _encoder.encode(_judged(connection, start, stop, salt))
            answers.write(_LENGTH.pack(len(answer)) + answer)
            answers.flush()


def _judged(connection: sqlite3.Connection, start: int, stop: int, salt: bytes) -> CleanPage | None:
    try:
        rows = [row for page in read_pages(connection, start, stop) for row in page]
        return judge_page(rows, start, salt, keep=False)
    except (*UNREADABLE, Corrupt):
        return None


if __name__ == "__main__":
    help_out(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
