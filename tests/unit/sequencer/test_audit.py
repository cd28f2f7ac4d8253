"""`ledger verify`: everything that is wrong is named, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.caching.model import Digest
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.drafts import EvictDraft
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.replay import FaultKind
from edgeproxy.sequencer.audit import Progress, audit
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import KEY_FILE, read_key
from edgeproxy.storage.shards import Shards, chunks_path
from tests.support.bodies import patterned
from tests.support.ledgers import NOW, Ledger, store_draft

LARGE = patterned(300_000)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A ledger with three small bodies and a large one."""
    async with Ledger(tmp_path, BodyStore(tmp_path)) as ledger:
        await ledger.fill(3)
        await ledger.sequencer.append(store_draft(4, body=await ledger.body(LARGE)))
    return tmp_path


def _body(data: Path, digest: Digest) -> Path:
    return Shards(data).path(digest)


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


async def test_a_whole_folder_is_clean(data: Path) -> None:
    steps: list[Progress] = []
    report = await audit(data, progress=steps.append)
    assert report.is_clean, report.faults
    assert report.first is None
    assert (report.blocks, report.bodies, report.body_bytes) == (5, 4, 18 + len(LARGE))
    assert report.head is not None
    assert report.head.size == 5
    await asyncio.sleep(0)
    assert steps[0].phase == "ledger"
    assert steps[-1] == Progress("bodies", 4, 4)


async def test_an_audit_changes_no_file(data: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in data.rglob("*")}
    await audit(data)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in data.rglob("*")} == before


@pytest.mark.parametrize("position", [0, 100_000, 299_999])
async def test_one_changed_byte_of_a_body_is_named(data: Path, position: int) -> None:
    digest = ref_of(LARGE).digest
    _flip(_body(data, digest), position)
    report = await audit(data)
    assert [(fault.kind, fault.digest) for fault in report.faults] == [(FaultKind.BODY_DAMAGED, digest)]


async def test_every_damaged_body_is_named(data: Path) -> None:
    digests = {ref_of(b"body %d" % number).digest for number in (1, 3)}
    for digest in digests:
        _flip(_body(data, digest), 2)
    report = await audit(data)
    assert {fault.digest for fault in report.faults} == digests
    assert report.first is not None
    assert (await audit(data, bodies=False)).is_clean


async def test_a_shortened_or_emptied_body_is_named(data: Path) -> None:
    path = _body(data, ref_of(b"body 2").digest)
    for content in (b"body", b""):
        path.write_bytes(content)
        assert [fault.kind for fault in (await audit(data)).faults] == [FaultKind.BODY_DAMAGED]


async def test_damaged_or_missing_hashes_of_chunks_are_named(data: Path) -> None:
    path = chunks_path(_body(data, ref_of(LARGE).digest))
    _flip(path, 5)
    assert [fault.text for fault in (await audit(data)).faults] == ["hashes of the chunks are damaged"]
    path.write_bytes(b"")
    assert [fault.text for fault in (await audit(data)).faults] == ["hashes of the chunks are damaged"]
    path.unlink()
    assert [fault.text for fault in (await audit(data)).faults] == ["hashes of the chunks are missing"]


async def test_a_missing_body_is_named(data: Path) -> None:
    digest = ref_of(b"body 2").digest
    _body(data, digest).unlink()
    report = await audit(data)
    assert [(fault.kind, fault.digest, fault.text) for fault in report.faults] == [
        (FaultKind.BODY_MISSING, digest, "body is missing")
    ]


async def test_a_quarantined_body_is_named(data: Path) -> None:
    digest = ref_of(b"body 2").digest
    bodies = BodyStore(data)
    await bodies.open()
    assert await bodies.quarantine(digest)
    await bodies.close()
    report = await audit(data)
    assert [(fault.digest, fault.text) for fault in report.faults] == [(digest, "body is quarantined")]


async def test_an_evicted_body_is_not_missed(data: Path) -> None:
    ref = ref_of(b"body 2")
    async with Ledger(data, BodyStore(data)) as ledger:
        await ledger.sequencer.append(EvictDraft(ref.digest, ref.length, NOW))
        await ledger.sequencer.flush()
    assert not _body(data, ref.digest).exists()
    report = await audit(data)
    assert (report.is_clean, report.bodies) == (True, 3)


async def test_a_body_that_no_block_names_is_no_fault_unless_it_is_damaged(data: Path) -> None:
    digest = ref_of(b"orphan").digest
    path = _body(data, digest)
    path.write_bytes(b"orphan")
    assert (await audit(data)).is_clean
    path.write_bytes(b"orphaN")
    assert [fault.digest for fault in (await audit(data)).faults] == [digest]


@pytest.mark.parametrize(
    ("statement", "kind", "height"),
    [
        ("UPDATE blocks SET raw = replace(raw, '\"length\":6', '\"length\":7') WHERE height = 2", FaultKind.BLOCK, 2),
        ("UPDATE blocks SET leaf = zeroblob(32) WHERE height = 2", FaultKind.LEAF, 2),
        ("UPDATE heads SET bytes = x'00' WHERE height = 3", FaultKind.HEAD, 3),
        ("DELETE FROM heads WHERE height = 3", FaultKind.HEAD, 3),
        ("UPDATE private SET value = CAST('http://other/' AS BLOB) WHERE height = 1", FaultKind.NAMES, 1),
        ("DELETE FROM private WHERE height = 1", FaultKind.NAMES, 1),
        ("DELETE FROM blocks WHERE height = 2", FaultKind.MISSING, 2),
        ("UPDATE state SET data = x'00' WHERE id = 1", FaultKind.ROOT, None),
        ("DELETE FROM state WHERE id = 1", FaultKind.ROOT, None),
        ("UPDATE state SET data = x'00' WHERE id = 2", FaultKind.DATABASE, None),
        ("UPDATE state SET data = x'00' WHERE id = 3", FaultKind.DATABASE, None),
        ("UPDATE state SET data = x'00' WHERE id = 4", FaultKind.CHECKPOINT, None),
        ("DELETE FROM state WHERE id = 4", FaultKind.CHECKPOINT, None),
        ("PRAGMA user_version = 77", FaultKind.DATABASE, None),
        ("PRAGMA application_id = 77", FaultKind.DATABASE, None),
        ("INSERT INTO heads VALUES (99, x'00')", FaultKind.DATABASE, None),
        ("DROP TABLE heads", FaultKind.DATABASE, None),
    ],
)
async def test_what_was_changed_in_the_database_is_named(data: Path, statement: str, kind: FaultKind, height: int | None) -> None:
    connection = ledger_rows.connect(data / LEDGER_FILE)
    connection.execute(statement)
    connection.close()
    report = await audit(data)
    assert report.first is not None
    assert (report.first.kind, report.first.height) == (kind, height)


async def test_an_older_copy_of_the_database_is_named(data: Path) -> None:
    older = (data / LEDGER_FILE).read_bytes()
    async with Ledger(data, BodyStore(data)) as ledger:
        await ledger.fill(3, start=50)
    (data / LEDGER_FILE).write_bytes(older)
    assert "8 blocks were acknowledged, 5 are there" in [fault.text for fault in (await audit(data)).faults]
    async with Ledger(data, BodyStore(data)) as ledger:
        assert ledger.sequencer.recovered is not None
        assert [fault.kind for fault in ledger.sequencer.recovered.faults] == [FaultKind.ROOT]


async def test_a_file_that_is_no_database_is_named(data: Path) -> None:
    (data / LEDGER_FILE).write_bytes(b"nonsense" * 1000)
    report = await audit(data)
    assert report.first is not None
    assert report.first.kind is FaultKind.DATABASE


async def test_a_folder_without_a_ledger_is_named(tmp_path: Path) -> None:
    report = await audit(tmp_path)
    assert [fault.text for fault in report.faults] == [f"there is no ledger in this data folder: {tmp_path}"]
    assert report.head is None


async def test_a_running_edge_is_audited_while_it_writes(data: Path) -> None:
    async with Ledger(data, BodyStore(data)) as ledger:

        async def write() -> None:
            for start in range(100, 160, 5):
                await ledger.fill(5, start=start)
                ref = ref_of(b"body %d" % start)
                await ledger.sequencer.append(EvictDraft(ref.digest, ref.length, NOW))

        writing = asyncio.ensure_future(write())
        while not writing.done():
            report = await audit(data)
            assert report.is_clean, report.faults
        await writing
        assert (await audit(data)).blocks == ledger.sequencer.head().size


async def test_a_checkpoint_that_no_longer_holds_is_named(data: Path) -> None:
    async with Ledger(data, BodyStore(data)) as ledger:
        name, head = ledger.sequencer.log.name, ledger.sequencer.head()
        signer = read_key(data)
        assert signer is not None
        for checkpoint, by, text in (
            (Checkpoint(name, head.size, head.root), signer, None),
            (Checkpoint(name, head.size - 1, head.root), signer, "covers 4 blocks, the tree head 5"),
            (Checkpoint(name, head.size, Digest(bytes(32))), signer, "another root than the blocks have"),
            (Checkpoint("other", head.size, head.root), signer, "another log"),
            (Checkpoint(name, head.size, head.root), Signer(name, bytes(32)), "not one of the ledger's key"),
        ):
            await ledger.db.put_checkpoint(sign_checkpoint(checkpoint, by))
            faults = (await audit(data, bodies=False)).faults
            assert [fault.kind for fault in faults] == ([] if text is None else [FaultKind.CHECKPOINT])
            assert text is None or text in str(faults[0])
    (data / KEY_FILE).write_text("damaged")
    assert "key of the ledger is damaged" in str((await audit(data, bodies=False)).first)
    (data / KEY_FILE).unlink()
    assert (await audit(data, bodies=False)).is_clean
