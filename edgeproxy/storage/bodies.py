"""Bodies on disk, each named by the SHA-256 of its bytes: DATA/bodies/ab/<64 hex>.

Owns: DATA/bodies and DATA/quarantine, and what is durable there. Must not know which block names a body, nor verify one
(`ledger.verify` does); it only refuses to return a body of the wrong length.

Life of a body: `writer()`, written, `finish()`; then pending (memory, or a temporary file) until `make_durable()`; then durable
until `delete()` or `quarantine()`. A pending body reads like a durable one.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, StartError, StoreError
from edgeproxy.ledger.chunks import CHUNK, chunk_count
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.storage.durable import (
    HeldFile,
    read_whole,
    remove,
    sync_folder,
    write_failure,
    write_synced,
    write_synced_together,
)
from edgeproxy.storage.growing import BodyReader, BodyWriter, Finished
from edgeproxy.storage.shards import Shards, chunks_path
from edgeproxy.tasks import spawn

__all__ = ["BodyReader", "BodyStore", "BodyWriter", "StoredBody", "Swept"]

T = TypeVar("T")

WRITING_THREADS = 4
READING_THREADS = 4
_OPEN_AT_ONCE = 64
"""Small bodies that one thread has open while they are made durable."""
_LEAF = 32


@dataclass(frozen=True, slots=True)
class Swept:
    """What `open` found: bodies and their bytes; temporary files and half pairs that it removed."""

    bodies: int
    total_bytes: int
    removed: int


@dataclass(slots=True)
class _Pending:
    """A finished body that is not durable. `claims` counts the writers that made it: the last to withdraw removes it."""

    body: Finished
    claims: int = 1


class StoredBody:
    """One large body, open for reading piece by piece. It stays readable when the body is deleted meanwhile."""

    __slots__ = ("_file", "_pool", "length")

    def __init__(self, file: HeldFile, length: int, pool: ThreadPoolExecutor) -> None:
        self._file = file
        self._pool = pool
        self.length = length

    async def read(self, offset: int, count: int) -> bytes:
        """The `count` bytes from `offset` (fewer at the end). Raises `Corrupt` when the file has lost some of them."""
        count = min(count, self.length - offset)
        data = self._file.cached(offset, count)
        if data is None or len(data) != count:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._pool, self._file.read, offset, count)
        if len(data) != count:
            raise Corrupt("a body is shorter than its block says", digest=self._file.path.stem, expected=self.length)
        return data


class BodyStore:
    """The bodies of one data folder. `open` it before anything is written; one process at a time."""

    def __init__(self, data: Path) -> None:
        self._shards = Shards(data)
        self._sizes: dict[Digest, int] = {}
        self._pending: dict[Digest, _Pending] = {}
        self._changing: dict[Digest, asyncio.Task[Any]] = {}
        self._writing = ThreadPoolExecutor(WRITING_THREADS, "bodies-write")
        self._reading = ThreadPoolExecutor(READING_THREADS, "bodies-read")
        self.total_bytes = 0
        self.quarantined = 0

    def __repr__(self) -> str:
        return f"<BodyStore bodies={len(self._sizes)} bytes={self.total_bytes} pending={len(self._pending)}>"

    @property
    def count(self) -> int:
        """How many durable bodies there are."""
        return len(self._sizes)

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def open(self) -> Swept:
        """Make the folders, remove what a crash left behind, and learn what is there. Raises StartError."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._writing, self._shards.open)
        except OSError as error:
            raise StartError("the data folder cannot be used", path=self._shards.folder, error=error.strerror) from error
        self._sizes, self.quarantined = found.sizes, found.quarantined
        self.total_bytes = sum(found.sizes.values())
        return Swept(len(found.sizes), self.total_bytes, found.removed)

    async def close(self) -> None:
        """Wait for what threads are doing. Pending bodies are forgotten; the next `open` removes their temporary files."""
        while self._changing:
            await asyncio.wait(set(self._changing.values()))
        loop = asyncio.get_running_loop()
        for pool in (self._writing, self._reading):
            await loop.run_in_executor(None, pool.shutdown)

    async def retain(self, digests: Collection[Digest]) -> int:
        """Delete every durable body that is not in `digests` (a set) and say how many. For the start, when the ledger is read."""
        orphans = [digest for digest in self._sizes if digest not in digests]
        for digest in orphans:
            await self.delete(digest)
        return len(orphans)

    # -- in -------------------------------------------------------------------------------------------------------------------

    async def writer(self) -> BodyWriter:
        """A writer for one new body."""
        path = self._shards.temporary_path()
        return BodyWriter(path, self._writing, self._admit, self._withdraw)

    def _admit(self, body: Finished) -> None:
        pending = self._pending.get(body.ref.digest)
        if pending is None:
            self._pending[body.ref.digest] = _Pending(body)
            return
        pending.claims += 1
        if body.file is not None:
            remove(body.file.path)

    def _withdraw(self, ref: BodyRef) -> None:
        pending = self._pending.get(ref.digest)
        if pending is None:
            return
        pending.claims -= 1
        # While it is being made durable its file is a thread's; what becomes durable unnamed is an orphan for `retain`.
        if pending.claims <= 0 and ref.digest not in self._changing:
            self._forget(ref.digest)

    def _forget(self, digest: Digest) -> None:
        pending = self._pending.pop(digest, None)
        if pending is not None and pending.body.file is not None:
            remove(pending.body.file.path)

    async def make_durable(self, refs: Sequence[BodyRef]) -> None:
        """Return when each of `refs` survives a power cut; those that already do cost nothing.

        Raises the first failure (`StoreFull`, `StoreError`) after all were tried: `exists` says which are durable. A small body
        that failed stays pending and may be tried again; a large one is gone, for a file whose fsync failed cannot be trusted.
        """
        await self._quiet({ref.digest for ref in refs})
        todo: dict[Digest, Finished] = {}
        for ref in refs:
            if ref.digest in self._sizes:
                self._forget(ref.digest)
            elif (pending := self._pending.get(ref.digest)) is not None:
                todo[ref.digest] = pending.body
        if todo:
            failures = await self._claim(todo, self._settle(list(todo.values())))
            for failure in failures:
                raise failure
        for ref in refs:
            if ref.digest not in self._sizes:
                raise StoreError("a body to be made durable was never finished", digest=ref.digest.hex())

    async def _settle(self, bodies: list[Finished]) -> list[StoreError]:
        loop = asyncio.get_running_loop()
        # Small ones share the threads in equal lots; each large one is a lot of its own, its fsync takes long.
        small = [body for body in bodies if body.file is None]
        lots = [small[start::WRITING_THREADS] for start in range(WRITING_THREADS)] + [[body] for body in bodies if body.file]
        work = [loop.run_in_executor(self._writing, self._rename_lot, lot) for lot in lots if lot]
        outcome: dict[Digest, StoreError | None] = {}
        for lot in await asyncio.gather(*work):
            outcome.update(lot)
        shards = {self._shards.path(digest).parent for digest, failure in outcome.items() if failure is None}
        syncs = [(shard, loop.run_in_executor(self._writing, _try_sync, shard)) for shard in shards]
        unsynced = {shard: failure for shard, sync in syncs if (failure := await sync) is not None}
        for body in bodies:
            path = self._shards.path(body.ref.digest)
            failure = outcome[body.ref.digest] or unsynced.get(path.parent)
            self._settled(body, path, failure)
            outcome[body.ref.digest] = failure
        return [failure for failure in outcome.values() if failure is not None]

    def _settled(self, body: Finished, path: Path, failure: StoreError | None) -> None:
        digest = body.ref.digest
        if failure is None:
            size = body.ref.length + _LEAF * len(body.leaves)
            self._sizes[digest] = size
            self.total_bytes += size
            self._pending.pop(digest, None)
            return
        # A name that may not survive must not stay either: after a crash it would be an orphan, now it would be a lie.
        remove(path, chunks_path(path))
        pending = self._pending.get(digest)
        if body.file is not None or pending is None or pending.claims <= 0:
            self._forget(digest)

    def _rename_lot(self, bodies: list[Finished]) -> dict[Digest, StoreError | None]:
        """In a thread: write, flush and rename each body; the folders are flushed after."""
        outcome: dict[Digest, StoreError | None] = {}
        for body in bodies:
            if body.file is not None:
                outcome[body.ref.digest] = self._renamed(body, partial(_rename_large, body, body.file))
        small = [(self._shards.temporary_path(), body) for body in bodies if body.file is None]
        for start in range(0, len(small), _OPEN_AT_ONCE):
            some = small[start : start + _OPEN_AT_ONCE]
            # Crash before the rename: temporary files, removed at start.
            written = write_synced_together([(temporary, body.data) for temporary, body in some])
            for (temporary, body), error in zip(some, written, strict=True):
                outcome[body.ref.digest] = self._renamed(body, partial(_rename_small, temporary, error))
        return outcome

    def _renamed(self, body: Finished, rename: Callable[[Path], object]) -> StoreError | None:
        path = self._shards.path(body.ref.digest)
        try:
            rename(path)
        except OSError as error:
            return write_failure(error, path)
        return None

    # -- out ------------------------------------------------------------------------------------------------------------------

    def exists(self, digest: Digest) -> bool:
        """Whether the body is durable."""
        return digest in self._sizes

    def is_pending(self, digest: Digest) -> bool:
        """Whether the body is finished and can be read, but would not survive a crash."""
        return digest in self._pending

    async def read(self, ref: BodyRef) -> bytes:
        """The whole body. Raises `Corrupt` when it is missing or has another length; its hash is the caller's to check."""
        pending = self._pending.get(ref.digest)
        if pending is not None and pending.body.file is None:
            return pending.body.data
        if pending is not None:
            return await (await self.stream(ref)).read(0, ref.length)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, read_whole, self._shards.path(ref.digest), ref.length)

    async def read_chunk(self, ref: BodyRef, index: int) -> bytes:
        """Chunk `index` (64 KiB, the last one shorter). For many chunks in a row use `stream`."""
        start = index * CHUNK
        pending = self._pending.get(ref.digest)
        if pending is not None and pending.body.file is None:
            return pending.body.data[start : start + CHUNK]
        return await (await self.stream(ref)).read(start, CHUNK)

    async def stream(self, ref: BodyRef) -> StoredBody:
        """The body on disk, open for reading in pieces. Raises `Corrupt` when it is missing or has another length."""
        pending = self._pending.get(ref.digest)
        if pending is not None and pending.body.file is not None:
            return StoredBody(pending.body.file, ref.length, self._reading)
        loop = asyncio.get_running_loop()
        file = await loop.run_in_executor(self._reading, HeldFile.open, self._shards.path(ref.digest), ref.length)
        return StoredBody(file, ref.length, self._reading)

    async def chunk_leaves(self, ref: BodyRef) -> tuple[Digest, ...]:
        """The hashes of the chunks of a large body. Raises `Corrupt`; whether they give the root is the caller's to check."""
        pending = self._pending.get(ref.digest)
        if pending is not None and pending.body.file is not None:
            return pending.body.leaves
        count = chunk_count(ref.length)
        path = chunks_path(self._shards.path(ref.digest))
        data = await asyncio.get_running_loop().run_in_executor(self._reading, read_whole, path, count * _LEAF)
        return tuple(Digest(data[start : start + _LEAF]) for start in range(0, len(data), _LEAF))

    # -- away -----------------------------------------------------------------------------------------------------------------

    async def quarantine(self, digest: Digest) -> bool:
        """Move a durable body that failed its check to DATA/quarantine; False when it is not there."""
        moved = await self._take_away(digest, self._shards.set_aside)
        self.quarantined += moved
        return moved

    async def forget_quarantined(self, digest: Digest) -> bool:
        """Delete the copy of a body that was set aside; False when there is none. Raises StoreError."""
        gone = await asyncio.get_running_loop().run_in_executor(self._writing, self._forget_quarantined, digest)
        self.quarantined -= gone
        return gone

    def _forget_quarantined(self, digest: Digest) -> bool:
        path = self._shards.quarantine / digest.hex()
        try:
            return self._shards.unlink(path)
        except OSError as error:
            raise write_failure(error, path) from error

    async def delete(self, digest: Digest) -> bool:
        """Remove a durable body; False when it is not there. A power cut may bring it back, as an orphan."""
        return await self._take_away(digest, self._shards.unlink)

    async def _take_away(self, digest: Digest, step: Callable[[Path], bool]) -> bool:
        # A pending body with the same digest stays: it is new, and its block is on its way.
        await self._quiet((digest,))
        if digest not in self._sizes:
            return False
        outcome = await self._claim((digest,), self._take_away_now(digest, step))
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def _take_away_now(self, digest: Digest, step: Callable[[Path], bool]) -> bool | StoreError:
        # First from the books, so that nobody starts to read it.
        self.total_bytes -= self._sizes.pop(digest)
        path = self._shards.path(digest)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writing, step, path)
        except OSError as error:
            return write_failure(error, path)

    # -- one change of a body at a time ---------------------------------------------------------------------------------------

    async def _quiet(self, digests: Iterable[Digest]) -> None:
        """Wait until nobody changes any of `digests`."""
        wanted = set(digests)
        while running := {task for digest, task in self._changing.items() if digest in wanted}:
            await asyncio.wait(running)

    async def _claim(self, digests: Iterable[Digest], work: Coroutine[Any, Any, T]) -> T:
        """Run `work` as the only one that changes `digests`. It goes on to its end when the caller is cancelled."""
        task = spawn(work, name="bodies.change")
        claimed = tuple(digests)
        for digest in claimed:
            self._changing[digest] = task
        task.add_done_callback(lambda _: self._release(claimed))
        return await asyncio.shield(task)

    def _release(self, digests: tuple[Digest, ...]) -> None:
        for digest in digests:
            del self._changing[digest]


def _rename_small(temporary: Path, error: OSError | None, path: Path) -> None:
    if error is not None:
        raise error
    # Crash after it: a whole body that no block names yet, an orphan that `retain` removes.
    try:
        temporary.rename(path)
    except OSError:
        remove(temporary)
        raise


def _rename_large(body: Finished, file: HeldFile, path: Path) -> None:
    chunks = chunks_path(file.path)
    try:
        # Crash up to here: temporary files, removed at start.
        os.fdatasync(file.descriptor)
        write_synced(chunks, b"".join(body.leaves))
        # Crash between the renames: hashes without a body, removed at start. The body comes last, so it is never without them.
        chunks.rename(chunks_path(path))
        file.path.rename(path)
    except OSError:
        remove(chunks)
        raise


def _try_sync(folder: Path) -> StoreError | None:
    try:
        sync_folder(folder)
    except OSError as error:
        return write_failure(error, folder)
    return None
