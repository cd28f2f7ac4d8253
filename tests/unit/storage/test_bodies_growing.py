"""A body that is read while it is written: followers, a writer that waits for them and for the disk, and bodies not kept."""

import asyncio
import errno
import hashlib
import os
import threading

import pytest

from edgeproxy.errors import OriginTruncated, StoreError, StoreFull
from edgeproxy.ledger.chunks import CHUNK
from edgeproxy.storage import durable
from edgeproxy.storage.bodies import BodyWriter
from tests.support.bodies import LARGE, SIZES, patterned, temporary

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
