"""Digests that stand in public blocks (CONTRACT: block bytes)."""

import hashlib
import json

import pytest

from edgeproxy.caching.model import Selecting
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.digests import (
    decode_selecting,
    encode_selecting,
    scope_digest,
    sha256,
    site_salt,
    url_digest,
    variant_digest,
)

GENESIS = bytes(range(32))


def test_the_url_digest_is_the_hash_of_salt_and_absolute_url() -> None:
    salt = site_salt(GENESIS, "a.example")
    assert url_digest(salt, "http://a.example/ü") == hashlib.sha256(salt + "http://a.example/ü".encode()).digest()


def test_salts_of_two_sites_or_two_ledgers_differ() -> None:
    salts = {site_salt(GENESIS, "a.example"), site_salt(GENESIS, "b.example"), site_salt(bytes(32), "a.example")}
    assert len(salts) == 3


def test_scopes_of_different_kinds_never_collide() -> None:
    salt = site_salt(GENESIS, "a.example")
    digests = {scope_digest(salt, kind, "x") for kind in ("url", "prefix", "tag", "group", "site")}
    assert len(digests) == 5
    assert scope_digest(salt, "url", "http://a/") != url_digest(salt, "http://a/")


SELECTING: list[Selecting] = [
    (),
    (("accept-language", "de"),),
    (("accept-language", None), ("x-b", "")),
    (("a", 'quote " backslash \\ tab \t'), ("b", "ü\x7f€")),
]


@pytest.mark.parametrize("selecting", SELECTING)
def test_selecting_fields_come_back_and_are_written_as_json_stringify_does(selecting: Selecting) -> None:
    data = encode_selecting(selecting)
    assert decode_selecting(data) == selecting
    assert data == json.dumps(selecting, separators=(",", ":"), ensure_ascii=False).encode()
    assert variant_digest(selecting) == sha256(data)


def test_absent_and_empty_values_are_different_variants() -> None:
    assert variant_digest((("a", None),)) != variant_digest((("a", ""),))


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_names_out_of_order_or_repeated_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="order"):
        encode_selecting(tuple((name, "x") for name in names))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'[["a"]]', b'[["a",1]]', b'[["a","x"] ]', b'[["b","x"],["a","x"]]', b'[["\\u0061","x"]]', b"\xff"],
)
def test_selecting_fields_that_are_not_canonical_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_selecting(data)
