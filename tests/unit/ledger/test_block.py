"""Block bytes as in the contract: strict in both directions."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, StoreError
from edgeproxy.ledger.block import MAX_BLOCK, Block, Evict, Genesis, Place, Purge, Stored, body_of, decode, seal, seal_genesis
from edgeproxy.ledger.digests import ZERO, scope_digest, sha256, site_salt, url_digest, variant_digest
from edgeproxy.ledger.drafts import (
    BodyRef,
    Draft,
    EraseDraft,
    EvictDraft,
    PurgeDraft,
    ReceiptDraft,
    ReleaseDraft,
    RollbackDraft,
    decode_names,
    encode_names,
    names_of,
)
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.verify import check_names
from tests.support.ledgers import NOW, SITE, head_for, store_draft

SALT = bytes(range(32))
PLACE = Place(Height(17), Digest(b"\x11" * 32), Instant(1_764_000_000_000), "edge-1")
BODY = BodyRef(sha256(b"x"), 5120, None)
TRACE = "0123456789abcdef" * 2

DRAFTS: dict[str, Draft] = {
    "store": store_draft(1, body=BODY, selecting=(("accept-language", "de"),), trace=TRACE),
    "refresh": store_draft(1, op="refresh", body=BodyRef(sha256(b"y"), 262_145, sha256(b"root"))),
    "purge": PurgeDraft(SITE, "prefix", "/news/", "soft", NOW, TRACE),
    "evict": EvictDraft(sha256(b"x"), 5120, NOW),
    "rollback": RollbackDraft(SITE, "prefix", "/news/", Height(16), "fetch", NOW, TRACE),
    "release": ReleaseDraft("", "node", "", NOW),
    "erase": EraseDraft(SITE, f"http://{SITE}/page/1", (sha256(b"x"), sha256(b"y")), NOW),
    "receipt": ReceiptDraft(SITE, f"http://{SITE}/page/1", "cache", "timeout", Height(3), NOW, 2, NOW, TRACE),
}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sealed(op: str) -> Block:
    return seal(PLACE, DRAFTS[op], SALT)


def test_a_store_block_is_byte_for_byte_as_the_contract_writes_it() -> None:
    salt, variant = site_salt(SALT, SITE), variant_digest((("accept-language", "de"),))
    assert _sealed("store").raw.decode() == (
        f'{{"v":1,"height":17,"prev":"{_b64(PLACE.prev)}","time":1764000000000,"node":"edge-1","op":"store",'
        f'"url":"{_b64(url_digest(salt, f"http://{SITE}/page/1"))}","variant":"{_b64(variant)}",'
        f'"status":200,"head":"{_b64(sha256(head_for(1)))}","body":"{_b64(BODY.digest)}","length":5120,"chunks":null,'
        f'"trace":"{TRACE}"}}'
    )


@pytest.mark.parametrize(
    ("op", "own"),
    [
        ("store", ["url", "variant", "status", "head", "body", "length", "chunks", "trace"]),
        ("refresh", ["url", "variant", "status", "head", "body", "length", "chunks", "trace"]),
        ("purge", ["kind", "scope", "mode", "trace"]),
        ("evict", ["body", "length"]),
        ("rollback", ["kind", "scope", "to", "absent", "trace"]),
        ("release", ["kind", "scope", "trace"]),
        ("erase", ["url", "bodies", "trace"]),
        ("receipt", ["url", "source", "cause", "block", "served", "count", "trace"]),
    ],
)
def test_keys_stand_in_the_order_of_the_contract(op: str, own: list[str]) -> None:
    assert list(json.loads(_sealed(op).raw)) == ["v", "height", "prev", "time", "node", "op", *own]


def test_the_genesis_block_carries_the_salt_and_no_block_before_it() -> None:
    block = seal_genesis(NOW, "edge-1", SALT)
    assert json.loads(block.raw) == {
        "v": 1, "height": 0, "prev": _b64(bytes(32)), "time": NOW, "node": "edge-1", "op": "genesis", "salt": _b64(SALT),
    }  # fmt: skip
    assert block.prev == ZERO
    assert isinstance(block.entry, Genesis)


@pytest.mark.parametrize("op", DRAFTS)
def test_what_was_sealed_is_decoded_to_the_same(op: str) -> None:
    block = _sealed(op)
    assert decode(block.raw) == block
    assert block.leaf == leaf_hash(block.raw)
    assert (block.op, block.height, block.prev, block.time, block.node) == (op, 17, PLACE.prev, PLACE.time, "edge-1")


def test_a_purge_block_does_not_say_what_it_purges() -> None:
    block = _sealed("purge")
    assert isinstance(block.entry, Purge)
    assert b"news" not in block.raw
    assert block.entry.scope == scope_digest(site_salt(SALT, SITE), "prefix", "/news/")


def test_the_body_of_a_block_is_that_of_its_draft() -> None:
    entry = _sealed("refresh").entry
    assert isinstance(entry, Stored)
    assert body_of(entry) == BodyRef(sha256(b"y"), 262_145, sha256(b"root"))
    assert isinstance(_sealed("evict").entry, Evict)


@pytest.mark.parametrize("op", DRAFTS)
def test_the_clear_names_of_a_draft_come_back_and_are_those_of_its_block(op: str) -> None:
    names = names_of(DRAFTS[op])
    kept = None if names is None else decode_names(encode_names(names))
    assert kept == names
    check_names(_sealed(op).entry, kept, SALT)


@pytest.mark.parametrize("op", ["store", "purge", "rollback", "release", "receipt"])
@pytest.mark.parametrize("other", ["store", "purge", "rollback", "release", "receipt", "evict"])
def test_the_clear_names_of_another_block_are_refused(op: str, other: str) -> None:
    if op == other:
        return
    with pytest.raises(Corrupt):
        check_names(_sealed(op).entry, names_of(DRAFTS[other]), SALT)


def _changed(base: str, /, **values: Any) -> bytes:
    return json.dumps({**json.loads(_sealed(base).raw), **values}, separators=(",", ":"), ensure_ascii=False).encode()


RAW = _sealed("store").raw
NOT_CANONICAL: dict[str, bytes] = {
    "empty": b"",
    "not json": b"{",
    "an array": b"[]",
    "not UTF-8": RAW.replace(b"edge-1", b"edge-\xff"),
    "space after a colon": RAW.replace(b'"v":1', b'"v": 1'),
    "space at the end": RAW + b" ",
    "line feed before": b"\n" + RAW,
    "two objects": RAW + RAW,
    "keys in another order": json.dumps(dict(sorted(json.loads(RAW).items())), separators=(",", ":")).encode(),
    "a key twice": RAW.replace(b'"v":1,', b'"v":1,"v":1,'),
    "an unknown key": RAW[:-1] + b',"more":1}',
    "a key missing": RAW.replace(b'"chunks":null,', b""),
    "unknown version": _changed("store", v=2),
    "unknown op": _changed("store", op="delete"),
    "op of another shape": _changed("store", op="evict"),
    "height as a string": _changed("store", height="17"),
    "height as a fraction": RAW.replace(b'"height":17', b'"height":17.0'),
    "height with an exponent": RAW.replace(b'"height":17', b'"height":17e0'),
    "height negative": _changed("store", height=-1),
    "height minus zero": RAW.replace(b'"height":17', b'"height":-0'),
    "height true": _changed("store", height=True),
    "height beyond 2^53": _changed("store", height=2**53),
    "height 0 but no genesis": _changed("store", height=0),
    "genesis at height 1": seal_genesis(NOW, "n", SALT).raw.replace(b'"height":0', b'"height":1'),
    "genesis after another": seal_genesis(NOW, "n", SALT).raw.replace(_b64(ZERO).encode(), _b64(b"\1" * 32).encode()),
    "genesis with a short salt": seal_genesis(NOW, "n", SALT).raw.replace(_b64(SALT).encode(), _b64(SALT[:31]).encode()),
    "time negative": _changed("store", time=-1),
    "time null": _changed("store", time=None),
    "node empty": _changed("store", node=""),
    "node escaped without need": RAW.replace(b'"edge-1"', b'"\\u0065dge-1"'),
    "base64 of 31 bytes": _changed("store", body=_b64(b"x" * 31)),
    "base64 of 33 bytes": _changed("store", body=_b64(b"x" * 33)),
    "base64 without padding": _changed("store", body=_b64(BODY.digest).rstrip("=")),
    "base64 with stray bits": _changed("store", prev="ERERERERERERERERERERERERERERERERERERERERERF="),
    "base64 of the URL alphabet": _changed("store", body=_b64(b"\xff" * 32).replace("/", "_")),
    "base64 with a line feed": _changed("store", body=_b64(BODY.digest)[:20] + "\n" + _b64(BODY.digest)[20:]),
    "digest in hex": _changed("store", body=BODY.digest.hex()),
    "digest null": _changed("store", body=None),
    "status 99": _changed("store", status=99),
    "status of an interim response": _changed("store", status=100),
    "status 600": _changed("store", status=600),
    "length negative": _changed("store", length=-1),
    "chunks for a short body": _changed("store", chunks=_b64(b"x" * 32)),
    "no chunks for a long body": _changed("refresh", chunks=None),
    "trace of 31 digits": _changed("store", trace=TRACE[:31]),
    "trace in upper case": _changed("store", trace=TRACE.upper()),
    "trace with a line feed": _changed("store", trace=TRACE + "\n"),
    "purge of an unknown kind": _changed("purge", kind="all"),
    "purge of an unknown mode": _changed("purge", mode="gentle"),
    "rollback of an unknown kind": _changed("rollback", kind="tag"),
    "rollback to its own height": _changed("rollback", to=17),
    "rollback with another answer to what is absent": _changed("rollback", absent="guess"),
    "erase of too many bodies": _changed("erase", bodies=[_b64(b"x" * 32)] * 1025),
    "erase of half a body": _changed("erase", bodies=[_b64(b"x" * 31)]),
    "receipt for nobody": _changed("receipt", count=0),
    "receipt of a block to come": _changed("receipt", block=17),
    "receipt with prose as its cause": _changed("receipt", cause="the network was gone"),
    "receipt of an unknown source": _changed("receipt", source="origin"),
    "longer than 65535 bytes": _changed("store", node="n" * MAX_BLOCK),
}


@pytest.mark.parametrize("raw", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_anything_else_is_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(raw)


@given(st.integers(0, len(RAW) - 1), st.integers(0, 255))
def test_any_other_byte_makes_another_leaf_or_no_block(position: int, byte: int) -> None:
    raw = RAW[:position] + bytes((byte,)) + RAW[position + 1 :]
    if raw == RAW:
        return
    try:
        block = decode(raw)
    except Corrupt:
        return
    assert block.raw == raw
    assert block.leaf != _sealed("store").leaf


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_input_raises_anything_but_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(raw)


@pytest.mark.parametrize(
    "draft",
    [
        store_draft(1, status=99),
        store_draft(1, trace="ABC"),
        store_draft(1, url="http://a/\ud800"),
        store_draft(1, selecting=(("b", "1"), ("a", "1"))),
        store_draft(1, body=BodyRef(Digest(b"short"), 1, None)),
        store_draft(1, body=BodyRef(sha256(b""), 262_145, None)),
        store_draft(1, op="purge"),
        PurgeDraft(SITE, "all", "x", "soft", NOW),  # type: ignore[arg-type]
        EvictDraft(sha256(b""), -1, NOW),
    ],
    ids=["status", "trace", "surrogate", "selecting", "digest", "chunks", "op", "kind", "length"],
)
def test_a_draft_that_no_block_may_carry_is_refused(draft: Draft) -> None:
    with pytest.raises(StoreError, match="draft cannot become a block"):
        seal(PLACE, draft, SALT)
