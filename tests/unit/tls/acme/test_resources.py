"""Directory, order and authorization as an authority writes them (RFC 8555 section 7.1)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.problems import Problem
from edgeproxy.tls.acme.resources import (
    AuthorizationStatus,
    Challenge,
    OrderStatus,
    read_authorization,
    read_directory,
    read_order,
)

BASE = "https://ca.test"
DIRECTORY = {step: f"{BASE}/{step}" for step in ("newNonce", "newAccount", "newOrder")}
ORDER = {"status": "pending", "authorizations": [f"{BASE}/authz/1"], "finalize": f"{BASE}/finalize/1"}
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
AUTHORIZATION = {"status": "pending", "identifier": {"type": "dns", "value": "a.test"}}


def test_a_directory_of_the_smallest_kind() -> None:
    found = read_directory(DIRECTORY)
    assert (found.new_nonce, found.new_account, found.new_order) == tuple(DIRECTORY.values())
    assert (found.revoke, found.renewal_info, found.external_account_required, found.profiles) == ("", "", False, None)


def test_a_directory_with_all_that_is_optional() -> None:
    meta = {"externalAccountRequired": True, "profiles": {"short\x1b": "six\ndays"}, "termsOfService": "data:text/plain,x"}
    found = read_directory({**DIRECTORY, "renewalInfo": f"{BASE}/ari", "revokeCert": f"{BASE}/revoke", "meta": meta, "new": 1})
    assert (found.renewal_info, found.revoke, found.external_account_required) == (f"{BASE}/ari", f"{BASE}/revoke", True)
    assert found.profiles == {"short\x1b": "six days"}


@pytest.mark.parametrize("document", [{}, {**DIRECTORY, "newOrder": 5}, {**DIRECTORY, "newNonce": "file:///etc/passwd"}])
def test_what_is_no_directory(document: dict[str, object]) -> None:
    with pytest.raises(IssuanceFailed) as failed:
        read_directory(document)
    assert failed.value.problem == "notAnAuthority"


def test_an_order_is_read() -> None:
    found = read_order({**ORDER, "status": "valid", "certificate": f"{BASE}/cert/1"})
    assert (found.status, found.certificate) == (OrderStatus.VALID, f"{BASE}/cert/1")
    lost = read_order({**ORDER, "status": "invalid", "error": {"type": "urn:ietf:params:acme:error:caa", "detail": "no"}})
    assert lost.error == Problem("caa", "no")


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "dreaming"},
        {"status": None},
        {"authorizations": "all"},
        {"authorizations": [5]},
        {"authorizations": [f"{BASE}/x"] * 1_000},
        {"finalize": None},
        {"finalize": "https://ca.test/with space"},
    ],
)
def test_an_order_that_makes_no_sense(broken: dict[str, object]) -> None:
    with pytest.raises(IssuanceFailed) as failed:
        read_order({**ORDER, **broken})
    assert failed.value.problem == "badAnswer"


def test_challenges_of_unknown_kinds_and_shapes_are_left_alone() -> None:
    challenges = [
        {"type": "future-01", "url": f"{BASE}/c/0", "riddle": "?"},
        {"type": "http-01", "url": f"{BASE}/c/1", "token": TOKEN},
        {"type": "device-attest-01", "url": f"{BASE}/c/2", "token": TOKEN},
        {"type": "http-01", "url": f"{BASE}/c/3", "token": "../../etc/passwd"},
        {"type": 7},
        "nonsense",
    ]
    found = read_authorization({**AUTHORIZATION, "challenges": challenges})
    assert found.challenges == (
        Challenge("http-01", f"{BASE}/c/1", TOKEN, None),
        Challenge("device-attest-01", f"{BASE}/c/2", TOKEN, None),
    )


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "a.test"),
        ({"wildcard": True}, "*.a.test"),
        ({"wildcard": False}, "a.test"),
        ({"identifier": {"type": "dns", "value": "A.Test"}}, "a.test"),
        ({"identifier": {"type": "ip", "value": "2001:db8::1"}}, "2001:db8::1"),
        ({"wildcard": True, "identifier": {"type": "dns", "value": "*.a.test"}}, "*.a.test"),
    ],
)
def test_an_authorization_has_the_name_that_was_asked_for(more: dict[str, object], name: str) -> None:
    assert read_authorization({**AUTHORIZATION, **more}).name == name


def test_why_an_authorization_is_not_valid() -> None:
    error = {"type": "urn:ietf:params:acme:error:dns", "detail": "servfail"}
    challenges = [{"type": "http-01", "url": f"{BASE}/c", "token": TOKEN, "error": error}]
    found = read_authorization({**AUTHORIZATION, "status": "invalid", "challenges": challenges})
    assert (found.status, found.problem()) == (AuthorizationStatus.INVALID, Problem("dns", "servfail"))
    silent = read_authorization({**AUTHORIZATION, "status": "expired"})
    assert silent.problem() == Problem("unauthorized", "the authorization is expired")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["pending", BASE, TOKEN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_FIELDS = st.sampled_from([*DIRECTORY, *ORDER, "identifier", "challenges", "wildcard", "error", "meta", "certificate"])


@given(st.dictionaries(_FIELDS, _JSON))
def test_no_document_raises_anything_but_what_is_promised(document: dict[str, object]) -> None:
    for read in (read_directory, read_order, read_authorization):
        for base in ({}, DIRECTORY, ORDER, AUTHORIZATION):
            with suppress(IssuanceFailed):
                read({**base, **document})
