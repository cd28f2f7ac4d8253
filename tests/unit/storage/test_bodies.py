"""The body store: named by SHA-256, pending then durable, never a wrong length, one change of a body at a time."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.errors import Corrupt, OriginTruncated, StartError, StoreError, StoreFull
from edgeproxy.ledger.chunks import CHUNK, WHOLE_BODY_LIMIT
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.storage import durable
from edgeproxy.storage.bodies import BodyStore, BodyWriter
from tests.support.bodies import chunk_leaves, chunk_root, patterned

SIZES = [
    pytest.param(0, id="empty"),
    pytest.param(1, id="one byte"),
    pytest.param(WHOLE_BODY_LIMIT, id="largest without chunks"),
    pytest.param(WHOLE_BODY_LIMIT + 1, id="smallest with chunks"),
    pytest.param(16 * CHUNK, id="whole chunks"),
    pytest.param(16 * CHUNK + 7, id="short last chunk"),
]
LARGE = 16 * CHUNK + 7


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BodyStore]:
    store = BodyStore(tmp_path / "data")
    await store.open()
    yield store
    await store.close()


async def written(store: BodyStore, data: bytes, piece: int = 50_000) -> BodyRef:
    writer = await store.writer()
    for start in range(0, len(data), piece):
        await writer.write(data[start : start + piece])
    return await writer.finish()


def body_path(tmp_path: Path, ref: BodyRef) -> Path:
    return tmp_path / "data" / "bodies" / ref.digest.hex()[:2] / ref.digest.hex()


def temporary(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "bodies" / "tmp").iterdir())


@pytest.mark.parametrize("size", SIZES)
async def test_body_is_named_by_its_sha256_and_reads_back_before_and_after_it_is_durable(store, tmp_path, size):
    data = patterned(size)
    ref = await written(store, data)
    assert ref.digest == hashlib.sha256(data).digest()
    assert ref.length == size
    assert store.is_pending(ref.digest)
    assert not store.exists(ref.digest)
    assert await store.read(ref) == data
    await store.make_durable([ref])
    assert store.exists(ref.digest)
    assert not store.is_pending(ref.digest)
    assert await store.read(ref) == data
    assert body_path(tmp_path, ref).read_bytes() == data
    assert temporary(tmp_path) == []


@pytest.mark.parametrize("size", SIZES)
async def test_chunks_only_above_the_limit_as_an_rfc6962_tree(store, size):
    data = patterned(size)
    ref = await written(store, data)
    expected = chunk_root(data) if size > WHOLE_BODY_LIMIT else None
    assert ref.chunks == expected
    if expected is not None:
        assert await store.chunk_leaves(ref) == chunk_leaves(data)
        await store.make_durable([ref])
        assert await store.chunk_leaves(ref) == chunk_leaves(data)


@pytest.mark.parametrize("piece", [1021, CHUNK, CHUNK + 1, 4 * CHUNK, LARGE])
async def test_chunk_hashes_do_not_depend_on_how_the_body_arrived(store, piece):
    data = patterned(LARGE)
    ref = await written(store, data, piece)
    assert (ref.digest, ref.chunks) == (hashlib.sha256(data).digest(), chunk_root(data))


@pytest.mark.parametrize("is_durable", [False, True])
@pytest.mark.parametrize("size", [100_000, LARGE])
async def test_chunks_and_streams_read_the_right_bytes(store, size, is_durable):
    data = patterned(size)
    ref = await written(store, data)
    if is_durable:
        await store.make_durable([ref])
    count = -(-size // CHUNK)
    assert b"".join([await store.read_chunk(ref, index) for index in range(count)]) == data
    if size > WHOLE_BODY_LIMIT:
        stream = await store.stream(ref)
        assert await stream.read(5, 100_000) == data[5:100_005]
        assert await stream.read(size - 3, 100) == data[-3:]


async def test_stream_goes_on_after_the_body_was_deleted(store):
    data = patterned(LARGE)
    ref = await written(store, data)
    await store.make_durable([ref])
    stream = await store.stream(ref)
    await store.delete(ref.digest)
    assert await stream.read(0, LARGE) == data


# -- followers ----------------------------------------------------------------------------------------------------------------


async def read_all(reader) -> bytes:
    pieces = []
    while data := await reader.read():
        pieces.append(data)
    return b"".join(pieces)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", SIZES)
async def test_followers_read_the_body_while_it_grows_and_late_ones_from_its_start(store, size):
    data = patterned(size)
    writer = await store.writer()
    early = asyncio.get_running_loop().create_task(read_all(writer.reader()))
    half = size // 2
    for start in range(0, half, 30_000):
        await writer.write(data[start : min(half, start + 30_000)])
    late = asyncio.get_running_loop().create_task(read_all(writer.reader()))
    for start in range(half, size, 30_000):
        await writer.write(data[start : start + 30_000])
    await writer.finish()
    after = await read_all(writer.reader())
    assert await early == await late == after == data


async def test_reader_waits_for_more_and_gets_each_piece_at_once(store):
    writer = await store.writer()
    reader = writer.reader()
    reading = asyncio.get_running_loop().create_task(reader.read())
    await settle()
    assert not reading.done()
    await writer.write(b"first")
    assert await reading == b"first"
    await writer.write(b"second")
    assert await reader.read(3) == b"sec"
    assert await reader.read() == b"ond"
    await writer.finish()
    assert await reader.read() == b""
    assert await reader.read() == b""


async def test_failure_of_the_writer_reaches_waiting_readers_after_what_had_come(store, tmp_path):
    for size in (10, LARGE):
        writer = await store.writer()
        behind, waiting = writer.reader(), writer.reader()
        await writer.write(patterned(size))
        while waiting.position < size:
            await waiting.read()
        task = asyncio.get_running_loop().create_task(waiting.read())
        await settle()
        await writer.discard(OriginTruncated("origin closed early"))
        with pytest.raises(OriginTruncated):
            await task
        assert await behind.read(5) == patterned(5)
        with pytest.raises(OriginTruncated):
            await read_all(behind)
        with pytest.raises(OriginTruncated):
            await writer.write(b"more")
        with pytest.raises(OriginTruncated):
            await writer.finish()
    await store.close()
    assert temporary(tmp_path) == []


async def test_who_waits_for_the_whole_body_is_told_that_it_failed_and_not_that_it_is_not_kept(store):
    writer = await store.writer()
    await writer.write(b"hello")
    waiting = asyncio.get_running_loop().create_task(writer.grown(100))
    await settle()
    await writer.discard(OriginTruncated("origin closed early"))
    for wait in (waiting, writer.grown(100), writer.grown(1)):
        with pytest.raises(OriginTruncated):
            await wait


async def test_who_waits_for_the_whole_body_goes_on_when_it_is_long_or_whole_or_not_kept(store):
    whole, long, unkept = [await store.writer() for _ in range(3)]
    for writer in (whole, long, unkept):
        await writer.write(b"hello")
    await whole.finish()
    unkept.stop_keeping(StoreError("body is larger than max_object"))
    assert [await whole.grown(100), await long.grown(4), await unkept.grown(100)] == [False, True, True]


async def test_reader_goes_on_from_the_file_after_rename_and_delete(store):
    data = patterned(LARGE)
    writer = await store.writer()
    reader = writer.reader()
    await writer.write(data)
    ref = await writer.finish()
    first = await reader.read()
    await store.make_durable([ref])
    await store.delete(ref.digest)
    del writer
    assert first + await read_all(reader) == data


async def test_writer_waits_for_the_disk_and_memory_stays_bounded(store, monkeypatch):
    held = asyncio.Event()
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    real = durable.write_all

    def slow(descriptor, data, offset):
        loop.call_soon_threadsafe(held.set)
        gate.wait(10)
        real(descriptor, data, offset)

    monkeypatch.setattr("edgeproxy.storage.growing.write_all", slow)
    writer = await store.writer()
    taken = 0

    async def fill():
        nonlocal taken
        for _ in range(64):
            await writer.write(bytes(CHUNK))
            taken += 1

    filling = loop.create_task(fill())
    await held.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert taken < 12, "the writer must wait while the disk is behind"
    gate.set()
    await filling
    assert (await writer.finish()).length == 64 * CHUNK


# -- what is not kept still flows ---------------------------------------------------------------------------------------------


async def run_through(writer: BodyWriter, data: bytes, readers: int) -> list[bytes]:
    loop = asyncio.get_running_loop()
    following = [loop.create_task(read_all(writer.reader())) for _ in range(readers)]
    for start in range(0, len(data), CHUNK):
        await writer.write(data[start : start + CHUNK])
    with pytest.raises(StoreError) as caught:
        await writer.finish()
    assert str(caught.value) == str(writer.not_kept)
    return list(await asyncio.gather(*following))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("good_blocks", [0, 1, 3])
async def test_full_disk_stops_keeping_but_every_reader_gets_the_whole_body(store, tmp_path, monkeypatch, code, good_blocks):
    written_blocks = 0

    def filling_up(descriptor, data, offset):
        nonlocal written_blocks
        written_blocks += 1
        if written_blocks > good_blocks:
            os.pwrite(descriptor, b"half", offset)
            raise OSError(code, os.strerror(code))
        durable.write_all(descriptor, data, offset)

    monkeypatch.setattr("edgeproxy.storage.growing.write_all", filling_up)
    writer = await store.writer()
    data = patterned(40 * CHUNK + 5)
    assert await run_through(writer, data, 3) == [data] * 3
    assert isinstance(writer.not_kept, StoreFull)
    assert temporary(tmp_path) == []
    assert not store.is_pending(hashlib.sha256(data).digest())


async def test_body_that_turns_out_too_large_flows_on_and_waits_for_the_slowest_reader(store, tmp_path):
    writer = await store.writer()
    reader = writer.reader()
    await writer.write(bytes(CHUNK))
    writer.stop_keeping(StoreError("over the limit"))
    filling = asyncio.get_running_loop().create_task(run_rest(writer, 64))
    await settle()
    assert not filling.done()
    assert writer.length < 8 * CHUNK, "a writer that keeps nothing must not run ahead of its reader"
    assert len(await read_all(reader)) == 65 * CHUNK
    await filling
    assert temporary(tmp_path) == []


async def run_rest(writer: BodyWriter, chunks: int) -> None:
    for _ in range(chunks):
        await writer.write(bytes(CHUNK))
    with pytest.raises(StoreError, match="over the limit"):
        await writer.finish()


@pytest.mark.parametrize("how", ["close", "forget"])
async def test_reader_that_leaves_does_not_hold_back_a_writer_that_keeps_nothing(store, how):
    writer = await store.writer()
    writer.stop_keeping(StoreError("over the limit"))
    reader = writer.reader()
    filling = asyncio.get_running_loop().create_task(run_rest(writer, 64))
    await settle()
    assert not filling.done()
    if how == "close":
        reader.close()
    else:
        del reader
    await asyncio.wait_for(filling, 5)


async def test_reader_that_comes_too_late_for_what_was_not_kept_is_told(store):
    writer = await store.writer()
    writer.stop_keeping(StoreError("over the limit"))
    for _ in range(10):
        await writer.write(bytes(CHUNK))
    with pytest.raises(StoreError, match="over the limit"):
        await writer.reader().read()


# -- durable ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_make_durable_is_idempotent_and_may_run_twice_at_once(store, size):
    data = patterned(size)
    refs = [await written(store, data), await written(store, data)]
    await asyncio.gather(store.make_durable(refs), store.make_durable(refs[:1]), store.make_durable(refs[1:]))
    total = store.total_bytes
    await store.make_durable(refs)
    again = await written(store, data)
    await store.make_durable([again])
    assert store.total_bytes == total
    assert not store.is_pending(again.digest)
    assert await store.read(refs[0]) == data


async def test_many_bodies_become_durable_together_and_total_is_tracked(store, tmp_path):
    bodies = [patterned(1000 + number) for number in range(300)] + [patterned(LARGE)]
    refs = [await written(store, data) for data in bodies]
    await store.make_durable(refs)
    on_disk = sum(path.stat().st_size for path in (tmp_path / "data" / "bodies").rglob("*") if path.is_file())
    assert store.total_bytes == on_disk
    again = BodyStore(tmp_path / "data")
    swept = await again.open()
    assert (swept.bodies, swept.total_bytes, swept.removed) == (301, on_disk, 0)
    assert [await again.read(ref) for ref in refs] == bodies
    await again.close()


@pytest.mark.parametrize(
    ("code", "raised"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreError), (errno.EROFS, StoreError)],
)
@pytest.mark.parametrize("step", ["write_all", "fdatasync", "rename", "fsync folder"])
@pytest.mark.parametrize("size", [1000, LARGE])
async def test_step_that_fails_leaves_nothing_under_the_final_name(store, tmp_path, monkeypatch, code, raised, step, size):
    data = patterned(size)
    ref = await written(store, data)

    def fails(*_args: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        target = {
            "write_all": "edgeproxy.storage.durable.write_all",
            "fdatasync": "os.fdatasync",
            "rename": "pathlib.Path.rename",
            "fsync folder": "os.fsync",
        }[step]
        patch.setattr(target, fails)
        with pytest.raises(raised) as caught:
            await store.make_durable([ref])
    assert type(caught.value) is raised
    assert not store.exists(ref.digest)
    assert not body_path(tmp_path, ref).exists()
    assert temporary(tmp_path) == []
    if size == 1000:
        assert await store.read(ref) == data, "a small body is still in memory"
        await store.make_durable([ref])
    else:
        assert not store.is_pending(ref.digest), "a file whose fsync failed cannot be trusted"
        again = await written(store, data)
        await store.make_durable([again])
    assert await store.read(ref) == data


async def test_one_failure_does_not_stop_the_others(store, monkeypatch):
    refs = [await written(store, patterned(1000 + number)) for number in range(8)]
    bad = refs[3].digest.hex()
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target.name == bad:
            raise OSError(errno.ENOSPC, "full")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StoreFull):
        await store.make_durable(refs)
    assert [store.exists(ref.digest) for ref in refs] == [ref.digest.hex() != bad for ref in refs]


async def test_body_that_was_never_finished_cannot_be_made_durable(store):
    with pytest.raises(StoreError, match="never finished"):
        await store.make_durable([BodyRef(hashlib.sha256(b"x").digest(), 1, None)])


# -- damage -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "short", "long"])
@pytest.mark.parametrize("size", [1000, LARGE])
async def test_missing_or_wrong_length_is_corrupt(store, tmp_path, damage, size):
    ref = await written(store, patterned(size))
    await store.make_durable([ref])
    path = body_path(tmp_path, ref)
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        os.truncate(path, size - 1)
    else:
        path.write_bytes(patterned(size) + b"x")
    with pytest.raises(Corrupt):
        await store.read(ref)
    with pytest.raises(Corrupt):
        await store.read_chunk(ref, 0)


async def test_body_cut_while_it_is_streamed_is_corrupt(store, tmp_path):
    ref = await written(store, patterned(LARGE))
    await store.make_durable([ref])
    stream = await store.stream(ref)
    os.truncate(body_path(tmp_path, ref), 3 * CHUNK)
    assert await stream.read(0, CHUNK) == patterned(CHUNK)
    with pytest.raises(Corrupt):
        await stream.read(3 * CHUNK, CHUNK)


async def test_lost_hashes_of_chunks_are_corrupt(store, tmp_path):
    ref = await written(store, patterned(LARGE))
    await store.make_durable([ref])
    path = body_path(tmp_path, ref)
    path.with_name(path.name + ".chunks").unlink()
    with pytest.raises(Corrupt):
        await store.chunk_leaves(ref)


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_quarantined_body_is_set_aside_counted_and_may_be_stored_anew(store, tmp_path, size):
    ref = await written(store, patterned(size))
    await store.make_durable([ref])
    body_path(tmp_path, ref).write_bytes(b"rot")
    assert await store.quarantine(ref.digest)
    assert not await store.quarantine(ref.digest)
    assert (store.quarantined, store.total_bytes, store.exists(ref.digest)) == (1, 0, False)
    assert (tmp_path / "data" / "quarantine" / ref.digest.hex()).read_bytes() == b"rot"
    with pytest.raises(Corrupt):
        await store.read(ref)
    await store.make_durable([await written(store, patterned(size))])
    assert await store.read(ref) == patterned(size)


async def test_delete_removes_body_and_hashes_and_spares_a_pending_one(store, tmp_path):
    ref = await written(store, patterned(LARGE))
    await store.make_durable([ref])
    pending = await written(store, patterned(LARGE))
    assert await store.delete(ref.digest)
    assert not await store.delete(ref.digest)
    assert store.total_bytes == 0
    assert not body_path(tmp_path, ref).exists()
    assert await store.read(pending) == patterned(LARGE)
    await store.make_durable([pending])
    assert await store.read(ref) == patterned(LARGE)


# -- discard ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_discarded_after_finish_leaves_nothing(store, tmp_path, size):
    writer = await store.writer()
    await writer.write(patterned(size))
    ref = await writer.finish()
    await writer.discard()
    assert not store.is_pending(ref.digest)
    assert temporary(tmp_path) == []
    with pytest.raises(Corrupt):
        await store.read(ref)


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_discard_of_one_writer_spares_the_same_body_of_another(store, size):
    first, second = await store.writer(), await store.writer()
    for writer in (first, second):
        await writer.write(patterned(size))
        ref = await writer.finish()
    await first.discard()
    assert await store.read(ref) == patterned(size)
    await store.make_durable([ref])
    await second.discard()
    assert await store.read(ref) == patterned(size)


# -- start --------------------------------------------------------------------------------------------------------------------


async def test_start_removes_temporary_files_and_hashes_without_a_body(store, tmp_path):
    ref = await written(store, patterned(LARGE))
    await store.make_durable([ref])
    folder = tmp_path / "data" / "bodies"
    (folder / "tmp" / "1-1").write_bytes(b"half")
    lonely = folder / "00" / ("00" * 32 + ".chunks")
    lonely.write_bytes(bytes(64))
    foreign = folder / "00" / "notes.txt"
    foreign.write_text("of the operator")
    again = BodyStore(tmp_path / "data")
    swept = await again.open()
    assert (swept.bodies, swept.removed) == (1, 2)
    assert not lonely.exists()
    assert foreign.exists()
    assert temporary(tmp_path) == []
    await again.close()


async def test_retain_deletes_orphans_only(store):
    named = await written(store, b"named")
    orphans = [await written(store, b"orphan %d" % number) for number in range(3)]
    await store.make_durable([named, *orphans])
    assert await store.retain({named.digest}) == 3
    assert await store.read(named) == b"named"
    assert not any(store.exists(ref.digest) for ref in orphans)


async def test_data_folder_that_cannot_be_made_is_a_start_error(tmp_path):
    (tmp_path / "data").write_text("a file")
    store = BodyStore(tmp_path / "data")
    with pytest.raises(StartError):
        await store.open()
    await store.close()


async def test_a_body_that_is_not_kept_is_whole_until_what_was_read_is_forgotten(store):
    writer = await store.writer()
    reader = writer.reader()
    assert writer.readers == 1
    await writer.write(b"x" * 1000)
    writer.stop_keeping(StoreError("over the limit"))
    assert writer.is_whole_so_far
    assert len(await reader.read()) == 1000
    writing = asyncio.get_running_loop().create_task(writer.write(b"x" * 1_000_000))
    while reader.position < 1_001_000:
        await reader.read()
    await writing
    assert not writer.is_whole_so_far
    reader.close()
    assert writer.readers == 0
