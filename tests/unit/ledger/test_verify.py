"""Only a proof makes a `Verified`, and nothing that does not match is proved."""

import copy
import pickle

import pytest

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Block, Place, seal, seal_genesis
from edgeproxy.ledger.chunks import CHUNK, chunk_leaves, ref_of
from edgeproxy.ledger.digests import ZERO, site_salt
from edgeproxy.ledger.drafts import BodyRef, EvictDraft, Names, PurgeDraft, PurgeNames, StoredNames
from edgeproxy.ledger.verify import (
    Verified,
    check_names,
    measure_body,
    verify_body,
    verify_chunk,
    verify_draft,
    verify_leaves,
    verify_stored,
)
from tests.support.bodies import patterned
from tests.support.ledgers import NOW, SITE, head_for, store_draft

GENESIS = bytes(range(32))
SALT = site_salt(GENESIS, SITE)
SELECTING = (("accept-language", "de"),)
DRAFT = store_draft(1, selecting=SELECTING)
BLOCK = seal(Place(Height(4), ZERO, Instant(NOW + 500), "n"), DRAFT, GENESIS)


def test_nobody_else_can_make_or_change_or_copy_a_verified() -> None:
    with pytest.raises(TypeError):
        Verified(b"x", object())
    with pytest.raises(TypeError):
        Verified(b"x")  # type: ignore[call-arg]
    proved = verify_body(ref_of(b"x"), b"x")
    with pytest.raises(AttributeError):
        proved.value = b"y"
    with pytest.raises(AttributeError):
        del proved.value
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            make(proved)
    assert proved.value == b"x"


def test_a_stored_response_comes_back_from_block_head_and_names() -> None:
    stored = verify_stored(BLOCK.raw, BLOCK.leaf, DRAFT.head, DRAFT.url, SELECTING, SALT).value
    assert (stored.url, stored.status, stored.selecting, stored.height) == (DRAFT.url, 200, SELECTING, 4)
    assert (stored.body, stored.length) == (DRAFT.body.digest, DRAFT.body.length)
    assert stored.response_time == NOW + 500, "the block's time, not the draft's"
    assert stored.initial_age == 7, "`Age` of the stored head"
    assert stored.fields.get("etag") == '"1"'


def test_age_absent_is_zero() -> None:
    head = head_for(1).replace(b"Age: 7\r\n", b"")
    assert verify_draft(store_draft(1, head=head)).value.initial_age == 0


def test_a_draft_of_this_process_is_proved_without_a_height() -> None:
    stored = verify_draft(DRAFT).value
    assert (stored.height, stored.response_time, stored.body) == (None, DRAFT.time, DRAFT.body.digest)


OTHER = seal(Place(Height(4), ZERO, NOW, "n"), store_draft(2), GENESIS)
EVICT = seal(Place(Height(4), ZERO, NOW, "n"), EvictDraft(DRAFT.body.digest, 1, NOW), GENESIS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"raw": OTHER.raw}, "leaf hash"),
        ({"leaf": OTHER.leaf}, "leaf hash"),
        ({"raw": OTHER.raw, "leaf": OTHER.leaf}, "another URL"),
        ({"raw": EVICT.raw, "leaf": EVICT.leaf}, "stores no response"),
        ({"raw": BLOCK.raw[:-1]}, "leaf hash"),
        ({"head": head_for(2)}, "stored head"),
        ({"head": b""}, "stored head"),
        ({"url": DRAFT.url + "/"}, "another URL"),
        ({"salt": site_salt(GENESIS, "other")}, "another URL"),
        ({"selecting": ()}, "another variant"),
        ({"selecting": (("accept-language", "en"),)}, "another variant"),
        ({"selecting": (("b", "1"), ("a", "1"))}, "cannot be digested"),
    ],
)
def test_anything_that_does_not_match_is_corrupt(changes: dict[str, object], why: str) -> None:
    good = {"raw": BLOCK.raw, "leaf": BLOCK.leaf, "head": DRAFT.head, "url": DRAFT.url, "selecting": SELECTING, "salt": SALT}
    with pytest.raises(Corrupt, match=why) as caught:
        verify_stored(**{**good, **changes})  # type: ignore[arg-type]
    assert "digest" not in caught.value.fields, "that field says that the body is at fault"


@pytest.mark.parametrize("head", [b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n", b"nonsense"])
def test_a_head_that_matches_its_digest_must_still_be_one(head: bytes) -> None:
    block = seal(Place(Height(4), ZERO, NOW, "n"), store_draft(1, head=head), GENESIS)
    with pytest.raises(Corrupt, match="stored head"):
        verify_stored(block.raw, block.leaf, head, DRAFT.url, (), SALT)
    with pytest.raises(Corrupt, match="stored head"):
        verify_draft(store_draft(1, head=head))


PURGE = seal(Place(Height(4), ZERO, NOW, "n"), PurgeDraft(SITE, "tag", "t", "soft", NOW), GENESIS)
FIRST = seal_genesis(NOW, "n", GENESIS)
STORED_NAMES = StoredNames(SITE, DRAFT.url, SELECTING)
PURGE_NAMES = PurgeNames(SITE, "tag", "t", "soft")


@pytest.mark.parametrize(("block", "names"), [(BLOCK, STORED_NAMES), (PURGE, PURGE_NAMES), (FIRST, None), (EVICT, None)])
def test_the_names_of_a_block_are_accepted(block: Block, names: Names | None) -> None:
    check_names(block.entry, names, GENESIS)


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (BLOCK, None),
        (BLOCK, PURGE_NAMES),
        (BLOCK, StoredNames("other", DRAFT.url, SELECTING)),
        (BLOCK, StoredNames(SITE, "http://other/", SELECTING)),
        (PURGE, None),
        (PURGE, STORED_NAMES),
        (PURGE, PurgeNames(SITE, "tag", "u", "soft")),
        (PURGE, PurgeNames(SITE, "group", "t", "soft")),
        (PURGE, PurgeNames(SITE, "tag", "t", "hard")),
        (PURGE, PurgeNames("other", "tag", "t", "soft")),
        (FIRST, PURGE_NAMES),
        (EVICT, STORED_NAMES),
    ],
)
def test_any_other_names_are_corrupt(block: Block, names: Names | None) -> None:
    with pytest.raises(Corrupt):
        check_names(block.entry, names, GENESIS)


@pytest.mark.parametrize("size", [0, 1, 5000, 300_000])
def test_a_body_is_proved_whole(size: int) -> None:
    data = patterned(size)
    ref, measured = measure_body(data)
    assert ref == ref_of(data)
    assert verify_body(ref, data).value == measured.value == data


@pytest.mark.parametrize("wrong", [b"", b"body 2", b"body 1 ", b"body "])
def test_another_body_is_corrupt_and_named(wrong: bytes) -> None:
    ref = ref_of(b"body 1")
    with pytest.raises(Corrupt) as caught:
        verify_body(ref, wrong)
    assert caught.value.fields["digest"] == ref.digest.hex()


def test_each_chunk_is_proved_by_itself() -> None:
    data = patterned(5 * CHUNK + 77)
    ref = ref_of(data)
    leaves = verify_leaves(ref, chunk_leaves(data))
    for index in range(6):
        piece = data[index * CHUNK : (index + 1) * CHUNK]
        assert verify_chunk(ref, leaves, index, piece).value == piece
        for wrong_index, wrong in (
            (index, piece[:-1]),
            (index, piece + b"x"),
            (index, b"?" + piece[1:]),
            ((index + 1) % 6, piece),
            (6, piece),
            (-1, piece),
        ):
            with pytest.raises(Corrupt) as caught:
                verify_chunk(ref, leaves, wrong_index, wrong)
            assert caught.value.fields["digest"] == ref.digest.hex()


@pytest.mark.parametrize("change", ["short", "long", "swapped", "cut", "none"])
def test_hashes_of_chunks_must_give_the_root(change: str) -> None:
    data = patterned(5 * CHUNK)
    ref, leaves = ref_of(data), chunk_leaves(data)
    wrong: dict[str, tuple[bytes, ...]] = {
        "short": leaves[:-1],
        "long": (*leaves, leaves[0]),
        "swapped": (leaves[1], leaves[0], *leaves[2:]),
        "cut": (*leaves[:-1], leaves[-1][:31]),
        "none": (),
    }
    with pytest.raises(Corrupt):
        verify_leaves(ref, wrong[change])
    with pytest.raises(Corrupt, match="no chunks"):
        verify_leaves(BodyRef(Digest(ref.digest), 5, None), leaves)
