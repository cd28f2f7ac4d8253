"""Host and target by RFC 9112 section 3.2 and RFC 3986 section 3.2.2."""

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.target import Target, parse_host, parse_target, same_authority

HOSTS = {
    "name": ("a.test", "a.test", "a.test"),
    "upper case": ("A.Test:80", "a.test:80", "a.test"),
    "single label": ("localhost:8080", "localhost:8080", "localhost"),
    "underscore, as container networks have": ("my_app", "my_app", "my_app"),
    "IPv4": ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1"),
    "IPv6": ("[::1]", "[::1]", "[::1]"),
    "IPv6, long and in upper case": ("[2001:DB8:0:0:0:0:0:1]:65535", "[2001:db8::1]:65535", "[2001:db8::1]"),
    "full domain name": ("a.test.:80", "a.test:80", "a.test"),
    "longest label": ("a" * 63 + ".b", "a" * 63 + ".b", "a" * 63 + ".b"),
}

NO_HOSTS = {
    "empty": "",
    "port only": ":80",
    "empty port": "a.test:",
    "port zero": "a.test:0",
    "port with a leading zero": "a.test:080",
    "port too large": "a.test:65536",
    "port of six digits": "a.test:100000",
    "port with a sign": "a.test:+80",
    "two ports": "a.test:80:80",
    "user information": "u@a.test",
    "password": "u:p@a.test",
    "path": "a.test/",
    "query": "a.test?x",
    "fragment": "a.test#x",
    "backslash": "a.test\\x",
    "space": "a test",
    "comma": "a.test,b.test",
    "percent-encoding": "a%2etest",
    "semicolon": "a.test;b",
    "quotes": '"a.test"',
    "non-ASCII": "\xe9.test",
    "digits of another script": "a.test:\u0668\u0660",
    "empty label": "a..test",
    "dot first": ".a.test",
    "dot only": ".",
    "label too long": "a" * 64,
    "name too long": "a." * 127 + "b",
    "IPv6 without brackets": "::1",
    "IPv6 that is none": "[1:2:3]",
    "IPv6 with a zone": "[fe80::1%25eth0]",
    "open bracket": "[::1",
    "name in brackets": "[a.test]",
    "IPvFuture": "[v1.a]",
    "bytes behind the bracket": "[::1]a",
    "scheme": "http://a.test",
}


@pytest.mark.parametrize(("value", "authority", "host"), HOSTS.values(), ids=HOSTS)
def test_host(value: str, authority: str, host: str) -> None:
    assert parse_host(value) == (authority, host)


@pytest.mark.parametrize("value", NO_HOSTS.values(), ids=NO_HOSTS)
def test_malformed_host(value: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_host(value)
    assert caught.value.status == 400


def test_target_forms() -> None:
    assert parse_target("GET", "/a?b") == Target("/a?b")
    assert parse_target("OPTIONS", "*") == Target("*")
    assert parse_target("GET", "http://A.test:8/b") == Target("/b", "a.test:8", "a.test")
    assert parse_target("GET", "https://a.test", scheme="https") == Target("/", "a.test", "a.test")


@pytest.mark.parametrize("target", ["http:/a.test/", "http:a.test", "//", "?x", "javascript:alert(1)", "://a/"])
def test_no_form_at_all(target: str) -> None:
    if target == "//":
        assert parse_target("GET", target) == Target("//")  # an empty first segment is a path all the same
        return
    with pytest.raises(RequestRefused):
        parse_target("GET", target)


def test_same_authority_but_for_the_default_port() -> None:
    assert same_authority("a:80", "a", "http")
    assert same_authority("a", "a:443", "https")
    assert not same_authority("a:443", "a", "http")
    assert not same_authority("a:81", "a", "http")
    assert not same_authority("a:80", "b:80", "http")
