"""Which challenge is taken for a name."""

import pytest

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.choosing import check_possible, choose, possible
from edgeproxy.tls.acme.resources import Authorization, AuthorizationStatus, Challenge

ALL = ("http-01", "tls-alpn-01", "dns-01")


def offered(name: str, *types: str) -> Authorization:
    challenges = tuple(Challenge(kind, f"https://ca.test/{kind}", "token", None) for kind in types)
    return Authorization(name, AuthorizationStatus.PENDING, challenges)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("a.test", ["http-01", "tls-alpn-01", "dns-01"]),
        ("*.a.test", ["dns-01"]),  # RFC 8555 section 8.3, RFC 8737 section 3
        ("192.0.2.1", ["http-01", "tls-alpn-01"]),  # RFC 8738 section 7
        ("2001:db8::1", ["http-01", "tls-alpn-01"]),
    ],
)
def test_what_can_prove_a_name(name: str, types: list[str]) -> None:
    assert possible(name, ALL) == types


@pytest.mark.parametrize(
    ("types", "offers", "failed", "chosen"),
    [
        (ALL, ALL, (), "http-01"),
        (("tls-alpn-01", "http-01"), ALL, (), "tls-alpn-01"),
        (ALL, ALL, ("http-01",), "tls-alpn-01"),
        (ALL, ("future-01", "dns-01"), (), "dns-01"),
        (ALL, ALL, ALL, None),
        (("http-01",), ("dns-01",), (), None),
    ],
)
def test_the_first_of_ours_that_is_offered_and_has_not_failed(
    types: tuple[str, ...], offers: tuple[str, ...], failed: tuple[str, ...], chosen: str | None
) -> None:
    found = choose(offered("a.test", *offers), types, failed)
    assert (found.type if found else None) == chosen


@pytest.mark.parametrize(
    ("names", "types", "words"),
    [
        (["a.test", "*.a.test"], ("http-01",), r"\*\.a\.test \(a wildcard needs dns-01, and so a hook\)"),
        (["192.0.2.1"], ("dns-01",), "192.0.2.1"),
        (["a.test"], (), "a.test"),
    ],
)
def test_what_could_never_be_proved_is_refused_with_its_name(names: list[str], types: tuple[str, ...], words: str) -> None:
    with pytest.raises(IssuanceFailed, match=words) as failed:
        check_possible(names, types)
    assert failed.value.problem == "noChallenge"


@pytest.mark.parametrize("names", [[], [""], ["bücher.test"], ["a b.test"], ["a..test"], ["x" * 64 + ".test"], ["a.*.test"]])
def test_what_is_no_name_is_refused(names: list[str]) -> None:
    with pytest.raises(IssuanceFailed) as failed:
        check_possible(names, ALL)
    assert failed.value.problem == "badName"


@pytest.mark.parametrize(
    "name", ["a.test", "*.a.test", "192.0.2.1", "2001:db8::1", "::1", "xn--bcher-kva.test", "_x.test", "localhost"]
)
def test_names_wildcards_and_addresses_are_names(name: str) -> None:
    check_possible([name], ALL)
