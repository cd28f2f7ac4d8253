"""The single writer: order, batches, what fails alone and what fails together, and how it stops."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.caching.model import Mark
from edgeproxy.clock import Instant
from edgeproxy.errors import StartError, StoreError, StoreFull
from edgeproxy.ledger.block import Block
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.digests import site_salt
from edgeproxy.ledger.drafts import Draft, EvictDraft, PurgeDraft
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.replay import RawRow, TreeHead
from edgeproxy.ledger.verify import verify_stored
from edgeproxy.sequencer import sequencer as module
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.sequencer.sealing import Ahead
from edgeproxy.sequencer.sequencer import Committed
from tests.support.ledgers import NOW, SITE, Ledger, MemoryBodies, store_draft, uncertain_commits


async def _settled(*futures: "asyncio.Future[Block]") -> list[Block | BaseException]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*futures, return_exceptions=True)


async def test_a_new_ledger_begins_with_a_genesis_block_of_random_salt(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "a") as first, Ledger(tmp_path / "b") as second:
        assert first.sequencer.head().size == 1
        assert first.fold.height == 0
        assert len(first.fold.genesis_salt) == 32
        assert first.fold.genesis_salt != second.fold.genesis_salt


async def test_drafts_become_blocks_in_the_order_of_arrival(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        blocks = await _settled(*(ledger.sequencer.append(store_draft(number)) for number in range(1, 50)))
        assert all(isinstance(block, Block) for block in blocks)
        chain = [block for block in blocks if isinstance(block, Block)]
        assert [block.height for block in chain] == list(range(1, 50))
        for before, block in pairwise(chain):
            assert block.prev == before.leaf
        genesis = await ledger.db.load(0)
        assert chain[0].prev == genesis.leaf
        assert ledger.sequencer.head().root == root_of([genesis.leaf, *(block.leaf for block in chain)])  # type: ignore[list-item]
        assert ledger.sequencer.head().size == 50


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(5)
        head, salt = ledger.sequencer.head(), ledger.fold.genesis_salt
    async with Ledger(tmp_path) as ledger:
        assert (ledger.sequencer.head(), ledger.fold.genesis_salt) == (head, salt)
        assert ledger.sequencer.recovered is not None
        assert ledger.sequencer.recovered.faults == ()
        assert (await ledger.sequencer.append(store_draft(6))).height == 6
    assert audit_now(tmp_path, bodies=False).is_clean


async def test_what_was_committed_can_be_proved_from_the_ledger_alone(tmp_path: Path) -> None:
    draft = store_draft(1, selecting=(("accept-language", "de"),))
    async with Ledger(tmp_path) as ledger:
        await ledger.sequencer.append(draft)
    async with Ledger(tmp_path) as ledger:
        (version,) = ledger.fold.history(draft.url)
        row = await ledger.db.load(version.height)
        salt = site_salt(ledger.fold.genesis_salt, version.site)
        stored = verify_stored(row.raw, version.leaf, row.head, version.url, version.selecting, salt).value
        assert (stored.url, stored.status, stored.body, stored.height) == (draft.url, 200, draft.body.digest, 1)


async def test_the_fold_follows_every_commit(tmp_path: Path) -> None:
    url = f"http://{SITE}/page/1"
    async with Ledger(tmp_path) as ledger:
        block = await ledger.sequencer.append(store_draft(1))
        assert [version.height for version in ledger.fold.newest(url)] == [1]
        await ledger.sequencer.append(PurgeDraft(SITE, "url", url, "hard", NOW))
        assert ledger.fold.rules.mark(block.height, site=SITE, url=url) is Mark.GONE


async def test_a_full_batch_does_not_wait_for_the_delay(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=3600.0, max_batch=10) as ledger:
        sizes: list[int] = []
        ledger.sequencer.on_commit = lambda committed: sizes.append(len(committed))
        await _settled(*(ledger.sequencer.append(store_draft(number)) for number in range(1, 31)))
        assert sizes == [10, 10, 10]


async def test_the_first_draft_waits_no_longer_than_the_delay(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=0.01) as ledger:
        assert len(await _settled(ledger.sequencer.append(store_draft(1)))) == 1


async def test_flush_waits_for_everything_appended_so_far(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=3600.0, max_batch=4) as ledger:
        futures = [ledger.sequencer.append(store_draft(number)) for number in range(1, 8)]
        async with asyncio.timeout(5):
            await ledger.sequencer.flush()
        assert all(future.done() for future in futures)
        await ledger.sequencer.flush()


async def test_stop_commits_what_is_waiting_and_takes_no_more(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=3600.0, max_batch=4) as ledger:
        futures = [ledger.sequencer.append(store_draft(number)) for number in range(1, 11)]
        async with asyncio.timeout(5):
            await ledger.sequencer.stop()
        assert [future.result().height for future in futures] == list(range(1, 11))
        with pytest.raises(StoreError, match="not running"):
            ledger.sequencer.append(store_draft(11))


async def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    async with Ledger(tmp_path, max_delay=3600.0) as ledger:
        for number in range(1, 6):
            ledger.sequencer.append(store_draft(number))
        assert ledger.sequencer.pending == 5
        assert ledger.sequencer.next_height == 6
        with pytest.raises(StoreFull, match="too many"):
            ledger.sequencer.append(store_draft(6))
        await ledger.sequencer.flush()
        assert ledger.sequencer.pending == 0
        ledger.sequencer.append(store_draft(7))
        await ledger.sequencer.flush()
        assert ledger.sequencer.head().size == 7


async def test_time_never_goes_back_along_the_chain(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        times = [NOW + 500, NOW + 100, NOW - 90_000, NOW + 501]
        blocks = await _settled(*(ledger.sequencer.append(store_draft(n, time=Instant(t))) for n, t in enumerate(times)))
        assert [block.time for block in blocks if isinstance(block, Block)] == [NOW + 500] * 3 + [NOW + 501]
        late = await ledger.sequencer.append(store_draft(9, time=Instant(NOW)))
        assert late.time == NOW + 501


async def test_a_draft_whose_body_cannot_be_made_durable_fails_alone(tmp_path: Path) -> None:
    bodies = MemoryBodies()
    drafts = [store_draft(number) for number in (1, 2, 3)]
    bodies.failing[drafts[1].body.digest] = StoreFull("no space left for a body")
    async with Ledger(tmp_path, bodies) as ledger:
        futures = [ledger.sequencer.append(draft) for draft in drafts]
        first, second, third = await _settled(*futures)
        assert isinstance(first, Block)
        assert isinstance(second, StoreFull)
        assert isinstance(third, Block)
        assert (first.height, third.height) == (1, 2)
        bodies.failing.clear()
        assert (await ledger.sequencer.append(drafts[1])).height == 3


async def test_a_body_is_durable_before_its_block_is_committed(tmp_path: Path) -> None:
    bodies = MemoryBodies()
    async with Ledger(tmp_path, bodies) as ledger:
        draft = store_draft(1)
        write, durable_at_commit = ledger.db.append, []

        async def watched(rows: Sequence[RawRow], head: TreeHead, checkpoint: bytes | None = None) -> None:
            durable_at_commit.append(bodies.exists(draft.body.digest))
            await write(rows, head, checkpoint)

        ledger.db.append = watched  # type: ignore[method-assign]
        await ledger.sequencer.append(draft)
        assert durable_at_commit == [True]


async def test_a_draft_that_no_block_can_carry_fails_alone(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        good, bad, better = await _settled(
            *(ledger.sequencer.append(draft) for draft in (store_draft(1), store_draft(2, status=99), store_draft(3)))
        )
        assert isinstance(good, Block)
        assert isinstance(bad, StoreError)
        assert isinstance(better, Block)
        assert better.height == good.height + 1


async def test_a_full_disk_fails_the_batch_and_uses_up_no_height(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_bytes=40 * 4096, max_batch=300) as ledger:
        await ledger.fill(3)
        failed = await _settled(*(ledger.sequencer.append(store_draft(number)) for number in range(10, 300)))
        assert all(isinstance(outcome, StoreFull) for outcome in failed)
        assert isinstance(ledger.sequencer.fault, StoreFull)
        assert ledger.sequencer.head().size == 4
        block = await ledger.sequencer.append(store_draft(4))
        assert block.height == 4
        assert ledger.sequencer.fault is None
    assert audit_now(tmp_path, bodies=False).is_clean


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
@pytest.mark.parametrize("readable", [False, True], ids=["disk unreadable then", "disk readable then"])
async def test_a_commit_of_uncertain_outcome_never_makes_a_fork(tmp_path: Path, *, persisted: bool, readable: bool) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        with uncertain_commits(ledger.db, persisted=persisted, readable=readable):
            (outcome,) = await _settled(ledger.sequencer.append(store_draft(3)))
        assert isinstance(outcome, Block) == (persisted and readable)
        block = await ledger.sequencer.append(store_draft(4))
        assert block.height == (4 if persisted else 3)
        # What the chain has, the fold has, whoever was told what.
        assert bool(ledger.fold.history(f"http://{SITE}/page/3")) == persisted
    report = audit_now(tmp_path, bodies=False)
    assert report.is_clean, report.faults
    assert report.blocks == (5 if persisted else 4)


@pytest.mark.parametrize("outcome", ["committed", "failed", "failed but persisted"])
async def test_a_batch_sealed_ahead_counts_only_behind_the_one_that_was_committed(tmp_path: Path, outcome: str) -> None:
    async with Ledger(tmp_path, max_batch=4) as ledger:
        sequencer, taken = ledger.sequencer, []
        commit, take = ledger.db._append, Ahead.take

        def watched(self: Ahead, *behind: Any) -> Any:
            taken.append(take(self, *behind))
            return taken[-1]

        def failing_once(*batch: Any) -> None:
            ledger.db._append = commit  # type: ignore[method-assign]
            if outcome != "failed":
                commit(*batch)
            else:
                ledger.db.before_commit()
            if outcome != "committed":
                raise StoreError("ledger database failed")

        ledger.db._append = failing_once  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ahead, "take", watched)
            drafts = [store_draft(number, **({"status": 99} if number == 6 else {})) for number in range(1, 16)]
            results = await _settled(*map(sequencer.append, drafts))
        lost = 4 if outcome == "failed" else 0
        assert [isinstance(result, StoreError) for result in results] == [n < lost or n == 5 for n in range(15)]
        assert [result.height for result in results if isinstance(result, Block)] == list(range(1, 15 - lost))
        # The first has none before it, the last is not full; the second was sealed behind the first one's head.
        assert [sealed is not None for sealed in taken] == [False, outcome != "failed", True, False]
    report = audit_now(tmp_path, bodies=False)
    assert report.is_clean, report.faults
    assert report.blocks == 15 - lost


async def test_waiters_may_give_up_without_harm(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=3600.0) as ledger:
        given_up, kept = ledger.sequencer.append(store_draft(1)), ledger.sequencer.append(store_draft(2))
        given_up.cancel()
        await ledger.sequencer.flush()
        assert kept.result().height == 2
        assert ledger.fold.history(f"http://{SITE}/page/1"), "it is committed all the same"


async def test_a_cancelled_writer_finishes_its_batch_and_fails_the_rest(tmp_path: Path) -> None:
    async with Ledger(tmp_path, max_delay=0.0, max_batch=2) as ledger:
        write, entered, go = ledger.db.append, asyncio.Event(), asyncio.Event()

        async def slow(rows: Sequence[RawRow], head: TreeHead, checkpoint: bytes | None = None) -> None:
            entered.set()
            await go.wait()
            await write(rows, head, checkpoint)

        ledger.db.append = slow  # type: ignore[method-assign]
        futures = [ledger.sequencer.append(store_draft(number)) for number in range(1, 6)]
        await entered.wait()
        task = ledger.sequencer._task
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        outcomes = await _settled(*futures)
        assert [isinstance(outcome, Block) for outcome in outcomes] == [True, True, False, False, False]
        assert ledger.sequencer.head().size == 3
    assert audit_now(tmp_path, bodies=False).blocks == 3


async def test_on_commit_gets_each_batch_with_its_drafts_before_the_waiters(tmp_path: Path) -> None:
    seen: list[Committed] = []
    async with Ledger(tmp_path) as ledger:
        future = None

        def on_commit(committed: Sequence[Committed]) -> None:
            assert future is not None
            assert not future.done()
            seen.extend(committed)

        ledger.sequencer.on_commit = on_commit
        draft = store_draft(1)
        future = ledger.sequencer.append(draft)
        block = await future
        assert seen == [Committed(block, draft)]


async def test_an_on_commit_that_fails_does_not_undo_the_commit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Ledger(tmp_path) as ledger:

        def on_commit(committed: Sequence[Committed]) -> None:
            raise ZeroDivisionError

        ledger.sequencer.on_commit = on_commit
        assert (await ledger.sequencer.append(store_draft(1))).height == 1
        assert (await ledger.sequencer.append(store_draft(2))).height == 2
        assert "on_commit failed" in caplog.text


async def test_each_batch_runs_in_its_span(tmp_path: Path) -> None:
    spans: list[tuple[str, int]] = []

    @contextmanager
    def span(drafts: Sequence[Draft]) -> Iterator[None]:
        spans.append(("begin", len(drafts)))
        yield
        spans.append(("end", len(drafts)))

    async with Ledger(tmp_path, max_batch=2) as ledger:
        ledger.sequencer.batch_span = span
        await _settled(*(ledger.sequencer.append(store_draft(number)) for number in range(1, 4)))
        await ledger.sequencer.flush()
    assert spans == [("begin", 2), ("end", 2), ("begin", 1), ("end", 1)]


async def test_an_evicted_body_is_deleted_after_its_block_and_not_if_stored_again(tmp_path: Path) -> None:
    bodies = MemoryBodies()
    gone, again = ref_of(b"gone"), ref_of(b"again")
    async with Ledger(tmp_path, bodies, max_delay=3600.0) as ledger:
        for number, body in enumerate((gone, again)):
            ledger.sequencer.append(store_draft(number, body=body))
        await ledger.sequencer.flush()
        assert bodies.deleted == []
        for draft in (
            EvictDraft(gone.digest, gone.length, NOW),
            EvictDraft(again.digest, again.length, NOW),
            store_draft(9, body=again),
        ):
            ledger.sequencer.append(draft)
        await ledger.sequencer.flush()
        assert bodies.deleted == [gone.digest]
        assert set(ledger.fold.bodies()) == {again.digest}


async def test_two_sequencers_cannot_write_one_folder(tmp_path: Path) -> None:
    async with Ledger(tmp_path):
        with pytest.raises(StartError, match="in use"):
            async with Ledger(tmp_path):
                pass


async def test_nothing_works_before_the_start(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for use in (lambda: ledger.sequencer.append(store_draft(1)), ledger.sequencer.head, lambda: ledger.sequencer.fold):
        with pytest.raises(StoreError):
            use()
    await ledger.db.close()
