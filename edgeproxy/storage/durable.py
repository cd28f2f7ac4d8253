"""Blocking steps on files, in the order that survives a crash, and what `OSError` means here.

Owns: how a file becomes durable under its final name, and the mapping of `OSError`. Runs in threads; must not touch the event
loop, and knows nothing of digests or blocks.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from edgeproxy.errors import Corrupt, StoreError, StoreFull

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_UNREADABLE = frozenset((errno.ENOENT, errno.EIO, errno.EISDIR, errno.ENOTDIR))


def write_failure(error: OSError, path: Path) -> StoreError:
    """What it means that writing `path` failed."""
    if error.errno in _FULL:
        return StoreFull("no space left for a body", path=path.name)
    return StoreError("a body could not be written", path=path.name, error=error.strerror or str(error))


def read_failure(error: OSError, path: Path) -> StoreError:
    """What it means that reading `path` failed: a missing file or a bad sector is `Corrupt`, the rest may pass."""
    if error.errno in _UNREADABLE:
        return Corrupt("a body is missing or unreadable", digest=path.stem, error=error.strerror or str(error))
    return StoreError("a body could not be read", digest=path.stem, error=error.strerror or str(error))


class HeldFile:
    """An open file that lives as long as somebody holds it: it may be renamed or removed while others go on reading."""

    __slots__ = ("descriptor", "path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file, for reading and writing; raises OSError."""
        return cls(create(path), path)

    @classmethod
    def open(cls, path: Path, length: int) -> Self:
        """An existing file of exactly `length` bytes; raises `Corrupt` when it is missing or has another length."""
        try:
            file = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
            size = os.fstat(file.descriptor).st_size
        except OSError as error:
            raise read_failure(error, path) from error
        if size != length:
            raise Corrupt("a body has another length than its block says", digest=path.stem, length=size, expected=length)
        return file

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; raises StoreError. May wait for the disk: for threads."""
        try:
            return read_at(self.descriptor, offset, count)
        except OSError as error:
            raise read_failure(error, self.path) from error

    def cached(self, offset: int, count: int) -> bytes | None:
        """Up to `count` bytes from `offset` when the page cache has them; None otherwise. Never waits: for the event loop.

        `preadv2` with RWF_NOWAIT (Linux 4.14) answers EAGAIN instead of waiting for the disk.
        """
        buffer = bytearray(count)
        try:
            got = os.preadv(self.descriptor, (buffer,), offset, os.RWF_NOWAIT)
        except OSError:
            return None  # not cached, or a file system that cannot tell: a thread reads it, and finds out what is wrong
        return bytes(buffer) if got == count else bytes(buffer[:got]) or None

    def __del__(self) -> None:
        os.close(self.descriptor)


def write_all(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data` at `offset`; a short write goes on where it stopped."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(descriptor, view[done:], offset + done)


def create(path: Path) -> int:
    """A descriptor of a new file, for reading and writing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)


def write_synced(path: Path, data: bytes) -> None:
    """Make a new file with `data` whose content survives a power cut; nothing is left when that fails.

    A crash before the end leaves a temporary file, which the sweep at start removes.
    """
    descriptor = create(path)
    try:
        write_all(descriptor, data, 0)
        # The file has no final name yet; its data and size go to the disk before anybody can find it.
        os.fdatasync(descriptor)
    except OSError:
        remove(path)
        raise
    finally:
        os.close(descriptor)


def write_synced_together(files: Sequence[tuple[Path, bytes]]) -> list[OSError | None]:
    """As `write_synced`, for many files; says of each what went wrong, if anything did. All of them are open at once.

    Written first and flushed after: the first flush takes most of the others' way to the disk with it.
    """
    outcome: list[OSError | None] = []
    opened: list[int | None] = []
    for path, data in files:
        descriptor = None
        try:
            descriptor = create(path)
            write_all(descriptor, data, 0)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
                descriptor = None
                remove(path)
            outcome.append(error)
        else:
            outcome.append(None)
        opened.append(descriptor)
    for number, descriptor in enumerate(opened):
        if descriptor is not None:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                remove(files[number][0])
                outcome[number] = error
            finally:
                os.close(descriptor)
    return outcome


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: without it a rename may be lost in a power cut although the data is there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(*paths: Path) -> None:
    """Remove what is there of `paths`. What cannot be removed stays for the next sweep."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def read_whole(path: Path, length: int) -> bytes:
    """The `length` bytes of `path`; raises `Corrupt` when it has another length or is missing, `StoreError` otherwise."""
    data = HeldFile.open(path, length).read(0, length)
    if len(data) != length:
        raise Corrupt("a body has another length than its block says", digest=path.stem, length=len(data), expected=length)
    return data


def read_at(descriptor: int, offset: int, count: int) -> bytes:
    """Up to `count` bytes from `offset`, fewer only at the end of the file."""
    data = os.pread(descriptor, count, offset)
    if len(data) == count or not data:
        return data
    pieces = [data]
    got = len(data)
    while got < count and (data := os.pread(descriptor, count - got, offset + got)):
        pieces.append(data)
        got += len(data)
    return b"".join(pieces)


def make_folders(folders: Iterable[Path]) -> None:
    """Make each folder that is not there yet (parents first)."""
    for folder in folders:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
