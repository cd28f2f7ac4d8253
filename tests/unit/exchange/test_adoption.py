"""Versions without names: found by the digest of the URL that is asked for, in the variant that the request selects."""

from types import SimpleNamespace
from typing import Any

import pytest

from edgeproxy.caching.model import Height, Selecting
from edgeproxy.errors import StoreError
from edgeproxy.exchange.adoption import Adopter
from edgeproxy.exchange.index import Index
from edgeproxy.ledger.block import Place, seal
from edgeproxy.ledger.digests import ZERO, site_salt
from edgeproxy.ledger.drafts import Draft, EraseDraft, StoredNames, decode_names
from edgeproxy.ledger.fold import Fold
from edgeproxy.wire.http1 import Limits, parse_request_head
from edgeproxy.wire.messages import Request
from tests.support.ledgers import NOW, SITE, head_for, store_draft

SALT = bytes(range(32))
URL = f"http://{SITE}/page"
NAMES = StoredNames(SITE, URL, ())
VARIES = head_for(1) + b"Vary: Accept-Language, Accept-Encoding\r\n"


def _request(language: str = "") -> Request:
    line = f"Accept-Language: {language}\r\n" if language else ""
    return parse_request_head(f"GET /page HTTP/1.1\r\nHost: {SITE}\r\n{line}\r\n".encode(), Limits(), scheme="http")


class Node:
    """Fold, index and database of a node that was rebuilt without names."""

    def __init__(self, *drafts: Draft) -> None:
        self.fold = Fold(SALT)
        self.heads = {height: draft.head for height, draft in enumerate(drafts, start=1)}  # type: ignore[union-attr]
        for height, draft in enumerate(drafts, start=1):
            self.fold.apply_blind(seal(Place(Height(height), ZERO, NOW, "n"), draft, SALT))
        self.names: dict[int, Any] = {}
        self.index = Index()
        self.failure: StoreError | None = None
        self.meanwhile: Any = lambda: None
        cache: Any = SimpleNamespace(
            salt=lambda site: site_salt(SALT, site), db=self, index=self.index, bodies=SimpleNamespace(exists=lambda digest: True)
        )
        self.adopter = Adopter(cache, self.fold)

    async def read(self, _: object) -> dict[int, bytes]:
        self.meanwhile()
        return self.heads

    async def add_names(self, names: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.names |= dict(names)

    async def adopt(self, request: Request, url: str = URL, key: str = URL) -> list[int]:
        """The heights in the index afterwards."""
        await self.adopter.adopt(SimpleNamespace(name=SITE), url, key, request)  # type: ignore[arg-type]
        return [version.height for entry in self.index.entries() for version in entry.versions]


def _draft(number: int, selecting: Selecting = (), url: str = URL, head: bytes = b"") -> Draft:
    return store_draft(number, url=url, selecting=selecting, head=head or head_for(number))


async def test_all_versions_of_the_variant_come_back_and_are_written_down() -> None:
    node = Node(_draft(1), _draft(2), _draft(3, url=f"{URL}/other"))
    assert await node.adopt(_request()) == [1, 2]
    assert {height: decode_names(columns) for height, columns in node.names.items()} == dict.fromkeys((1, 2), NAMES)
    assert len(node.fold.history(URL)) == 2
    assert len(node.fold.blind) == 1
    assert await node.adopt(_request()) == [1, 2], "nothing twice"


async def test_each_variant_waits_for_a_request_that_selects_it() -> None:
    german, french = (("accept-language", "de"),), (("accept-language", "fr"),)
    node = Node(_draft(1, german, head=VARIES), _draft(2, french, head=VARIES))
    assert await node.adopt(_request()) == []
    assert await node.adopt(_request("fr")) == [2]
    assert await node.adopt(_request("de")) == [2, 1]
    assert node.fold.blind == {}


async def test_what_was_stored_under_its_key_is_found_under_another_spelling() -> None:
    node = Node(_draft(1))
    assert await node.adopt(_request(), url=f"{URL}?utm_source=x", key=URL) == [1]


async def test_what_was_erased_meanwhile_does_not_come_back() -> None:
    node = Node(_draft(1))
    erase = seal(Place(Height(2), ZERO, NOW, "n"), EraseDraft(SITE, URL, (), NOW), SALT)
    node.meanwhile = lambda: node.fold.apply(erase, None)
    assert await node.adopt(_request()) == []
    assert node.names == {}
    assert node.fold.by_url == {}


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nanother: head\r\n", b"no head"])
async def test_a_damaged_head_is_left_where_it_is(head: bytes) -> None:
    node = Node(_draft(1))
    node.heads[1] = head
    assert await node.adopt(_request()) == []


async def test_a_full_disk_costs_only_the_names() -> None:
    node = Node(_draft(1))
    node.failure = StoreError("no space left for the ledger")
    assert await node.adopt(_request()) == [1]
