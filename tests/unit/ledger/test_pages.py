"""Pages of rows come to the same account as the rows one by one, however damaged they are."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.batches import seal_all
from edgeproxy.ledger.block import Place, seal_genesis
from edgeproxy.ledger.drafts import Draft, EvictDraft, PurgeDraft, StoreDraft, encode_names, names_of
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.pages import Columns, KeptPage, judge_page
from edgeproxy.ledger.replay import Account, Replay, TreeHead
from edgeproxy.storage.ledger_rows import row_of
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
COUNT = 700


def _draft(number: int) -> Draft:
    if number % 97 == 0:
        return PurgeDraft(SITE, "url", f"http://{SITE}/page/{number - 1}", "soft", Instant(NOW + number))
    if number % 89 == 0:
        return EvictDraft(store_draft(number - 1).body.digest, 8, Instant(NOW + number))
    return store_draft(number, url=f"http://{SITE}/page/{number % 50}", selecting=(("accept", "a"),) if number % 3 else ())


def _ledger() -> tuple[list[Columns], TreeHead]:
    genesis = seal_genesis(NOW, "n", SALT)
    drafts = [_draft(number) for number in range(1, COUNT)]
    blocks = seal_all(drafts, Place(Height(1), genesis.leaf, NOW, "n"), SALT)
    assert blocks is not None
    rows: list[Columns] = [(0, genesis.raw, genesis.leaf, None, None, None, None)]
    for draft, block in zip(drafts, blocks, strict=True):
        names = names_of(draft)
        columns: tuple[Any, ...] = encode_names(names) if names else (None, None, None)
        rows.append((block.height, block.raw, block.leaf, draft.head if isinstance(draft, StoreDraft) else None, *columns))
    frontier = MerkleFrontier()
    frontier.extend([genesis.leaf, *(block.leaf for block in blocks)])
    return rows, TreeHead(COUNT, frontier.root(), blocks[-1].time, blocks[-1].leaf, frontier.peaks)


ROWS, HEAD = _ledger()


def _plain(judge: Replay, rows: list[Columns]) -> None:
    judge.feed(map(row_of, rows))


def _paged(sizes: list[int]) -> Callable[[Replay, list[Columns]], None]:
    def feed(judge: Replay, rows: list[Columns]) -> None:
        start = 0
        for size in [*sizes, len(rows)]:
            judge.feed_page(rows[start : start + size], row_of)
            start += size

    return feed


def _said(account: Account) -> object:
    """All of an account that can be compared."""
    fold, tiles = account.fold, account.tiles
    upper = None
    if tiles is not None:
        upper = [_or_lost(lambda tile=tile: tiles.items(1, 0, tile)) for tile in range(1, tiles.width(1, 0) + 1)]  # type: ignore[misc]
    return (
        account.head, account.faults, account.fault_count, account.good, account.missing, account.watched,
        fold.height, fold.by_url, fold.gone, fold.bodies(), fold.genesis_salt, _inside(fold.rules),
        tiles and (tiles.size, upper, _or_lost(tiles.last_leaves)),
    )  # fmt: skip


def _inside(value: object) -> object:
    """What an object is made of, when it cannot be compared itself."""
    if not type(value).__module__.startswith("edgeproxy."):
        return value
    return {name: _inside(getattr(value, name)) for name in vars(value)} if hasattr(value, "__dict__") else value


def _or_lost(work: Callable[[], object]) -> object:
    try:
        return work()
    except Corrupt:
        return "lost"


def _account(feed: Callable[[Replay, list[Columns]], None], rows: list[Columns], **options: Any) -> object:
    values: dict[str, Any] = {"stored_head": HEAD, "genesis": ROWS[0][1], "watch": None, **options}
    judge = Replay(**values)
    try:
        feed(judge, rows)
        return _said(judge.finish())
    except Corrupt as error:
        return str(error)


def test_a_whole_ledger_is_taken_page_by_page() -> None:
    judge = Replay(HEAD, ROWS[0][1])
    judge.feed_page(ROWS[:256], row_of)
    page = judge_page(ROWS[256:], 256, SALT, keep=True)
    assert isinstance(page, KeptPage)
    assert (page.count, len(page.tiles), len(page.leaves), page.end) == (COUNT - 256, 1, COUNT - 512, COUNT)
    assert judge.take(page)
    account = judge.finish()
    assert account.faults == ()
    assert account.head == HEAD
    assert account.good == COUNT


@pytest.mark.parametrize("watch", [0, 1, 2, 255, 256, 257, 300, 512, COUNT - 1, COUNT, COUNT + 1])
def test_the_root_that_is_watched_is_found_within_a_page_and_at_its_ends(watch: int) -> None:
    assert _account(_paged([256, 256]), ROWS, watch=watch) == _account(_plain, ROWS, watch=watch)


def test_without_a_fold_the_rest_of_the_account_is_the_same() -> None:
    judge = Replay(HEAD, ROWS[0][1], folds=False)
    judge.feed_page(ROWS[:256], row_of)
    judge.feed_page(ROWS[256:], row_of)
    account = judge.finish()
    assert (account.faults, account.head, account.good) == ((), HEAD, COUNT)
    assert account.tiles is not None


def test_no_page_begins_with_block_0_or_is_empty() -> None:
    assert judge_page(ROWS, 0, SALT, keep=False) is None
    assert judge_page([], 1, SALT, keep=False) is None


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("value", [None, 7, 7.5, b"", b"x", b"\xff" * 32])
@pytest.mark.parametrize("height", [0, 1, 300, 582, COUNT - 1])
def test_a_value_of_any_type_in_any_column_is_judged_as_row_by_row(column: int, value: object, height: int) -> None:
    if column == 0:
        value = height + 1
    rows = list(ROWS)
    rows[height] = (*rows[height][:column], value, *rows[height][column + 1 :])
    assert _account(_paged([256, 200]), rows) == _account(_plain, rows)


def _flipped(value: object, at: int, bit: int) -> object:
    if not isinstance(value, bytes) or not value:
        return value
    data = bytearray(value)
    data[at % len(data)] ^= 1 << bit
    return bytes(data)


@given(data=st.data())
def test_damaged_ledgers_come_to_the_same_account(data: st.DataObject) -> None:
    rows = ROWS[: data.draw(st.integers(1, COUNT))]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(rows) - 1))
        row = list(rows[place])
        what = data.draw(st.sampled_from(["flip", "drop", "swap", "repeat", "other"]))
        if what == "flip":
            column = data.draw(st.integers(1, 6))
            row[column] = _flipped(row[column], data.draw(st.integers(0, 500)), data.draw(st.integers(0, 7)))
            rows = [*rows[:place], tuple(row), *rows[place + 1 :]]
        elif what == "drop" and len(rows) > 1:
            rows = rows[:place] + rows[place + 1 :]
        elif what == "repeat":
            rows = [*rows[:place], rows[place], *rows[place:]]
        else:
            other = rows[data.draw(st.integers(0, len(rows) - 1))]
            first = 1 if what == "swap" else data.draw(st.integers(1, 4))
            rows = [*rows[:place], (*row[:first], *other[first:]), *rows[place + 1 :]]
    options = {
        "stored_head": data.draw(st.sampled_from([HEAD, None])),
        "genesis": data.draw(st.sampled_from([ROWS[0][1], None, ROWS[1][1]])),
        "watch": data.draw(st.none() | st.integers(0, COUNT)),
    }
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 100, 255, 256, 257]), max_size=6))
    assert _account(_paged(sizes), rows, **options) == _account(_plain, rows, **options)
