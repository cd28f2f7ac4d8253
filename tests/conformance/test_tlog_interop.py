"""A verifier and a witness that others wrote against the ledger of a running edge, with nothing but its address and key.

The PyPI packages aics-tlog and aics-witness have a virtual environment of their own, since they declare a newer Python:
`make .venv-tlog/.installed`.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer, Verifier
from edgeproxy.ledger.strict import encode_base64
from tests.support.edge import ROOT, command, running_edge, until
from tests.support.logs import Log, published
from tests.support.pebble import free_ports
from tests.support.site import running_site
from tests.support.validators import local_validators

PYTHON = ROOT / ".venv-tlog" / "bin" / "python"
TOOL = ROOT / ".venv-tlog" / "bin" / "aics-tlog"
WITNESS = ROOT / ".venv-tlog" / "bin" / "aics-witness"

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
    if not TOOL.exists() or not WITNESS.exists():
        missing = "aics-tlog and aics-witness in .venv-tlog: make .venv-tlog/.installed"
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")


async def _run(*command: str, given: bytes = b"", environ: dict[str, str] | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environ or {})},
    )
    said, _ = await asyncio.wait_for(process.communicate(given), 60)
    assert process.returncode is not None
    return process.returncode, said.decode()


_PROOF = """
import base64, sys
from aics_tlog import parse_note, parse_vkey, verify_checkpoint, verify_leaf_inclusion
folder, vkey, origin = sys.argv[1:]
head, _, note = open(folder + "/page.tlog-proof", "rb").read().partition(b"\\n\\n")
found = parse_note(note)
assert verify_checkpoint(found, parse_vkey(vkey), expected_origin=origin).ok
_, size, root = found.text.split("\\n")[:3]
lines = head.decode().split("\\n")
index = next(int(line.split()[1]) for line in lines if line.startswith("index "))
path = [base64.b64decode(line) for line in lines[2 + lines[1].startswith("extra "):]]
block = open(folder + "/page.block", "rb").read()
for entry in (block, block + b"x"):
    print(verify_leaf_inclusion(entry, index, int(size), path, base64.b64decode(root)))
"""


async def test_a_foreign_verifier_accepts_a_proof_and_a_ledger_whose_key_was_changed(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await client.recorded("/page?max-age=60")
        for number in range(300):
            edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
        await edge.sequencer.flush()
        old, _ = edge.sequencer.log, await edge.sequencer.rotate()
        log, url = edge.sequencer.log, f"{client.base}/.edge/ledger"
        assert old != log
        note = (await client.ask("/.edge/ledger/checkpoint")).body
        status, said = await _run(str(PYTHON), "-c", _AUDIT, url, str(log), log.name, given=note)
        assert status == 0, said
        status, said = await _run(str(PYTHON), "-c", _AUDIT, url, str(old), log.name, given=note)
        assert status != 0, said
        data = str(edge.config.edge.data)
        line = ("prove", f"{client.base}/page?max-age=60", "-o", str(tmp_path / "page.tlog-proof"), "--data", data)
        made = await asyncio.to_thread(command, "ledger", *line)
        assert made.returncode == 0, made.stderr
        status, said = await _run(str(PYTHON), "-c", _PROOF, str(tmp_path), str(log), log.name)
        assert (status, said.split()) == (0, ["True", "False"]), said


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


@asynccontextmanager
async def _witness(folder: Path, log: Verifier, port: int = 0) -> AsyncIterator[tuple[str, Verifier]]:
    """Their witness for our log: its address and key."""
    config, seed = str(folder / "witness.json"), {"WITNESS_SEED_HEX": "07" * 32}
    status, said = await _run(
        str(WITNESS), "init", "--config", config, "--name", "witness.example/w", "--new-database", environ=seed
    )
    assert status == 0, said
    key = Signer("witness.example/w", bytes.fromhex("07" * 32), COSIGNATURE).verifier
    assert str(key) in said
    status, said = await _run(str(WITNESS), "add-log", "--config", config, "--origin", log.name, "--vkey", str(log), environ=seed)
    assert status == 0, said
    port = port or free_ports(1)[0]
    process = await asyncio.create_subprocess_exec(
        str(WITNESS), "serve", "--config", config, "--listen", f"127.0.0.1:{port}", env={**os.environ, **seed},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    async def listens() -> bool | None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            assert process.returncode is None
            return None
        writer.close()
        return True

    try:
        await until(listens)
        yield f"http://127.0.0.1:{port}", key
    finally:
        process.terminate()
        await process.wait()


async def test_a_foreign_witness_cosigns_our_checkpoints_as_they_grow(tmp_path: Path) -> None:
    async with (
        running_site() as origin,
        running_edge(tmp_path, origin.url) as (edge, client),
        _witness(tmp_path, edge.sequencer.log) as (url, key),
        aiohttp.ClientSession() as session,
    ):
        publication, log, old = edge.sequencer.publication, edge.sequencer.log, 0
        for grow in (3, 300, 300):
            for number in range(grow):
                edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
            await edge.sequencer.flush()
            note, size = (await client.ask("/.edge/ledger/checkpoint")).body, edge.sequencer.head().size
            proof = await publication.consistency(old, size)
            asked = f"old {old}\n" + "".join(f"{encode_base64(each)}\n" for each in proof) + "\n"
            async with session.post(f"{url}/add-checkpoint", data=asked.encode() + note) as answer:
                lines = await answer.read()
                assert answer.status == 200, lines
            opened = open_checkpoint(note + lines, log, log.name, (key,))
            assert [each.verifier for each in opened.cosigned] == [key]
            if old:  # a proof of another step is not believed
                async with session.post(f"{url}/add-checkpoint", data=asked.encode() + note) as answer:
                    assert (answer.status, await answer.read()) == (409, b"%d\n" % size)
            old = size
        monitored = f"{url}/{hashlib.sha256(log.name.encode()).hexdigest()}/checkpoint"
        async with session.get(monitored) as answer:
            assert open_checkpoint(await answer.read(), log, log.name, (key,)).checkpoint.size == old


async def test_a_foreign_witness_is_a_validator_of_our_edge(tmp_path: Path) -> None:
    config = f'[[ledger.validators]]\nvkey = "{Signer("witness.example/w", bytes([7]) * 32, COSIGNATURE).verifier}"\n'
    port = free_ports(1)[0]
    more = f'{config}url = "http://127.0.0.1:{port}"\n'
    async with running_site() as origin, running_edge(tmp_path, origin.url, more=more) as (edge, client):
        log = edge.sequencer.log
        async with _witness(tmp_path, log, port) as (_, key):
            for grow in (3, 300):
                for number in range(grow):
                    edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
                await edge.sequencer.flush()
                size = edge.sequencer.head().size

                async def final(size: int = size) -> bytes | None:
                    answer = await client.ask("/.edge/ledger/checkpoint.final")
                    is_new = answer.status == 200 and open_checkpoint(answer.body, log, log.name).checkpoint.size >= size
                    return answer.body if is_new else None

                opened = open_checkpoint(await until(final, 40), log, log.name, (key,))
                assert [each.verifier for each in opened.cosigned] == [key]


_FEED = """
import base64, json, sys
from aics_witness.feeder import WitnessAhead, WitnessClient, WitnessRejected, merge_cosignatures
from aics_tlog import parse_note, parse_vkey, verify_checkpoint
url, vkey, log_vkey, origin, state = sys.argv[1:]
client = WitnessClient(url, vkey, state_path=state)
for step in json.load(sys.stdin):
    proofs = {tuple(map(int, key.split())): [base64.b64decode(each) for each in value] for key, value in step["proofs"].items()}
    note = step["note"].encode()
    try:
        line = client.submit(note, lambda old, new: proofs[old, new])
    except WitnessRejected as error:
        print("rejected", error.status)
        continue
    except WitnessAhead as error:
        print("ahead", error.known_size)
        continue
    merged = merge_cosignatures(note, line)
    found = verify_checkpoint(
        parse_note(merged), parse_vkey(log_vkey), [parse_vkey(vkey)], 1, max_age_seconds=60, expected_origin=origin
    )
    print("cosigned" if found.ok else found)
"""


async def test_a_foreign_feeder_gets_cosignatures_of_our_validator(tmp_path: Path) -> None:
    log = Log()

    def step(olds: Sequence[int], of: Log = log) -> dict[str, object]:
        proofs = {f"{old} {of.size}": [encode_base64(each) for each in of.proof(old, of.size)] for old in olds}
        return {"note": of.note().decode(), "proofs": proofs}

    async with local_validators(tmp_path, 1) as (validator,), published(log) as url:
        validator.know(log.vkey, url)
        arguments = (validator.url, validator.vkey, log.vkey, log.origin, str(tmp_path / "feeder.json"))

        async def feed(*steps: dict[str, object]) -> list[str]:
            status, said = await _run(str(PYTHON), "-c", _FEED, *arguments, given=json.dumps(steps).encode())
            assert status == 0, said
            # What its log says goes to the same place.
            return [line for line in said.splitlines() if line.split(" ")[0] in ("cosigned", "ahead", "rejected")]

        log.grow(4)
        first = step(())
        assert await feed(first, first) == ["cosigned", "cosigned"]
        log.grow(600)
        grown = step((5,))
        assert await feed(grown, first) == ["cosigned", "ahead 605"]
        # Without its memory the feeder asks from 0, and is told where to go on.
        (tmp_path / "feeder.json").unlink()
        log.grow(1)
        assert await feed(step((605,))) == ["cosigned"]
        other = log.fork(605)
        other.grow(1, "other")
        forged = log.fork(100)
        forged.grow(600, "other")
        assert await feed(step((606,), other), step((606,), forged)) == ["rejected 422", "rejected 422"]
