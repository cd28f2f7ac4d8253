"""Which of the processes on one vault talks to authorities: the one that holds a lock in it.

Owns: DATA/tls/leader.lock. The lock is flock(2): the kernel frees it the moment its process dies, however it dies, and wakes who
waits for it, so there is no lease to expire, nothing to poll, and no stale lock to take over by mistake.

The wait is a thread of its own that sits in flock; it is a daemon, because that call cannot be called off, and one that gets
the lock after nobody wants it any more gives it back at once.
"""

import asyncio
import fcntl
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeproxy.errors import StoreError

LOCK: Final = "leader.lock"


class Leadership:
    """The lock, held or waited for, by one process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor: int | None = None
        self._waiting: _Wait | None = None
        _leaderships.add(self)

    def __repr__(self) -> str:
        return f"<Leadership {'held' if self._descriptor is not None else 'not held'}>"

    @property
    def is_held(self) -> bool:
        """This process leads. Looks at the file: somebody may have removed it, and then another process may lead as well."""
        return self._descriptor is not None and _is_file(self._descriptor, self._path)

    def try_take(self) -> bool:
        """Lead from now on when nobody else does. Raises `StoreError` when the file cannot be opened."""
        if self.is_held:
            return True
        self.release()
        descriptor = _open(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        return self._keep(descriptor)

    async def take(self) -> None:
        """Return as soon as this process leads. Raises `StoreError` when the file cannot be opened."""
        while not self.try_take():
            waiting = self._waiting = _Wait(_open(self._path), asyncio.get_running_loop())
            try:
                descriptor = await waiting.got
            except asyncio.CancelledError:
                waiting.abandon()
                raise
            finally:
                self._waiting = None
            if self._keep(descriptor):
                return

    def release(self) -> None:
        """Lead no longer."""
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # whoever else has a copy of the descriptor
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _keep(self, descriptor: int) -> bool:
        if not _is_file(descriptor, self._path):  # it was removed while we waited: whoever made the new one may hold that
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        with suppress(OSError):  # for people; nothing reads it, and a full disk must not keep anybody from leading
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def forget_in_child(self) -> None:
        """After a fork: the child closes its copy, else the lock would outlive the parent. Unlocking would unlock the parent."""
        self._close()
        if self._waiting is not None:
            os.close(self._waiting.descriptor)
            self._waiting = None


class _Wait:
    """One thread that waits for the lock, and the future that it answers with the descriptor."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self.descriptor = descriptor
        self.got: asyncio.Future[int] = loop.create_future()
        self._loop = loop
        self._mutex = threading.Lock()
        self._is_wanted = True
        threading.Thread(target=self._run, name="vault-leader", daemon=True).start()

    def abandon(self) -> None:
        """Nobody waits any more; a lock that comes later, or came in the same moment, is given back."""
        with self._mutex:
            self._is_wanted = False
        if not self.got.cancel() and not self.got.cancelled():
            os.close(self.got.result())

    def _run(self) -> None:
        with suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        with self._mutex:
            if self._is_wanted:
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    self._loop.call_soon_threadsafe(self._deliver)
                    return
        os.close(self.descriptor)

    def _deliver(self) -> None:
        if self.got.done():
            os.close(self.descriptor)
        else:
            self.got.set_result(self.descriptor)


_leaderships: "weakref.WeakSet[Leadership]" = weakref.WeakSet()


def _forget_in_child() -> None:
    for leadership in list(_leaderships):
        leadership.forget_in_child()


os.register_at_fork(after_in_child=_forget_in_child)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError("the leader's lock cannot be opened", path=path.name, error=error.strerror) from error


def _is_file(descriptor: int, path: Path) -> bool:
    """`descriptor` is the file that has this name now."""
    try:
        named, held = path.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)
