"""The body store: named by SHA-256, pending then durable, never a wrong length, one change of a body at a time."""

import asyncio
import errno
import hashlib
import os
from pathlib import Path

import pytest

from edgeproxy.errors import Corrupt, StartError, StoreError, StoreFull
from edgeproxy.ledger.chunks import CHUNK, WHOLE_BODY_LIMIT
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.storage.bodies import BodyStore
from tests.support.bodies import LARGE, SIZES, chunk_leaves, chunk_root, patterned, temporary


async def written(store: BodyStore, data: bytes, piece: int = 50_000) -> BodyRef:
    writer = await store.writer()
    for start in range(0, len(data), piece):
        await writer.write(data[start : start + piece])
    return await writer.finish()


def body_path(tmp_path: Path, ref: BodyRef) -> Path:
    return tmp_path / "data" / "bodies" / ref.digest.hex()[:2] / ref.digest.hex()


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
