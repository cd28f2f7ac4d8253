"""A disk that is really full (a small tmpfs): `StoreFull`, nothing half-written, readers unharmed, and life goes on with room."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeproxy.errors import StoreFull
from edgeproxy.storage.bodies import BodyStore
from tests.faults.test_bodies_cancelled import assert_whole
from tests.support.bodies import patterned

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a tmpfs")

PIECE = 65_536


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0 and "CI" not in os.environ:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    assert mounted.returncode == 0, mounted.stderr
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # lazy: a test that failed may still hold a file


async def test_large_body_on_a_full_disk_reaches_its_readers(small_disk):
    data = small_disk / "data"
    store = BodyStore(data)
    await store.open()
    content = patterned(40 * PIECE)
    writer = await store.writer()
    reader = writer.reader()
    got = b""
    for start in range(0, len(content), PIECE):
        await writer.write(content[start : start + PIECE])
        got += await reader.read()
    with pytest.raises(StoreFull):
        await writer.finish()
    while piece := await reader.read():
        got += piece
    assert got == content
    assert_whole(data, store)
    assert list((data / "bodies" / "tmp").iterdir()) == []
    await store.close()


async def test_small_bodies_until_full_then_room_again(small_disk):
    data = small_disk / "data"
    store = BodyStore(data)
    await store.open()
    refs = []
    for number in range(8):
        writer = await store.writer()
        await writer.write(patterned(200_000 + number))
        refs.append(await writer.finish())
    with pytest.raises(StoreFull):
        await store.make_durable(refs)
    there = [ref for ref in refs if store.exists(ref.digest)]
    waiting = [ref for ref in refs if not store.exists(ref.digest)]
    assert there
    assert waiting
    assert_whole(data, store)
    for ref in refs:
        assert hashlib.sha256(await store.read(ref)).digest() == ref.digest
    for ref in there:
        await store.delete(ref.digest)
    await store.make_durable(waiting[:4])
    assert_whole(data, store)
    await store.close()
