"""SIGKILL at any moment: what was reported durable is there and whole, what was half-written is gone."""

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeproxy.storage.bodies import BodyStore
from tests.faults.test_bodies_cancelled import assert_whole

RUNS = 12

WRITER = """
import asyncio, os, random, sys
from pathlib import Path
from edgeproxy.storage.bodies import BodyStore

async def main():
    store = BodyStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    seed = random.Random(int(sys.argv[2]))
    while True:
        refs = []
        for _ in range(seed.randrange(1, 12)):
            writer = await store.writer()
            size = seed.choice((10, 3000, 70_000, 400_000, 900_000))
            piece = os.urandom(size)
            for start in range(0, size, 50_000):
                await writer.write(piece[start : start + 50_000])
            refs.append(await writer.finish())
        await store.make_durable(refs)
        for ref in refs:
            print(ref.digest.hex(), ref.length, ref.chunks.hex() if ref.chunks else "-", flush=True)
        if seed.random() < 0.3:
            gone = refs.pop()
            print("deleting", gone.digest.hex(), flush=True)
            await store.delete(gone.digest)

asyncio.run(main())
"""


def run_until_killed(data: Path, seed: int) -> list[str]:
    """Start a writer, kill it with SIGKILL somewhere in its work, and give what it had said by then."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(data), str(seed)], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"open\n"
        deadline = time.monotonic() + random.Random(seed).uniform(0.0, 0.25)
        said = b""
        while (left := deadline - time.monotonic()) > 0:
            if select.select([child.stdout], [], [], left)[0]:
                said += os.read(child.stdout.fileno(), 65536)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    said += child.stdout.read()
    child.stdout.close()
    return said.decode().rpartition("\n")[0].splitlines()


async def test_killed_at_any_moment_keeps_what_was_durable_and_nothing_half_written(tmp_path):
    data = tmp_path / "data"
    acknowledged: dict[str, int] = {}
    for seed in range(RUNS):
        for line in run_until_killed(data, seed):
            word, rest, *_ = line.split()
            if word == "deleting":
                acknowledged.pop(rest)
            else:
                acknowledged[word] = int(rest)
        store = BodyStore(data)
        await store.open()
        assert_whole(data, store)
        for name, length in acknowledged.items():
            body = (data / "bodies" / name[:2] / name).read_bytes()
            assert (hashlib.sha256(body).hexdigest(), len(body)) == (name, length)
        await store.close()
    assert len(acknowledged) > RUNS, "the writers were killed before they did anything"


@pytest.mark.parametrize("leftover", ["bodies/tmp/123-4", "bodies/ab/" + "ab" * 32 + ".chunks"])
async def test_leftovers_of_each_step_are_removed_at_start(tmp_path, leftover):
    data = tmp_path / "data"
    first = BodyStore(data)
    await first.open()
    await first.close()
    (data / leftover).write_bytes(b"half")
    second = BodyStore(data)
    assert (await second.open()).removed == 1
    assert not (data / leftover).exists()
    await second.close()
