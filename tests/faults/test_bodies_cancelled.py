"""A task that uses the body store may be cancelled at any wait: nothing half-written, nothing leaked, the books still right."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from edgeproxy.ledger.chunks import CHUNK
from edgeproxy.storage.bodies import BodyStore
from tests.support.bodies import chunk_leaves, patterned
from tests.support.cancelling import each_wait

LARGE = 13 * CHUNK + 3


def assert_whole(data: Path, store: BodyStore) -> None:
    """What lies under a final name is what the name says, with its hashes beside it, and the books agree."""
    total = 0
    for path in (data / "bodies").rglob("*"):
        if path.is_dir() or path.suffix == ".chunks":
            continue
        assert path.parent.name != "tmp", f"left behind: {path}"
        body = path.read_bytes()
        assert hashlib.sha256(body).hexdigest() == path.name
        total += len(body)
        if len(body) > 4 * CHUNK:
            leaves = path.with_name(path.name + ".chunks").read_bytes()
            assert leaves == b"".join(chunk_leaves(body))
            total += len(leaves)
        assert store.exists(bytes.fromhex(path.name))
    assert store.total_bytes == total


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(("size", "how", "waits"), [(1000, "quarantine", 4), (1000, "delete", 4), (LARGE, "delete", 7)])
async def test_life_of_a_body_cancelled_at_each_wait(tmp_path, size, how, waits):
    data = tmp_path / "data"
    content = patterned(size)
    state: dict[str, BodyStore] = {}
    before = open_files()

    async def life() -> None:
        store = state["store"] = BodyStore(data)
        await store.open()
        writer = await store.writer()
        try:
            for start in range(0, size, CHUNK):
                await writer.write(content[start : start + CHUNK])
            reader = writer.reader()
            ref = await writer.finish()
            await store.make_durable([ref])
        except BaseException:
            await writer.discard()
            raise
        got = b""
        while piece := await reader.read():
            got += piece
        assert got == content
        await store.read_chunk(ref, 0)
        await (store.quarantine if how == "quarantine" else store.delete)(ref.digest)

    async def after() -> None:
        await state["store"].close()
        again = BodyStore(data)
        await again.open()
        assert_whole(data, again)
        await again.retain(set())
        assert_whole(data, again)
        await again.close()

    runs = [at async for at in each_wait(life, after)]
    assert len(runs) > waits
    state.clear()
    assert open_files() <= before + 1, "descriptors leaked"


async def test_waiting_reader_that_is_cancelled_leaves_the_others_alone(tmp_path):
    store = BodyStore(tmp_path / "data")
    await store.open()
    writer = await store.writer()
    loop = asyncio.get_running_loop()
    leaving, staying = (loop.create_task(writer.reader().read()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    await writer.write(b"for those who stayed")
    assert await staying == b"for those who stayed"
    await writer.discard()
    await store.close()
