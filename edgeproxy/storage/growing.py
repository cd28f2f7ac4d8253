"""A body while it arrives: hashed on the way, kept in memory when small and in a temporary file when not, read by many meanwhile.

Owns: `BodyWriter` and `BodyReader`. Must not decide what is stored or where it ends up; `storage.bodies` does.

Memory is bounded: at most two blocks of `BLOCK` bytes wait here for the disk, plus one piece as it came; what was written is
read back from the file. When the body cannot be kept any more (disk full, or the caller says so), it still flows: the writer
then holds no more than a window, and waits for the slowest reader.

A failure is kept and raised as a copy: one exception raised in a hundred readers would gather a hundred tracebacks, and hold
their frames, and so the file, until the garbage collector comes.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from edgeproxy.caching.model import Digest
from edgeproxy.errors import EdgeError, StoreError
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT, BodyHasher
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.storage.durable import HeldFile, remove, write_all, write_failure

BLOCK = 262_144
"""Bytes that go to the disk, or to a reader, at once."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished body that is not durable yet: its bytes, or the temporary file and the hashes of its chunks."""

    ref: BodyRef
    data: bytes
    file: HeldFile | None = None
    leaves: tuple[Digest, ...] = ()


class BodyWriter:
    """One body on its way in. One task writes; any number of readers follow.

    Bytes lie in three places, in this order: the file (`_flushed` bytes), a block that a thread is writing, and the tail.
    """

    def __init__(
        self, path: Path, pool: Executor, admit: Callable[[Finished], None], withdraw: Callable[[BodyRef], None]
    ) -> None:
        self._path = path
        self._pool = pool
        self._admit = admit
        self._withdraw = withdraw
        self._loop = asyncio.get_running_loop()
        self._hasher: BodyHasher | None = None
        self._file: HeldFile | None = None
        self._flushed = 0
        self._block: bytearray | None = None
        self._tail: bytearray | bytes = bytearray()
        self._base = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._readers: WeakSet[BodyReader] = WeakSet()
        self._complete = False
        self._sealed: BodyRef | None = None
        self._ref: BodyRef | None = None
        self._not_kept: EdgeError | None = None
        self._failure: EdgeError | None = None
        self.length = 0

    def __repr__(self) -> str:
        state = "failed" if self._failure else "whole" if self._complete else "growing"
        return f"<BodyWriter {state} length={self.length} on_disk={self._flushed} readers={len(self._readers)}>"

    @property
    def not_kept(self) -> EdgeError | None:
        """Why this body will not be stored although it still flows to its readers; None while it is kept."""
        return self._not_kept

    @property
    def failure(self) -> EdgeError | None:
        """Why this body ended before it was whole; None when it did not."""
        return self._failure

    @property
    def readers(self) -> int:
        """How many follow."""
        return len(self._readers)

    @property
    def is_whole_so_far(self) -> bool:
        """Whether a reader that starts now finds the first byte and all that follow; no longer so once a body that is not kept
        has been read and forgotten."""
        return self._base == self._flushed + len(self._block or b"")

    def reader(self) -> "BodyReader":
        """A reader that starts at the first byte."""
        reader = BodyReader(self)
        self._readers.add(reader)
        return reader

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits while two blocks wait for the disk, or for the slowest reader when nothing is kept.

        Never raises what the disk did: see `not_kept`. When it is cancelled, `data` has been taken. Raises the failure given
        to `discard`.
        """
        if self._failure is not None:
            raise copy(self._failure)
        assert isinstance(self._tail, bytearray), "write after finish"
        self._tail += data
        self.length += len(data)
        if self._hasher is None and self._not_kept is None:
            if self.length <= WHOLE_BODY_LIMIT:
                self._wake()
                return
            self._hasher = BodyHasher()
        self._wake()
        self._flush_if_due()
        while self._is_over_full() and self._failure is None:
            await self._moved()

    async def finish(self) -> BodyRef:
        """End the body: readers see its end, and it can be made durable.

        Raises why it was not kept (`StoreFull`, `StoreError`, or what `stop_keeping` was given); readers still get all of it.
        """
        if self._failure is not None:
            raise copy(self._failure)
        self._complete = True
        self._wake()
        self._close_file_if_useless()
        if self._ref is None:
            self._ref = await (self._finish_small() if self._hasher is None else self._finish_large(self._hasher))
        return self._ref

    async def discard(self, failure: EdgeError | None = None) -> None:
        """Keep nothing of this body, finished or not (a durable one stays). Readers of an unfinished one get `failure`."""
        if self._ref is not None:
            self._withdraw(self._ref)
            return
        given_up = copy(failure) or StoreError("a body was given up before its end")
        if not self._complete and self._failure is None:
            self._failure = given_up
        self.stop_keeping(given_up)

    def stop_keeping(self, reason: EdgeError) -> None:
        """Let the rest of the body flow without storing it, because of `reason`; `finish` will raise that."""
        if self._not_kept is None and self._ref is None:
            self._not_kept = copy(reason)
            self._drop_file()
            self._close_file_if_useless()
        self._wake()

    async def _finish_small(self) -> BodyRef:
        if self._not_kept is not None:
            raise copy(self._not_kept)
        data = bytes(self._tail)
        self._tail = data
        ref = BodyRef(Digest(hashlib.sha256(data).digest()), self.length, None)
        self._admit(Finished(ref, data))
        return ref

    async def _finish_large(self, hasher: BodyHasher) -> BodyRef:
        while self._block is not None or (self._sealed is None and self._not_kept is None):
            if self._block is None:
                self._start_flush(is_last=True)
            await self._moved()
        if self._sealed is None or self._not_kept is not None:
            raise copy(self._not_kept) or StoreError("a body was given up before its end")
        self._admit(Finished(self._sealed, b"", self._file, hasher.leaves))
        return self._sealed

    def _is_over_full(self) -> bool:
        if self._not_kept is None:
            return self._block is not None and len(self._tail) >= BLOCK
        self._forget_read()
        return len(self._tail) > BLOCK

    def _flush_if_due(self) -> None:
        if self._block is None and len(self._tail) >= BLOCK and self._not_kept is None:
            self._start_flush()

    def _start_flush(self, *, is_last: bool = False) -> None:
        assert isinstance(self._tail, bytearray)
        self._block = self._tail
        self._tail = bytearray()
        self._base += len(self._block)
        # Not awaited by anybody, so that cancelling the writing task cannot cut a block in two; `_flushed_block` is told.
        self._loop.run_in_executor(self._pool, self._write_block, self._block, is_last).add_done_callback(self._flushed_block)

    def _write_block(self, block: bytearray, is_last: bool) -> None:
        """In a thread; only one runs at a time, so the hashes need no lock."""
        assert self._hasher is not None
        with memoryview(block) as view:
            self._hasher.update(view)
        if self._file is None:
            self._file = HeldFile.create(self._path)
        write_all(self._file.descriptor, block, self._flushed)
        if is_last:
            self._sealed = self._hasher.finish()

    def _flushed_block(self, done: "asyncio.Future[None]") -> None:
        block = self._block
        assert block is not None
        self._block = None
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self._flushed += len(block)
        else:
            # The file may hold a part of the block: nobody reads beyond `_flushed`, and the block stays readable here.
            if self._base == self._flushed + len(block):  # else every reader was past it, and it is forgotten
                self._tail = block + self._tail
                self._base = self._flushed
            if self._not_kept is None:
                failed = error if isinstance(error, OSError) else OSError(str(error))
                self._not_kept = write_failure(failed, self._path)
        if self._not_kept is not None:
            self._drop_file()
            self._close_file_if_useless()
        self._flush_if_due()
        self._wake()

    def _drop_file(self) -> None:
        """Remove the temporary file's name; its bytes stay readable for those who hold it."""
        if self._file is not None:
            remove(self._file.path)

    def _close_file_if_useless(self) -> None:
        """A body that is not kept needs its file as long as its readers do. Closed at once, whoever still holds this writer: on a
        full disk its space is what the next body waits for."""
        is_over = self._complete or self._failure is not None
        if is_over and self._not_kept is not None and self._block is None and not self._readers:
            self._file = None

    async def grown(self, length: int) -> bool:
        """Wait until all bytes are here (False), or more than `length`, or the body is not kept (True). Raises the writer's
        failure."""
        while self._failure is None and not self._complete:
            if self.length > length or self._not_kept is not None:
                return True
            await self._moved()
        if self._failure is not None:  # asked first: a body that failed is not kept either
            raise copy(self._failure)
        return False

    async def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`, waiting for them; b"" at the end. For `BodyReader`."""
        while position >= self.length:
            if self._failure is not None:
                raise copy(self._failure)
            if self._complete:
                return b""
            await self._moved()
        if position >= self._base:
            return self._cut(self._tail, position - self._base, limit)
        file = self._file
        if position < self._flushed and file is not None:
            count = min(limit, self._flushed - position)
            cached = file.cached(position, count)
            if cached is None:
                cached = await self._loop.run_in_executor(self._pool, file.read, position, count)
            return cached
        if self._block is not None:
            return self._cut(self._block, position - self._flushed, limit)
        raise copy(self._not_kept) or StoreError("the first part of a body that is not kept has been forgotten")

    @staticmethod
    def _cut(data: bytes | bytearray, start: int, limit: int) -> bytes:
        if not start and isinstance(data, bytes) and len(data) <= limit:
            return data
        with memoryview(data) as view:
            return bytes(view[start : start + limit])

    def left(self, reader: "BodyReader") -> None:
        """`reader` reads no more."""
        self._readers.discard(reader)
        self.reader_moved()

    def reader_moved(self) -> None:
        """A reader got further or went away; a writer that keeps nothing may be waiting for that."""
        if self._not_kept is not None:
            self._close_file_if_useless()
            self._wake()

    def _forget_read(self) -> None:
        if isinstance(self._tail, bytearray):
            lowest = min((reader.position for reader in self._readers), default=self.length)
            if lowest > self._base:
                del self._tail[: lowest - self._base]
                self._base = lowest

    async def _moved(self) -> None:
        """Wait until something has changed: bytes came, a block is written, a reader moved, or it is over."""
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class BodyReader:
    """Reads a growing body at its own pace. Close it (or let go of it) when its client has left."""

    __slots__ = ("__weakref__", "_writer", "position")

    def __init__(self, writer: BodyWriter) -> None:
        self._writer = writer
        self.position = 0

    async def read(self, limit: int = BLOCK) -> bytes:
        """The next bytes, at most `limit`, as soon as there are any; b"" at the end. Raises the writer's failure."""
        data = await self._writer.read(self.position, limit)
        self.position += len(data)
        self._writer.reader_moved()
        return data

    def close(self) -> None:
        """No longer hold back the writer."""
        self._writer.left(self)

    def __del__(self) -> None:
        self._writer.reader_moved()
