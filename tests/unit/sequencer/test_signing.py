"""The log's key and its checkpoints: what is signed when, what a start finds, and that no key ever contradicts itself."""

import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, StartError, StoreError, StoreFull
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.merkle import leaf_hash, root_of
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.ledger.proofs import consistency_proof, verify_consistency, verify_inclusion
from edgeproxy.ledger.replay import TreeHead
from edgeproxy.ledger.tiles import Tile, decode_bundle, decode_hash_tile, tiles_of, verify_bundle
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import KEY_FILE, ensure_key, read_key
from edgeproxy.storage.ledger_rows import CHECKPOINT
from tests.support.ledgers import Ledger, stated_by, store_draft, uncertain_commits
from tests.support.trees import nodes_of


def _change(data: Path, *statements: str) -> None:
    with sqlite3.connect(data / LEDGER_FILE) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def _leaves(ledger: Ledger) -> list[Digest]:
    return [leaf_hash((await ledger.db.load(height)).raw) for height in range(ledger.sequencer.head().size)]


async def test_the_first_run_makes_a_key_that_nobody_else_may_read(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        log = ledger.sequencer.log
        assert log.name == "edge-1/.edge/ledger"
        assert stated_by(ledger).size == 1
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(f"{KEY_FILE}.*"))
    path.chmod(0o644)
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == log
    assert path.stat().st_mode & 0o777 == 0o600


async def test_every_batch_brings_its_checkpoint_in_the_same_transaction(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        seen: list[Checkpoint] = []
        for number in range(1, 6):
            await ledger.sequencer.append(store_draft(number))
            head, state = ledger.sequencer.head(), await ledger.db.read_state()
            assert stated_by(ledger) == Checkpoint("edge-1/.edge/ledger", head.size, head.root)
            assert state.checkpoint == ledger.sequencer.publication.checkpoint
            assert state.head is not None
            assert state.head.size == head.size
            seen.append(stated_by(ledger))
        leaves = await _leaves(ledger)
    assert [checkpoint.root for checkpoint in seen] == [root_of(leaves[: checkpoint.size]) for checkpoint in seen]
    for old, new in pairwise(seen):
        verify_consistency(old.size, new.size, old.root, new.root, consistency_proof(nodes_of(leaves), old.size, new.size))


async def test_waiters_are_told_after_their_blocks_are_published(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        published: list[int] = []
        future = ledger.sequencer.append(store_draft(1))
        future.add_done_callback(lambda _: published.append(stated_by(ledger).size))
        await future
        assert published == [2] or ledger.sequencer.head().size == stated_by(ledger).size == 2


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
async def test_what_is_published_is_the_ledger_whole_and_proved(tmp_path: Path, size: int) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(size - 1)
    for _ in range(2):  # as written, and as rebuilt by another start
        async with Ledger(tmp_path) as ledger:
            read, stated, leaves = ledger.sequencer.publication.read, stated_by(ledger), await _leaves(ledger)
            assert (stated.size, stated.root) == (size, root_of(leaves))
            for tile in tiles_of(size):
                data = await read(tile)
                assert data is not None
                part = leaves[tile.start : tile.start + tile.width]
                if tile.level is None:
                    verify_bundle(decode_bundle(data, tile.width), part)
                elif not tile.level:
                    assert decode_hash_tile(data, tile.width) == part
                else:
                    spans = [leaves[start : start + 256] for start in range(0, 256 * tile.width, 256)]
                    assert decode_hash_tile(data, tile.width) == [root_of(span) for span in spans]
            for beyond in (Tile(0, size // 256, size % 256 + 1), Tile(None, size // 256 + 1, 1), Tile(3, 0, 1), Tile(63, 9)):
                assert await read(beyond) is None
            assert await read(Tile(0, 0, 1)) == leaves[0]  # a partial of a tile that may be full by now


@pytest.mark.parametrize(
    ("place", "height", "tile"), [("raw", 5, Tile(None, 0)), ("leaf", 5, Tile(0, 0)), ("raw", 258, Tile(None, 1, 4))]
)
async def test_damage_is_never_published(tmp_path: Path, place: str, height: int, tile: Tile) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(259)
        _change(tmp_path, f"UPDATE blocks SET {place} = zeroblob(32) WHERE height = {height}")
        read = ledger.sequencer.publication.read
        with pytest.raises(Corrupt, match=r"damaged|not those of the tree"):
            await read(tile)
        assert await read(Tile(None, 1 - tile.index, 4))


async def test_a_ledger_without_checkpoint_gets_one_at_the_next_start(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(3)
        before = stated_by(ledger)
    _change(tmp_path, f"DELETE FROM state WHERE id = {CHECKPOINT}")
    (tmp_path / KEY_FILE).unlink()  # as an older version left it
    async with Ledger(tmp_path) as ledger:
        assert stated_by(ledger) == before
        assert (await ledger.db.read_state()).checkpoint == ledger.sequencer.publication.checkpoint


async def test_a_head_that_an_older_version_moved_on_is_signed_again(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        early = ledger.sequencer.publication.checkpoint
        await ledger.fill(2, start=10)
        assert early is not None
        await ledger.db.put_checkpoint(early)
    async with Ledger(tmp_path) as ledger:
        assert stated_by(ledger).size == 5


def _rewrite(data: Path, height: int) -> None:
    """Another block with its own, right, leaf hash."""
    connection = sqlite3.connect(data / LEDGER_FILE)
    (raw,) = connection.execute("SELECT raw FROM blocks WHERE height = ?", (height,)).fetchone()
    raw = raw.replace(b'"status":200', b'"status":201')
    connection.execute("UPDATE blocks SET raw = ?, leaf = ? WHERE height = ?", (raw, leaf_hash(raw), height))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("height", [2, 4])
async def test_a_rewritten_block_is_a_fork_and_the_edge_does_not_start(tmp_path: Path, height: int) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(4)
    _rewrite(tmp_path, height)
    with pytest.raises(StartError, match="ledger is a fork of what was signed") as refused:
        async with Ledger(tmp_path):
            pass
    assert "backup" in str(refused.value)
    # The way out that the message names.
    (tmp_path / KEY_FILE).rename(tmp_path / "elsewhere")
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log != read_key(tmp_path / "nowhere")


async def test_a_tree_head_that_was_replaced_is_a_fork(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(4)
        await ledger.db.mend_head(TreeHead(5, root_of([Digest(bytes(32))]), ledger.clock.now(), Digest(bytes(32)), ()))
    _change(tmp_path, "DELETE FROM blocks WHERE height = 4", "DELETE FROM heads WHERE height = 4")
    _change(tmp_path, "DELETE FROM private WHERE height = 4", "DELETE FROM state WHERE id = 1")
    (tmp_path / f"{LEDGER_FILE}-size").unlink()
    with pytest.raises(StartError, match="fork"):
        async with Ledger(tmp_path):
            pass


async def test_after_blocks_were_lost_another_key_signs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
    older = (tmp_path / LEDGER_FILE).read_bytes()
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(3, start=10)
        first = ledger.sequencer.log
    (tmp_path / LEDGER_FILE).write_bytes(older)
    async with Ledger(tmp_path) as ledger:
        second = ledger.sequencer.log
        assert second != first
        assert stated_by(ledger).size == 3
        await ledger.fill(6, start=20)
    assert "signs no more" in caplog.text
    assert (tmp_path / f"{KEY_FILE}.retired-1").stat().st_mode & 0o777 == 0o600
    async with Ledger(tmp_path) as ledger:
        assert ledger.sequencer.log == second
        assert stated_by(ledger).size == 9


async def test_a_new_ledger_is_never_signed_with_an_old_key(tmp_path: Path) -> None:
    logs: list[Verifier] = []
    for content in (b"", b"nonsense" * 4000, None):
        if content:
            (tmp_path / LEDGER_FILE).write_bytes(content)
        elif content is None:
            for path in tmp_path.glob(f"{LEDGER_FILE}*"):
                path.unlink()
        async with Ledger(tmp_path) as ledger:
            await ledger.fill(2)
            logs.append(ledger.sequencer.log)
    assert len(set(logs)) == 3
    assert len({log.name for log in logs}) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\n", b"PRIVATE+KEY+a+00000000+AQ==\n"])
async def test_a_damaged_key_stops_the_start_and_is_not_quoted(tmp_path: Path, content: bytes) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(1)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(StartError, match="key of the ledger is damaged"):
        async with Ledger(tmp_path):
            pass
    secret = Signer("a", bytes(range(32))).private()
    (tmp_path / KEY_FILE).write_text(secret[:-3])
    with pytest.raises(StartError) as refused:
        read_key(tmp_path)
    assert secret[-20:-4] not in str(refused.value)


async def test_the_log_keeps_the_name_it_began_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ensure_key(tmp_path, "www.example.org/.edge/ledger", lambda count: bytes(range(count)))
    (tmp_path / f"{KEY_FILE}.new").write_text("left by a crash")
    ledger = Ledger(tmp_path)
    ledger.sequencer.origin = "www.example.org/.edge/ledger"
    async with ledger:
        await ledger.fill(1)
    async with Ledger(tmp_path) as ledger:
        assert stated_by(ledger).origin == "www.example.org/.edge/ledger"
    assert "keeps the name it began with" in caplog.text


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
async def test_a_commit_of_uncertain_outcome_is_published_as_it_turned_out(tmp_path: Path, *, persisted: bool) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        with uncertain_commits(ledger.db, persisted=persisted, readable=False):
            with pytest.raises(StoreError):
                await ledger.sequencer.append(store_draft(3))
            assert stated_by(ledger).size == 3  # nobody is shown what may not be there
        await ledger.sequencer.append(store_draft(4))
        leaves, stated = await _leaves(ledger), stated_by(ledger)
        assert (stated.size, stated.root) == (5 if persisted else 4, root_of(leaves))
        assert await ledger.sequencer.publication.read(Tile(0, 0, stated.size)) == b"".join(leaves)


async def test_a_full_disk_publishes_nothing_new(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_bytes=40 * 4096, max_batch=300) as ledger:
        await ledger.fill(3)
        before = ledger.sequencer.publication.checkpoint
        futures = [ledger.sequencer.append(store_draft(number)) for number in range(10, 300)]
        await ledger.sequencer.flush()
        assert isinstance(futures[0].exception(), StoreFull)
        assert ledger.sequencer.publication.checkpoint == before
        assert (await ledger.db.read_state()).checkpoint == before


async def test_proofs_are_made_of_what_is_published(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(599)
        publication, leaves = ledger.sequencer.publication, await _leaves(ledger)
        root = root_of(leaves)
        for index in (0, 255, 256, 511, 512, 599):
            verify_inclusion(index, 600, leaves[index], await publication.inclusion(index, 600), root)
            verify_inclusion(
                index, index + 1, leaves[index], await publication.inclusion(index, index + 1), root_of(leaves[: index + 1])
            )
        for old in (0, 1, 255, 256, 300, 512, 599, 600):
            verify_consistency(old, 600, root_of(leaves[:old]), root, await publication.consistency(old, 600))
        for wrong in (publication.inclusion(600, 600), publication.inclusion(0, 601), publication.consistency(2, 1)):
            with pytest.raises(ValueError):
                await wrong
        _change(tmp_path, "UPDATE blocks SET leaf = zeroblob(32) WHERE height = 3")
        with pytest.raises(Corrupt):
            await publication.inclusion(5, 600)
        assert await publication.inclusion(300, 600)
