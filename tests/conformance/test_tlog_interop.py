"""A verifier that others wrote (PyPI aics-tlog) against the ledger of a running edge, over HTTP, with nothing but its key.

It lives in a virtual environment of its own, since it declares a newer Python: `make .venv-tlog/.installed`.
"""

import asyncio
import os
from pathlib import Path

import pytest

from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.strict import encode_base64
from tests.support.edge import ROOT, running_edge
from tests.support.site import running_site

PYTHON = ROOT / ".venv-tlog" / "bin" / "python"
TOOL = ROOT / ".venv-tlog" / "bin" / "aics-tlog"

_AUDIT = """
import sys
from aics_tlog import HttpTileReader, audit_tiles, parse_note, parse_vkey, verify_checkpoint
url, vkey, origin = sys.argv[1:]
reader = HttpTileReader(url)
note = parse_note(sys.stdin.buffer.read())
found = verify_checkpoint(note, parse_vkey(vkey), expected_origin=origin)
assert found.ok, found
checkpoint = note.text.split("\\n")
import base64
print(audit_tiles(reader, int(checkpoint[1]), base64.b64decode(checkpoint[2])))
"""


@pytest.fixture(autouse=True)
def _tool() -> None:
    if not TOOL.exists():
        missing = "aics-tlog in .venv-tlog: make .venv-tlog/.installed"
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")


async def _run(*command: str, given: bytes = b"") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(given), 60)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_foreign_verifier_accepts_checkpoints_tiles_and_proofs(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        for number in range(20):
            await client.ask(f"/{number}?max-age=60")
        await edge.sequencer.flush()
        early = (await client.ask("/.edge/ledger/checkpoint")).body
        (tmp_path / "early.note").write_bytes(early)
        for number in range(700):
            edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
        await edge.sequencer.flush()
        url, log, size = f"{client.base}/.edge/ledger", edge.sequencer.log, edge.sequencer.head().size
        note = (await client.ask("/.edge/ledger/checkpoint")).body
        assert size > 512
        status, said = await _run(str(PYTHON), "-c", _AUDIT, url, str(log), log.name, given=note)
        assert status == 0, said
        known = ("--tiles", url, "--log-key", str(log), "--origin", log.name)
        for height in (0, 5, 255, 256, 511, size - 1):
            leaf = leaf_hash((await edge.db.load(height)).raw)
            inclusion = ("verify-inclusion", *known, "--index", str(height), "--leaf-hash", leaf.hex())
            status, said = await _run(str(TOOL), *inclusion)
            assert status == 0, said
        status, said = await _run(str(TOOL), *inclusion[:-1], leaf_hash(b"another").hex())
        assert status != 0, said
        status, said = await _run(str(TOOL), "verify-consistency", *known, "--old-checkpoint", str(tmp_path / "early.note"))
        assert status == 0, said
        forged = note.replace(encode_base64(edge.sequencer.head().root).encode(), encode_base64(bytes(32)).encode())
        status, said = await _run(str(PYTHON), "-c", _AUDIT, url, str(log), log.name, given=forged)
        assert status != 0, said
