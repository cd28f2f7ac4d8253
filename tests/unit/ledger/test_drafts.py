"""The private row: the clear text behind a block's digests."""

import pytest

from edgeproxy.caching.model import Height
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.drafts import (
    ErasedNames,
    EvictDraft,
    Names,
    PurgeDraft,
    PurgeNames,
    ReceiptNames,
    ScopeNames,
    StoredNames,
    decode_names,
    encode_names,
    names_of,
)
from tests.support.ledgers import NOW, store_draft

NAMES: list[Names] = [
    StoredNames("a.example", "http://a.example/ü?x=1", ()),
    StoredNames("a.example", "http://a.example/", (("accept-language", "de"), ("x", None))),
    StoredNames("a.example", "http://a.example/", (("purge", "soft"),)),
    PurgeNames("a.example", "tag", "news", "soft"),
    PurgeNames("a.example", "url", "", "hard"),
    ScopeNames("rollback", "a.example", "prefix", "/a,b", Height(7), "refuse"),
    ScopeNames("rollback", "", "node", ""),
    ScopeNames("release", "a.example", "site", "a.example"),
    ReceiptNames("a.example", "http://a.example/"),
    ErasedNames(sha256(b"a URL")),
]


@pytest.mark.parametrize("names", NAMES)
def test_names_come_back(names: Names) -> None:
    assert decode_names(encode_names(names)) == names


def test_each_draft_has_the_names_of_its_block() -> None:
    assert names_of(store_draft(1, url="http://a/", selecting=(("x", "1"),), site="a")) == StoredNames(
        "a", "http://a/", (("x", "1"),)
    )
    assert names_of(PurgeDraft("a", "tag", "t", "hard", NOW)) == PurgeNames("a", "tag", "t", "hard")
    assert names_of(EvictDraft(sha256(b""), 0, NOW)) is None


@pytest.mark.parametrize(
    "columns",
    [
        (b"\xff", b"http://a/", b"[]"),
        (b"a", b"\xff", b"[]"),
        (b"a", b"http://a/", b""),
        (b"a", b"http://a/", b"[ ]"),
        (b"a", b"t", b'["purge","tag"]'),
        (b"a", b"t", b'["purge","all","soft"]'),
        (b"a", b"t", b'["purge","tag","gentle"]'),
        (b"a", b"t", b'["rollback","site",-1,"fetch"]'),
        (b"a", b"t", b'["rollback","site",1,"never"]'),
        (b"a", b"t", b'["rollback","site",1]'),
        (b"a", b"t", b'["release","site",1,"fetch"]'),
        (b"", b"http://a.example/", b'["erased"]'),
    ],
)
def test_columns_that_cannot_be_read_are_corrupt(columns: tuple[bytes, bytes, bytes]) -> None:
    with pytest.raises(Corrupt):
        decode_names(columns)
