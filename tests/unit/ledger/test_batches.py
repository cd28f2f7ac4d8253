"""Many blocks at once are what they are one by one, and nothing slips through that one by one would be refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.batches import decode_all, seal_all
from edgeproxy.ledger.block import Block, Place, decode, seal, seal_genesis
from edgeproxy.ledger.drafts import BodyRef, Draft, EvictDraft, PurgeDraft, ReceiptDraft, ReleaseDraft, RollbackDraft
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
GENESIS = seal_genesis(NOW, "n", SALT)
DRAFTS: list[Draft] = [
    store_draft(1, trace="0123456789abcdef" * 2),
    store_draft(2, op="refresh", time=Instant(NOW - 5)),
    PurgeDraft(SITE, "url", f"http://{SITE}/page/1", "hard", NOW),
    EvictDraft(store_draft(1).body.digest, 6, NOW),
    store_draft(3, selecting=(("accept", "text/html"), ("accept-language", None))),
    store_draft(4, url=f"http://{SITE}/ü\u2028\n", body=BodyRef(Digest(b"b" * 32), 300_000, Digest(b"c" * 32))),
    RollbackDraft(SITE, "prefix", "/a", Height(1), "fetch", NOW),
    ReleaseDraft(SITE, "prefix", "/a", NOW),
    ReceiptDraft(SITE, f"http://{SITE}/", "cache", "hang", Height(2), NOW, 3, NOW),
    store_draft(5),
]


def _one_by_one(drafts: list[Draft]) -> list[Block]:
    blocks = [GENESIS]
    for draft in drafts:
        last = blocks[-1]
        time = Instant(max(last.time, draft.time))
        blocks.append(seal(Place(Height(len(blocks)), last.leaf, time, "n"), draft, SALT))
    return blocks[1:]


BLOCKS = _one_by_one(DRAFTS)
RAWS = [GENESIS.raw, *(block.raw for block in BLOCKS)]
FIRST = Place(Height(1), GENESIS.leaf, GENESIS.time, "n")


def _each(raws: list[bytes]) -> list[Block] | None:
    try:
        return [decode(raw) for raw in raws]
    except Corrupt:
        return None


def test_a_batch_is_sealed_as_its_drafts_are_one_by_one() -> None:
    assert seal_all(DRAFTS, FIRST, SALT) == BLOCKS
    assert seal_all([], FIRST, SALT) == []


@pytest.mark.parametrize(
    "bad",
    [
        store_draft(1, trace="0123456789ABCDEF" * 2),
        store_draft(1, trace="0123"),
        store_draft(1, trace="0123456789abcdef\n" + "0" * 15),
        store_draft(1, status=199),
        store_draft(1, status=200.0),
        store_draft(1, status=True),
        store_draft(1, op="purge"),
        store_draft(1, url="http://x/\ud800"),
        store_draft(1, selecting=(("b", None), ("a", None))),
        store_draft(1, body=BodyRef(Digest(b"short"), 1, None)),
        store_draft(1, body=BodyRef(Digest(b"b" * 32), 300_000, None)),
        store_draft(1, body=BodyRef(Digest(b"b" * 32), 6, Digest(b"c" * 32))),
        store_draft(1, body=BodyRef(Digest(b"b" * 32), -1, None)),
        store_draft(1, body=BodyRef(Digest(b"b" * 32), 2**53, None)),
        RollbackDraft(SITE, "prefix", "/a", Height(99), "fetch", NOW),
        ReceiptDraft(SITE, "http://x/", "cache", "Not a cause", None, NOW, 1, NOW),
    ],
)
def test_a_draft_that_cannot_become_a_block_spoils_the_batch(bad: Draft) -> None:
    assert seal_all([DRAFTS[0], bad, DRAFTS[1]], FIRST, SALT) is None


def test_a_node_with_an_impossible_name_seals_nothing() -> None:
    assert seal_all(DRAFTS, Place(Height(1), GENESIS.leaf, NOW, ""), SALT) is None


def test_blocks_are_read_as_one_by_one() -> None:
    assert decode_all(RAWS) == _each(RAWS) == [GENESIS, *BLOCKS]
    assert decode_all([]) == []


@pytest.mark.parametrize(
    "raws",
    [
        # What two halves come to together does not make each of them a block.
        [RAWS[1] + b"\n" + RAWS[2][:40], RAWS[2][40:]],
        [RAWS[1] + b"\n" + RAWS[2], b""],
        [RAWS[1], b"", RAWS[2]],
        [RAWS[1] + b"\n", RAWS[2]],
        [RAWS[1].replace(b",", b", ", 1)],
        [RAWS[1].replace(b'{"v":1,', b'{"v":1,"v":1,')],
        [RAWS[1].replace(b'"height":1', b'"height":0')],
        [RAWS[1].replace(b'"node":"n"', b'"node":"' + b"n" * 70_000 + b'"')],
        [RAWS[1].replace(b'"node":"n"', b'"node":"\\u006e"')],
        [RAWS[3].replace(b'"op":"purge"', b'"op":"store","url":"')],
    ],
)
def test_bytes_that_no_block_has_are_refused_in_a_batch_too(raws: list[bytes]) -> None:
    assert _each(raws) is None
    assert decode_all(raws) is None


@given(data=st.data())
def test_a_batch_is_refused_exactly_when_one_of_its_blocks_is(data: st.DataObject) -> None:
    raws = data.draw(st.lists(st.sampled_from(RAWS), min_size=1, max_size=6))
    place = data.draw(st.integers(0, len(raws) - 1))
    raw = raws[place]
    at = data.draw(st.integers(0, len(raw)))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"\n", b" ", b'"', b"=", b"0", b"null", b"\\n", raw]))
    raws[place] = raw[:at] + piece + raw[at + data.draw(st.integers(0, 3)) :]
    assert decode_all(raws) == _each(raws)


def test_an_older_draft_is_as_old_as_the_block_before_it() -> None:
    late, early = store_draft(1, time=Instant(NOW + 50)), replace(store_draft(2), time=Instant(NOW + 1))
    blocks = seal_all([late, early], FIRST, SALT)
    assert blocks is not None
    assert [block.time for block in blocks] == [NOW + 50, NOW + 50]
