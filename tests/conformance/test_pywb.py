"""An archive player that others wrote shows the pages of an export: pywb, as `make .venv-pywb/.installed` brings it."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.ledger.digests import sha256
from edgeproxy.recovery.export import Wanted, export
from edgeproxy.storage.bodies import BodyStore
from tests.support.edge import ROOT, until
from tests.support.ledgers import NOW, SITE, Ledger, store_draft

BIN = ROOT / ".venv-pywb" / "bin"


@pytest.fixture(autouse=True)
def _tool() -> None:
    if not (BIN / "wayback").exists():
        missing = "pywb in .venv-pywb: make .venv-pywb/.installed"
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")


async def test_pywb_replays_responses_and_revisits(tmp_path: Path) -> None:
    data, large = tmp_path / "data", os.urandom(400_000)
    async with Ledger(data, BodyStore(data)) as ledger:
        for number, body in enumerate((b"the first page", b"the second page", b"the first page", large), start=1):
            ledger.sequencer.append(store_draft(number, body=await ledger.body(body)))
        await ledger.sequencer.flush()
        export(data, tmp_path / "site.warc.gz", Wanted(), NOW)
    for arguments in (("init", "site"), ("add", "site", str(tmp_path / "site.warc.gz"))):
        done = await asyncio.to_thread(subprocess.run, [BIN / "wb-manager", *arguments], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        player = subprocess.Popen([BIN / "wayback", "-b", "127.0.0.1", "-p", str(port)], cwd=tmp_path, stdout=log, stderr=log)
    try:
        async with aiohttp.ClientSession() as session:

            async def shown(number: int) -> tuple[int, bytes] | None:
                url = f"http://127.0.0.1:{port}/site/20251124id_/http://{SITE}/page/{number}"
                try:
                    async with session.get(url) as answer:
                        return answer.status, await answer.read()
                except aiohttp.ClientError:
                    return None

            assert await until(lambda: shown(1), 60) == (200, b"the first page")
            assert await shown(2) == (200, b"the second page")
            assert await shown(3) == (200, b"the first page"), "a revisit"
            found = await shown(4)
            assert found is not None
            assert (found[0], sha256(found[1])) == (200, sha256(large))
            assert (await shown(5) or (0, b""))[0] == 404
    finally:
        player.terminate()
        player.wait(10)
