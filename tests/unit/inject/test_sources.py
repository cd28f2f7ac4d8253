"""What a source expression lets through (CSP Level 3, section 6.7.2.8)."""

import pytest

from edgeproxy.inject import sources

SCRIPT = sources.place("https://www.example.org/.edge/ui/register.js")
PORT = sources.place("http://localhost:8080/.edge/sw.js")

PASS = [
    "*",
    "'self'",
    "'SELF'",
    "https:",
    "HTTPS:",
    "http:",
    "www.example.org",
    "WWW.Example.ORG",
    "*.example.org",
    "https://www.example.org",
    "http://www.example.org",
    "https://www.example.org:443",
    "http://www.example.org:80",
    "www.example.org:*",
    "https://*",
    "https://www.example.org/",
    "https://www.example.org/.edge/",
    "https://www.example.org/.edge/ui/",
    "https://www.example.org/.edge/ui/register.js",
]
BLOCK = [
    "'none'",
    "'unsafe-inline'",
    "'strict-dynamic'",
    "'nonce-abc'",
    "data:",
    "blob:",
    "wss:",
    "example.org",
    "*.www.example.org",
    "*.ample.org",
    "ftp://www.example.org",
    "www.example.org:8443",
    "https://www.example.org/.edge/ui",
    "https://www.example.org/.edge/sw.js",
    "https://www.example.org/.edge/ui/banner.js",
    "www.example.org.",
    "not a source",
    "",
]


@pytest.mark.parametrize("source", PASS)
def test_these_let_our_script_through(source: str) -> None:
    assert sources.allows_url([source], SCRIPT)


@pytest.mark.parametrize("source", BLOCK)
def test_these_do_not(source: str) -> None:
    assert not sources.allows_url([source], SCRIPT)


def test_a_port_that_is_not_the_scheme_s_own_must_be_named() -> None:
    assert sources.allows_url(["localhost:8080"], PORT)
    assert sources.allows_url(["http://localhost:*"], PORT)
    assert sources.allows_url(["'self'"], PORT)
    assert not sources.allows_url(["localhost"], PORT)
    assert not sources.allows_url(["http://localhost:80"], PORT)
    assert not sources.allows_url(["https://localhost:8080"], PORT)


def test_an_address_of_version_6_keeps_its_brackets() -> None:
    assert sources.allows_url(["http://[::1]:8080"], sources.place("http://[::1]:8080/.edge/sw.js"))


@pytest.mark.parametrize(
    ("source", "nonce"),
    [
        ("'nonce-abc123=='", "abc123=="),
        ("'NONCE-a_b-c+/'", "a_b-c+/"),
        ("'nonce-'", None),
        ("'nonce-a\"b'", None),
        ("'nonce-a>b'", None),
        ("nonce-abc", None),
    ],
)
def test_a_nonce_is_one_by_the_grammar_or_none(source: str, nonce: str | None) -> None:
    assert sources.nonce_of(source) == nonce


def test_none_counts_alone_and_an_empty_list_is_none() -> None:
    assert sources.allows_nothing([])
    assert sources.allows_nothing(["'NONE'"])
    assert not sources.allows_nothing(["'none'", "'self'"])
