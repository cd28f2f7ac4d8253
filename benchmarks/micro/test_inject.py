"""What injecting costs where it is not free: looking for the place, amending a policy. Once for each page stored or passing."""

from collections.abc import Callable
from typing import Any

from edgeproxy.inject.csp import amend
from edgeproxy.inject.injector import Injector, tag
from edgeproxy.wire.fields import Fields

LINKS = b"".join(
    b'<meta name="m%d" content="some text here"><link rel="stylesheet" href="/assets/app-%d.css" media="all">' % (n, n)
    for n in range(30)
)
HEAD = b"<!doctype html><html lang=en><head>" + LINKS + b"<script>" + b"f('</p>');" * 500 + b"</script>"
PAGE = HEAD + b"<style>" + b"a{b:c}" * 5000 + b"</style></head><body>" + b"<p>x</p>" * 10_000
SMALL = b"<!doctype html><html lang=en><head><meta charset=utf-8><title>a page</title></head><body>" + b"<p>x</p>" * 1000
POLICY = Fields(
    (
        ("Content-Type", "text/html"),
        ("Content-Security-Policy", "default-src 'self'; script-src 'nonce-r4nd0m' https://cdn.example; img-src *"),
    )
)


def injected(page: bytes) -> int:
    injector = Injector(tag())
    return len(injector.feed(page)) + len(injector.finish())


def test_a_page_with_a_small_head(benchmark: Callable[..., Any]) -> None:
    assert benchmark(injected, SMALL) == len(SMALL) + len(tag())


def test_a_page_with_a_head_of_38_kb(benchmark: Callable[..., Any]) -> None:
    assert benchmark(injected, PAGE) == len(PAGE) + len(tag())


def test_a_policy(benchmark: Callable[..., Any]) -> None:
    assert benchmark(amend, POLICY, "https://www.example.org", "extend").nonce == "r4nd0m"
