"""The thread that carries access log lines to a file or a pipe.

Owns: the file descriptor, the bound on what waits for it, and what happens when it fails: lines are dropped and counted, the
trouble is said once until writing works again. Must not be waited for by the event loop, except to stop.
"""

import errno
import logging
import os
import queue
import select
import threading
from typing import Final, Self

from edgeproxy.errors import StartError

log = logging.getLogger("edgeproxy.telemetry")

WAITING_BYTES: Final = 8 << 20
"""What may wait for a slow target. 8 MiB are about 30,000 lines."""
STALL_SECONDS: Final = 1.0
STOP_SECONDS: Final = 2.0

_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class LogWriter:
    """One target and its thread. `put` and `reopen` are called by one thread, `lost` is read by any."""

    def __init__(self, descriptor: int, path: str | None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._queue: queue.SimpleQueue[tuple[bytes, int] | str] = queue.SimpleQueue()
        self._put_bytes = 0  # only the loop's thread writes this one
        self._done_bytes = 0  # only the writing thread writes this one
        self._lost_full = 0  # as the first
        self._lost_failed = 0  # as the second
        self._said = False
        self._torn = False
        self._thread = threading.Thread(target=self._run, name="edgeproxy-access-log", daemon=True)

    @classmethod
    def open(cls, target: str) -> Self:
        """`target`: "stdout" or a path. Raises StartError when the file cannot be opened for appending."""
        if target == "stdout":
            return cls(os.dup(1), None)
        try:
            return cls(os.open(target, _FLAGS, _MODE), target)
        except OSError as error:
            raise StartError("access log cannot be opened", path=target, error=error.strerror) from error

    @property
    def lost(self) -> int:
        """Lines dropped so far."""
        return self._lost_full + self._lost_failed

    def start(self) -> None:
        self._thread.start()

    def put(self, data: bytes, lines: int) -> None:
        """Have `data`, which is `lines` whole lines, written; dropped when too much is waiting already. Never blocks."""
        if self._put_bytes - self._done_bytes > WAITING_BYTES:
            self._lost_full += lines
            return
        self._put_bytes += len(data)
        self._queue.put((data, lines))

    def reopen(self) -> None:
        """Open the path again once what was put so far is written."""
        self._queue.put("reopen")

    def stop(self) -> None:
        """Write what waits, for at most `STOP_SECONDS`, and close. Blocks."""
        self._queue.put("stop")
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            os.close(self._descriptor)

    # --- the writing thread

    def _run(self) -> None:
        while True:
            match self._queue.get():
                case "stop":
                    return
                case "reopen":
                    self._open_again()
                case (bytes() as data, int(lines)):
                    self._write(data, lines)
                    self._done_bytes += len(data)

    def _write(self, data: bytes, lines: int) -> None:
        """All of `data`, or what the target takes of it. After a torn line the next one begins on a line of its own."""
        buffer = b"\n" + data if self._torn else data
        rest = memoryview(buffer)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            written = buffer[: len(buffer) - len(rest)]
            self._lost_failed += lines - max(written.count(b"\n") - self._torn, 0)
            if written:
                self._torn = not written.endswith(b"\n")
            self._say(error)
            return
        self._torn = False
        self._said = False

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # a standard output that somebody made non-blocking
            if not select.select([], [self._descriptor], [], STALL_SECONDS)[1]:
                raise OSError(errno.ETIMEDOUT, "the reader of the access log does not read") from None
            return 0

    def _say(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            log.warning(
                "access log cannot be written, lines are lost (target=%s, error=%s)", self._path or "stdout", error.strerror
            )

    def _open_again(self) -> None:
        """The new file, or the old one still, when the new one cannot be opened."""
        if self._path is None:
            return
        try:
            fresh = os.open(self._path, _FLAGS, _MODE)
        except OSError as error:
            log.warning("access log cannot be opened again, the old file goes on (path=%s, error=%s)", self._path, error.strerror)
            return
        os.close(self._descriptor)
        self._descriptor = fresh
        self._torn = False
