"""What audits remember: whole steps or nothing, one audit at a time, and nothing that is not read back as it was."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edgeproxy.auditing.memory import NOTHING, Memory, Progress, Seen, state_folder
from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import StoreError
from edgeproxy.ledger.block import decode
from edgeproxy.ledger.drafts import EraseDraft, EvictDraft
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.succession import Rotated
from edgeproxy.ledger.tiles import Tile
from tests.support.ledgers import SITE, store_draft
from tests.support.lying_edge import ORIGIN, Log

ROOT = Digest(b"r" * 32)
SEEN = Seen(5, ROOT, b"note", Instant(7))
PROGRESS = Progress(5, ROOT, Digest(b"l" * 32), Instant(3))
ROTATIONS = (Rotated(3, "a", "b"),)


def test_what_was_committed_is_there_again_and_the_rest_is_not(tmp_path: Path) -> None:
    blocks = [decode(raw) for raw in Log().grow(4).blocks]
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        assert (memory.seen, memory.progress, memory.rotations) == (None, NOTHING, ())
        memory.advance(PROGRESS, blocks, ROTATIONS, commit=False)
        assert memory.progress == PROGRESS
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        assert (memory.seen, memory.progress, memory.rotations, memory.unchecked_bodies()) == (None, NOTHING, (), [])
        memory.advance(PROGRESS, blocks, ROTATIONS, commit=False)
        memory.remember_seen(SEEN)  # commits both
        memory.keep_tiles([(Tile(1, 0), b"t" * 32)])
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        assert (memory.seen, memory.progress, memory.rotations) == (SEEN, PROGRESS, ROTATIONS)
        assert (memory.tile(Tile(1, 0)), memory.tile(Tile(1, 1))) == (b"t" * 32, None)
        assert len(memory.unchecked_bodies()) == 4
        memory.forget_progress()
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        assert (memory.seen, memory.progress, memory.rotations, memory.tile(Tile(1, 0))) == (SEEN, NOTHING, (), None)
        assert memory.unchecked_bodies() == []
    assert len(list(tmp_path.glob("*.sqlite"))) == 1


def test_only_the_newest_version_of_a_page_is_asked_for(tmp_path: Path) -> None:
    log = Log().grow(4)
    bodies = [bytes.fromhex(digest) for digest in log.bodies]
    with closing(Memory(tmp_path, ORIGIN)) as memory:

        def take(start: int) -> list[bytes]:
            blocks = [decode(raw) for raw in log.blocks[start:]]
            memory.advance(Progress(log.size, ROOT, log.leaves[-1], log.time), blocks, (), commit=True)
            return [digest for digest, _ in memory.unchecked_bodies()]

        assert take(0) == bodies
        memory.note_checked(bodies[:1])
        assert [digest for digest, _ in memory.unchecked_bodies()] == bodies[1:]
        # another version of the second page, the third evicted, the fourth erased with the body of another
        size = log.size
        log.append(store_draft(99, url=store_draft(2).url))
        log.append(EvictDraft(Digest(bodies[2]), 6, log.time))
        log.append(EraseDraft(SITE, store_draft(4).url, (Digest(bodies[0]),), log.time, ""))
        (left,) = take(size)
        assert left not in bodies


def test_each_log_has_a_file_of_its_own_that_only_one_audit_has(tmp_path: Path) -> None:
    with closing(Memory(tmp_path, ORIGIN)) as memory, closing(Memory(tmp_path, "../é/ledger")) as other:
        assert memory.path.name.startswith("edge.example_.edge_ledger-")
        assert other.path.parent == tmp_path
        with pytest.raises(StoreError, match="another audit of this log is running"):
            Memory(tmp_path, ORIGIN)
        assert "edge.example" in repr(memory)


def test_evidence_is_written_once_under_a_name_that_says_what_it_is(tmp_path: Path) -> None:
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        paths = memory.keep_evidence("fork", {"seen": b"one", "stated": b"two"})
        assert memory.keep_evidence("fork", {"seen": b"one", "stated": b"two"}) == paths
    assert [(path.name.split(".")[-4:-2], path.read_bytes()) for path in paths] == [
        (["fork", "seen"], b"one"),
        (["fork", "stated"], b"two"),
    ]


def test_what_cannot_be_used_is_said_with_its_file(tmp_path: Path) -> None:
    with closing(Memory(tmp_path, ORIGIN)) as memory:
        memory.remember_seen(SEEN)
        path = memory.path
    connection = sqlite3.connect(path)
    for statement, words in (
        ("UPDATE meta SET data = x'7b7d'", "cannot be read"),
        ("UPDATE meta SET data = 'text'", "cannot be read"),
        ("PRAGMA user_version = 2", "another version"),
    ):
        connection.execute(statement)
        connection.commit()
        with pytest.raises(Finding, match=words) as found:
            Memory(tmp_path, ORIGIN)
        assert (found.value.kind, str(path) in str(found.value)) == (FindingKind.MEMORY, True)
    connection.close()
    path.write_bytes(os.urandom(10_000))
    with pytest.raises(Finding, match="damaged"):
        Memory(tmp_path, ORIGIN)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/state"}, Path("/state/edgeproxy/audits")),
        ({"XDG_STATE_HOME": "state"}, Path.home() / ".local/state/edgeproxy/audits"),
        ({}, Path.home() / ".local/state/edgeproxy/audits"),
    ],
)
def test_where_audits_are_remembered(environ: dict[str, str], folder: Path) -> None:
    assert state_folder(environ) == folder
