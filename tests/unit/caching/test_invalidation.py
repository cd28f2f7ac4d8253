"""RFC 9111 section 4.4 (invalidation) and RFC 9875 (cache groups)."""

import pytest

from edgeproxy.caching.invalidation import invalidated_groups, invalidated_urls
from tests.support.caching import request, response

A = "http://example.org/a"
URLS: list[tuple[str, str, int, str, tuple[str, ...]]] = [
    *[(f"4.4 {method} invalidates its target", method, 200, "", (A,))
      for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH")],
    *[(f"4.4 {method} is safe", method, 200, "Location: /b", ()) for method in ("GET", "HEAD", "OPTIONS", "TRACE")],
    ("4.4 an error changed nothing", "POST", 500, "Location: /b", ()),
    ("4.4 nor did a client error", "POST", 404, "", ()),
    ("4.4 a redirect is no error", "POST", 303, "Location: /b", (A, "http://example.org/b")),
    ("4.4 Content-Location", "PUT", 200, "Content-Location: c?x=1", (A, "http://example.org/c?x=1")),
    ("4.4 both", "POST", 201, "Location: /b | Content-Location: /c", (A, "http://example.org/b", "http://example.org/c")),
    ("4.4 absolute, same origin", "POST", 201, "Location: http://EXAMPLE.org:80/b", (A, "http://EXAMPLE.org:80/b")),
    ("4.4 another host is not its to invalidate", "POST", 201, "Location: http://other.org/b", (A,)),
    ("4.4 nor another scheme", "POST", 201, "Location: https://example.org/b", (A,)),
    ("4.4 nor another port", "POST", 201, "Location: http://example.org:81/b", (A,)),
    ("4.4 nor a network path", "POST", 201, "Location: //other.org/b", (A,)),
    ("4.4 without fragment", "POST", 201, "Location: /b#x", (A, "http://example.org/b")),
    ("4.4 the target itself once", "POST", 201, "Content-Location: /a", (A,)),
    ("4.4 what is no URL", "POST", 201, "Location: http://[ | Content-Location: http://example.org:x/", (A,)),
]  # fmt: skip


@pytest.mark.parametrize(("method", "status", "text", "expected"), [case[1:] for case in URLS], ids=[case[0] for case in URLS])
def test_invalidated_urls(method: str, status: int, text: str, expected: tuple[str, ...]) -> None:
    assert invalidated_urls(request(method=method), response(text, status)) == expected


GROUPS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("9875 3 after an unsafe method", "POST", 'Cache-Group-Invalidation: "a", "b c"', ("a", "b c")),
    ("9875 3 never after a safe one", "GET", 'Cache-Group-Invalidation: "a"', ()),
    ("9875 3 parameters mean nothing", "POST", 'Cache-Group-Invalidation: "a";x=1', ("a",)),
    ("9875 3 only strings", "POST", 'Cache-Group-Invalidation: "a", b', ()),
    ("9875 3 malformed", "POST", 'Cache-Group-Invalidation: "a', ()),
    ("9875 3 absent", "POST", "", ()),
]


@pytest.mark.parametrize(("method", "text", "expected"), [case[1:] for case in GROUPS], ids=[case[0] for case in GROUPS])
def test_invalidated_groups(method: str, text: str, expected: tuple[str, ...]) -> None:
    assert invalidated_groups(request(method=method), response(text)) == expected
