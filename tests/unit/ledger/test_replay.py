"""Judging stored rows: what is damaged is outvoted and named, the rest is used, and the chain goes on."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edgeproxy.caching.model import Digest, Height, Mark
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Place, seal, seal_genesis
from edgeproxy.ledger.digests import ZERO, site_salt, url_digest
from edgeproxy.ledger.drafts import (
    Draft,
    ErasedNames,
    EraseDraft,
    PurgeDraft,
    ReceiptDraft,
    RollbackDraft,
    ScopeNames,
    StoreDraft,
    encode_names,
    names_of,
)
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.replay import (
    Account,
    FaultKind,
    RawRow,
    Replay,
    Restored,
    TreeHead,
    decode_restored,
    decode_tree_head,
    encode_restored,
    encode_tree_head,
)
from edgeproxy.ledger.rollbacks import RolledBack
from edgeproxy.storage.ledger_rows import row_of
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
PURGED = f"http://{SITE}/page/1"
DRAFTS: list[Draft] = [
    store_draft(1),
    store_draft(2),
    PurgeDraft(SITE, "url", PURGED, "hard", NOW),
    store_draft(4),
    store_draft(5),
    store_draft(6),
]


def _ledger(drafts: list[Draft] = DRAFTS) -> tuple[list[RawRow], TreeHead]:
    block = seal_genesis(NOW, "n", SALT)
    frontier, rows, time = MerkleFrontier(), [RawRow(0, block.raw, block.leaf, None, None)], NOW
    frontier.append(block.leaf)
    for draft in drafts:
        time = Instant(max(time, draft.time))
        block = seal(Place(len(rows), block.leaf, time, "n"), draft, SALT)  # type: ignore[arg-type]
        frontier.append(block.leaf)
        names = names_of(draft)
        columns = encode_names(names) if names else None
        rows.append(RawRow(block.height, block.raw, block.leaf, draft.head if isinstance(draft, StoreDraft) else None, columns))
    return rows, TreeHead(frontier.size, frontier.root(), time, block.leaf, frontier.peaks)


ROWS, HEAD = _ledger()
LAST = len(ROWS) - 1


def _account(rows: list[RawRow], head: TreeHead | None = HEAD, genesis: bytes | None = ROWS[0].raw) -> Account:
    replay = Replay(head, genesis)
    replay.feed(rows)
    return replay.finish()


def _heights(account: Account) -> set[int]:
    return {version.height for url in account.fold.by_url for version in account.fold.history(url)}


def _kinds(account: Account) -> list[tuple[str, int | None]]:
    return [(fault.kind.value, fault.height) for fault in account.faults]


def _with(index: int, **changes: object) -> list[RawRow]:
    return [replace(row, **changes) if row.height == index else row for row in ROWS]  # type: ignore[arg-type]


def test_a_whole_ledger_has_no_faults() -> None:
    account = _account(ROWS)
    assert account.faults == ()
    assert account.head == HEAD
    assert account.good == len(ROWS)
    assert _heights(account) == {1, 2, 4, 5, 6}
    assert account.fold.genesis_salt == SALT
    assert account.fold.height == LAST


def test_an_empty_ledger_is_whole() -> None:
    account = _account([], None, None)
    assert (account.faults, account.head.size) == ((), 0)


def test_a_tree_head_comes_back_and_must_agree_with_itself() -> None:
    assert decode_tree_head(encode_tree_head(HEAD)) == HEAD
    for wrong in (replace_head(root=ZERO), replace_head(size=6), replace_head(peaks=HEAD.peaks[:-1])):
        with pytest.raises(Corrupt):
            decode_tree_head(encode_tree_head(wrong))
    with pytest.raises(Corrupt):
        decode_tree_head(b"{}")


def replace_head(**changes: object) -> TreeHead:
    values = {"size": HEAD.size, "root": HEAD.root, "time": HEAD.time, "last": HEAD.last, "peaks": HEAD.peaks}
    return TreeHead(**{**values, **changes})  # type: ignore[arg-type]


def _damaged(data: bytes) -> bytes:
    return data[:20] + bytes((data[20] ^ 1,)) + data[21:]


@pytest.mark.parametrize("index", [1, 4, 5, LAST])
def test_damaged_bytes_cost_that_block_and_nothing_else(index: int) -> None:
    for raw in (_damaged(ROWS[index].raw), ROWS[index].raw.replace(b'"status":200', b'"status":201'), b"", ROWS[index - 1].raw):
        account = _account(_with(index, raw=raw))
        assert _kinds(account) == [("block", index)]
        assert _heights(account) == {1, 2, 4, 5, 6} - {index}
        assert account.head == HEAD, "the chain goes on over the leaf hash"


@pytest.mark.parametrize("index", [0, 1, 4, LAST])
@pytest.mark.parametrize("leaf", [b"\1" * 32, b"", b"\1" * 31])
def test_a_damaged_leaf_hash_is_outvoted(index: int, leaf: bytes) -> None:
    account = _account(_with(index, leaf=leaf))
    assert _kinds(account) == [("leaf", index)]
    assert _heights(account) == {1, 2, 4, 5, 6}
    assert account.head == HEAD


@pytest.mark.parametrize("index", [1, LAST])
def test_a_damaged_head_or_name_costs_that_version(index: int) -> None:
    head, names = ROWS[index].head, ROWS[index].names
    assert head is not None
    assert names is not None
    for changes, kind in (
        ({"head": _damaged(head)}, "head"),
        ({"head": None}, "head"),
        ({"names": (b"x", *names[1:])}, "names"),
        ({"names": (names[0], b"http://other/", names[2])}, "names"),
        ({"names": (names[0], names[1], b'[["a","b"]]')}, "names"),
        ({"names": None}, "names"),
        ({"names": ROWS[3].names}, "names"),
    ):
        account = _account(_with(index, **changes))
        assert _kinds(account) == [(kind, index)]
        assert _heights(account) == {1, 2, 4, 5, 6} - {index}


@pytest.mark.parametrize("changes", [{"raw": b""}, {"raw": _damaged(ROWS[3].raw)}, {"names": None}, {"leaf": b""}])
def test_a_damaged_purge_is_obeyed_all_the_same(changes: dict[str, object]) -> None:
    fold = _account(_with(3, **changes)).fold
    assert fold.rules.mark(fold.history(PURGED)[0].height, site=SITE, url=PURGED) is Mark.GONE
    assert fold.rules.mark(fold.history(PURGED)[0].height, site=SITE, url=f"http://{SITE}/page/2") is Mark.NONE


def test_the_salt_survives_damage_to_block_0() -> None:
    account = _account(_with(0, raw=b""))
    assert _kinds(account) == [("block", 0)]
    assert account.fold.genesis_salt == SALT
    assert _heights(account) == {1, 2, 4, 5, 6}


def test_without_any_copy_of_the_salt_no_name_is_believed() -> None:
    account = _account(_with(0, raw=b""), genesis=None)
    assert _heights(account) == set()
    assert not any(account.fold.genesis_salt)


def test_another_genesis_block_is_not_believed() -> None:
    other = seal_genesis(NOW, "other", bytes(31) + b"\1").raw
    assert not _heights(_account(_with(0, raw=b""), genesis=other))


@pytest.mark.parametrize("gone", [{2}, {2, 3}, {5, 6}, {0}, {1, 2, 3, 4, 5, 6}])
def test_missing_rows_are_named_and_the_head_says_how_to_go_on(gone: set[int]) -> None:
    account = _account([row for row in ROWS if row.height not in gone])
    assert {height for kind, height in _kinds(account) if kind == "missing"} == gone == set(account.missing)
    assert _heights(account) == {1, 2, 4, 5, 6} - gone
    assert account.head == HEAD


@pytest.mark.parametrize("gone", [{2}, set()])
def test_without_a_tree_head_the_blocks_say_how_to_go_on(gone: set[int]) -> None:
    account = _account([row for row in ROWS if row.height not in gone], head=None)
    assert ("root", None) in _kinds(account)
    assert account.head == HEAD


def test_when_nothing_says_how_to_go_on_that_is_said() -> None:
    with pytest.raises(Corrupt, match="how the chain goes on"):
        _account([row for row in ROWS if row.height not in {2, 3}], head=None)


def test_a_block_that_does_not_follow_is_not_used() -> None:
    place = Place(4, Digest(b"\7" * 32), NOW, "n")  # type: ignore[arg-type]
    block = seal(place, store_draft(4), SALT)
    account = _account(_with(4, raw=block.raw, leaf=block.leaf))
    assert ("chain", 4) in _kinds(account)
    assert 4 not in _heights(account)


def test_a_changed_end_of_the_chain_is_a_fault_and_not_built_upon() -> None:
    place = Place(LAST, Digest(ROWS[LAST - 1].leaf), NOW, "n")  # type: ignore[arg-type]
    block = seal(place, store_draft(77), SALT)
    names = names_of(store_draft(77))
    assert names is not None
    account = _account(_with(LAST, raw=block.raw, leaf=block.leaf, head=store_draft(77).head, names=encode_names(names)))
    assert ("root", None) in _kinds(account)
    assert account.head == HEAD, "a new block goes on from what was committed, so that the change stays visible"


def test_rows_out_of_order_or_twice_are_faults() -> None:
    account = _account([*ROWS[:3], ROWS[1], *ROWS[3:]])
    assert ("database", 1) in _kinds(account)
    assert _heights(account) == {1, 2, 4, 5, 6}


def test_a_height_that_the_block_does_not_say_is_a_fault() -> None:
    account = _account([row if row.height != 5 else replace(ROWS[4], height=5) for row in ROWS])
    assert ("block", 5) in _kinds(account)


def test_a_block_older_than_the_one_before_is_a_fault() -> None:
    first = seal_genesis(NOW, "n", SALT)
    older = seal(Place(1, first.leaf, Instant(NOW - 1), "n"), store_draft(1), SALT)  # type: ignore[arg-type]
    row = replace(ROWS[1], raw=older.raw, leaf=older.leaf)
    assert ("time", 1) in _kinds(_account([ROWS[0], row], None))


def _every_single_damage() -> list[Callable[[RawRow], RawRow]]:
    return [
        lambda row: replace(row, raw=_damaged(row.raw)),
        lambda row: replace(row, leaf=_damaged(row.leaf)),
        lambda row: replace(row, head=None),
        lambda row: replace(row, names=None),
    ]


@pytest.mark.parametrize("index", range(len(ROWS)))
def test_one_damaged_place_never_costs_more_than_one_version(index: int) -> None:
    for damage in _every_single_damage():
        account = _account([damage(row) if row.height == index else row for row in ROWS])
        assert len(_heights(account)) >= 4
        assert account.head == HEAD
        assert {kind for kind, _ in _kinds(account)} <= {FaultKind.BLOCK, FaultKind.LEAF, FaultKind.HEAD, FaultKind.NAMES}


# -- erased rows, and rows that a restore had not ------------------------------------------------------------------------------


ERASED = f"http://{SITE}/page/2"
WITH_ERASE = [*DRAFTS, EraseDraft(SITE, ERASED, (), NOW), store_draft(8, url=ERASED)]


def _erased(*bare: int, after: bool = True) -> tuple[list[RawRow], TreeHead]:
    rows, head = _ledger(WITH_ERASE if after else DRAFTS)
    return [replace(row, head=None, names=None) if row.height in bare else row for row in rows], head


def test_what_a_later_block_says_was_erased_may_be_missing() -> None:
    account = _account(*_erased(2))
    assert account.faults == ()
    assert account.unerased == ()
    assert [version.height for version in account.fold.history(ERASED)] == [8]
    assert account.fold.erased_at([ERASED], [SITE]) == 7


def test_what_nobody_erased_may_not() -> None:
    for bare, after in ((2, False), (8, True), (1, True)):
        assert _kinds(_account(*_erased(bare, after=after))) == [("names", bare), ("head", bare)]
    rows, head = _erased(5, after=False)
    faulty = [replace(row, raw=row.raw[:-1]) if row.height == 6 else row for row in rows]
    assert [height for _, height in _kinds(_account(faulty, head))] == [5, 5, 6], "in order of height, though found at the end"


NAMING = [
    store_draft(1, url=ERASED),
    PurgeDraft(SITE, "url", ERASED, "hard", NOW),
    PurgeDraft(SITE, "prefix", ERASED, "soft", NOW),
    ReceiptDraft(SITE, ERASED, "cache", "network", Height(1), NOW, 1, NOW),
]
TAKEN_OUT = encode_names(ErasedNames(url_digest(site_salt(SALT, SITE), ERASED)))


def test_rows_that_only_named_what_was_erased_may_be_without_it_too() -> None:
    rows, head = _ledger([*NAMING, EraseDraft(SITE, ERASED, (), NOW)])
    assert _account(rows, head).unerased == (1, 2, 4)
    left = {1: {"head": None, "names": None}, 2: {"names": TAKEN_OUT}, 4: {"names": None}}
    for page in (False, True):
        replay = Replay(head, rows[0].raw)
        done = [replace(row, **left.get(row.height, {})) for row in rows]
        if page:
            replay.feed_page([_columns_of(row) for row in done], row_of)
        else:
            replay.feed(done)
        account = replay.finish()
        assert (account.faults, account.unerased) == ((), ())
        assert account.fold.rules.mark(Height(1), site=SITE, url=ERASED) is Mark.GONE, "what it named is known by its digest"


def test_a_purge_is_without_names_only_where_an_erasure_says_so() -> None:
    other = encode_names(ErasedNames(url_digest(site_salt(SALT, SITE), PURGED)))
    erased = [*NAMING, EraseDraft(SITE, ERASED, (), NOW)]
    for drafts, names, height in ((NAMING, TAKEN_OUT, 2), (erased, other, 2), (erased, TAKEN_OUT, 3)):
        rows, head = _ledger(drafts)
        without = [replace(row, names=names) if row.height == height else row for row in rows]
        assert ("names", height) in _kinds(_account(without, head))
        paged = Replay(head, rows[0].raw)
        paged.feed_page([_columns_of(row) for row in without], row_of)
        assert ("names", height) in _kinds(paged.finish())


def _columns_of(row: RawRow) -> tuple[object, ...]:
    return row.height, row.raw, row.leaf, row.head, *(row.names or (None, None, None))


@pytest.mark.parametrize("to", [Height(2), None])
def test_a_rollback_whose_block_is_damaged_is_obeyed_from_its_names(to: Height | None) -> None:
    draft = RollbackDraft(SITE, "site", SITE, Height(2), "refuse", NOW)
    rows, head = _ledger([*DRAFTS, draft, store_draft(9)])
    names = ScopeNames("rollback", SITE, "site", SITE, to, "refuse")
    assert to is None or rows[7].names == encode_names(names)
    damaged = [replace(row, raw=row.raw[:-3], names=encode_names(names)) if row.height == 7 else row for row in rows]
    account = _account(damaged, head)
    assert _kinds(account) == [("block", 7)]
    found = account.fold.rules.rolled_back(SITE, PURGED)
    assert found == (RolledBack(Height(2), "refuse", Height(7)) if to is not None else None)


def test_names_of_a_rollback_to_another_height_are_a_fault() -> None:
    rows, head = _ledger([*DRAFTS, RollbackDraft(SITE, "site", SITE, Height(2), "fetch", NOW)])
    for to, absent in ((1, "fetch"), (2, "refuse")):
        lie = encode_names(ScopeNames("rollback", SITE, "site", SITE, Height(to), absent))  # type: ignore[arg-type]
        lying = [replace(row, names=lie) if row.height == 7 else row for row in rows]
        account = _account(lying, head)
        assert _kinds(account) == [("names", 7)]
        assert account.fold.rules.rolled_back(SITE, PURGED) == RolledBack(Height(2), "fetch", Height(7)), "the block counts"


@pytest.mark.parametrize("left", [{}, {"head": None}, {"names": None}])
def test_what_should_have_been_erased_is_named(left: dict[str, None]) -> None:
    rows, head = _ledger(WITH_ERASE)
    account = _account([replace(row, **left) if row.height == 2 else row for row in rows], head)  # type: ignore[arg-type]
    assert account.unerased == (2,)
    assert [version.height for version in account.fold.history(ERASED)] == [8]


def test_a_restored_ledger_may_lack_what_its_source_had_not() -> None:
    rows, head = _ledger()
    nameless = [replace(row, names=None) for row in rows]

    def account(rows: list[RawRow], restored: Restored | None) -> Account:
        replay = Replay(head, ROWS[0].raw, None, restored)
        replay.feed(rows)
        return replay.finish()

    blind = account(nameless, Restored(7, names=False, heads=True, bodies=True))
    assert blind.faults == ()
    assert [each.entry.height for versions in blind.fold.blind.values() for each in versions] == [1, 2, 4, 5, 6]
    assert len(blind.fold.bodies()) == 5
    assert blind.fold.rules.mark(Height(1), site=SITE, url=PURGED) is Mark.GONE, "a purge holds without its clear value"
    late = account(nameless, Restored(6, names=False, heads=True, bodies=True))
    assert _kinds(late) == [("names", 6)], "what came after the restore must be whole"
    assert _kinds(account(nameless, None))[0] == ("names", 1)
    headless = [replace(row, head=None) if row.height == 4 else row for row in nameless]
    assert _kinds(account(headless, Restored(7, names=False, heads=True, bodies=True))) == [("head", 4)]
    assert account(headless, Restored(7, names=False, heads=False, bodies=True)).faults == ()


def test_the_note_of_a_restore_survives_and_another_is_refused() -> None:
    restored = Restored(7, names=False, heads=True, bodies=False)
    assert decode_restored(encode_restored(restored)) == restored
    for data in (b"", b"{}", b'{"below":1,"names":true,"heads":true,"bodies":1}'):
        with pytest.raises(Corrupt):
            decode_restored(data)
