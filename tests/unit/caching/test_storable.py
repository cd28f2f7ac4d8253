"""RFC 9111 section 3 (storing), 3.1 (fields), 3.5 (authenticated requests), and the edge's own defaults."""

import pytest

from edgeproxy.caching.freshness import HEURISTIC_STATUSES
from edgeproxy.caching.model import Policy, Reason
from edgeproxy.caching.storable import kept_fields, storable, stored_fields
from edgeproxy.clock import Instant
from tests.support.caching import NOW, POLICY, fields, http_date, request, response, stored

R = Reason
FRESH = "Cache-Control: max-age=60"
CASES = [
    ("3 explicit freshness", "", FRESH, 200, R.STORED),
    ("3 Expires is explicit freshness", "", "Expires: {+60}", 200, R.STORED),
    ("3 neither freshness nor a validator", "", "Content-Type: text/html", 200, R.NO_FRESHNESS),
    ("3 a validator and a status that may be heuristically fresh", "", 'ETag: "a"', 200, R.STORED),
    ("3 Last-Modified and such a status", "", "Last-Modified: {-100}", 404, R.STORED),
    ("3 a validator alone is not enough for another status", "", "Last-Modified: {-100}", 201, R.NO_FRESHNESS),
    ("4.2.2 public and a validator are", "", "Cache-Control: public | Last-Modified: {-100}", 599, R.STORED),
    ("3 no-cache is stored when it can be validated", "", 'Cache-Control: no-cache | ETag: "a"', 200, R.STORED),
    ("3 no-cache without a validator is of no use", "", "Cache-Control: max-age=60, no-cache", 200, R.NO_CACHE),
    ("3 stale at once, but good when the origin fails", "", "Cache-Control: max-age=0", 200, R.STORED),
    ("3 stale at once and never usable stale", "", "Cache-Control: max-age=0, must-revalidate", 200, R.ALREADY_STALE),
    ("3 stale by its Age and never usable stale", "", "Cache-Control: s-maxage=60 | Age: 70", 200, R.ALREADY_STALE),
    ("5861 stale at once, with stale-if-error", "", "Cache-Control: s-maxage=0, stale-if-error=9", 200, R.STORED),
    ("3 stale at once with a validator", "", 'Cache-Control: max-age=0, must-revalidate | ETag: "a"', 200, R.STORED),
    *[(f"3 explicit freshness makes {status} storable", "", FRESH, status, R.STORED)
      for status in (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599)],
    ("3 only final statuses", "", FRESH, 103, R.STATUS_NOT_UNDERSTOOD),
    ("3 a 304 is nothing to store", "", FRESH, 304, R.STATUS_NOT_UNDERSTOOD),
    ("3.4 partial content is not stored", "", f"{FRESH} | Content-Range: bytes 0-4/10", 206, R.PARTIAL),
    ("3.4 nor what a Range request got instead", "", FRESH, 416, R.PARTIAL),
    ("9110 14.4 Content-Range means nothing in a 200", "", f"{FRESH} | Content-Range: x", 200, R.STORED),
    ("5.2.2.3 must-understand, not understood", "", "Cache-Control: max-age=60, must-understand", 599, R.STATUS_NOT_UNDERSTOOD),
    ("5.2.2.3 must-understand, understood", "", "Cache-Control: max-age=60, must-understand, no-store", 200, R.STORED),
    ("5.2.1.5 no-store in the request", "Cache-Control: no-store", FRESH, 200, R.NO_STORE),
    ("5.2.2.5 no-store in the response", "", "Cache-Control: max-age=60, no-store", 200, R.NO_STORE),
    ("5.2.2.7 private", "", "Cache-Control: private, max-age=60", 200, R.PRIVATE),
    ("5.2.2.7 private with names keeps the rest", "", 'Cache-Control: private="x-user", max-age=60', 200, R.STORED),
    ("3.5 Authorization", "Authorization: x", FRESH, 200, R.AUTHORIZATION),
    ("3.5 Authorization with Expires", "Authorization: x", "Expires: {+60}", 200, R.AUTHORIZATION),
    ("3.5 Authorization and public", "Authorization: x", "Cache-Control: max-age=60, public", 200, R.STORED),
    ("3.5 Authorization and must-revalidate", "Authorization: x", "Cache-Control: max-age=60, must-revalidate", 200, R.STORED),
    ("3.5 Authorization and s-maxage", "Authorization: x", "Cache-Control: s-maxage=60", 200, R.STORED),
    ("default: Set-Cookie", "", f"{FRESH} | Set-Cookie: a=b", 200, R.SET_COOKIE),
    ("5.2.2.4 Set-Cookie that no-cache lists is left out", "",
     'Cache-Control: max-age=60, no-cache="Set-Cookie" | Set-Cookie: a=b', 200, R.STORED),
    ("4.1 Vary: *", "", f"{FRESH} | Vary: accept | Vary: foo, *", 200, R.VARY_STAR),
    ("default: a visitor's page without explicit freshness", "Cookie: a=b", 'ETag: "a"', 200, R.NO_FRESHNESS),
    ("default: a visitor's page that is stale at once", "Cookie: a=b", "Cache-Control: max-age=0", 200, R.ALREADY_STALE),
    ("default: a file, though asked for with a cookie", "Cookie: a=b", "Last-Modified: {-100}", 200, R.STORED),
    ("default: a cookie beside explicit freshness", "Cookie: a=b", FRESH, 200, R.STORED),
    ("default: a cookie beside public", "Cookie: a=b", 'Cache-Control: public | ETag: "a"', 200, R.STORED),
    ("default: too large", "", f"{FRESH} | Content-Length: {1 << 40}", 200, R.TOO_LARGE),
    ("9213 the targeted field decides", "", "CDN-Cache-Control: max-age=60 | Cache-Control: no-store", 200, R.STORED),
    ("default: an event stream is for one subscriber", "", f"{FRESH} | Content-Type: Text/Event-Stream;charset=utf-8", 200,
     R.EVENT_STREAM),
    ("9213 the targeted field forbids", "", "CDN-Cache-Control: no-store | Cache-Control: max-age=60", 200, R.NO_STORE),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "text", "status", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_storable(asked: str, text: str, status: int, expected: Reason) -> None:
    assert storable(request(asked), response(text, status), POLICY, NOW) is expected


METHODS = [
    ("9110 9.3.2 HEAD has nothing to store", "HEAD", f"{FRESH}", 200, R.METHOD),
    ("9110 9.3.4 PUT", "PUT", f"{FRESH} | Content-Location: /a", 200, R.METHOD),
    ("9110 9.3.3 POST", "POST", FRESH, 200, R.METHOD),
    ("9110 9.3.3 POST of the page itself, explicitly fresh", "POST", "Expires: {+60} | Content-Location: /a", 200, R.STORED),
    ("9110 9.3.3 POST, absolute Content-Location", "POST", f"{FRESH} | Content-Location: http://example.org/a", 200, R.STORED),
    ("9110 9.3.3 POST of another page", "POST", f"{FRESH} | Content-Location: /b", 200, R.METHOD),
    ("9110 9.3.3 POST without explicit freshness", "POST", "Content-Location: /a | Last-Modified: {-100}", 200, R.METHOD),
    ("9110 9.3.3 POST that failed", "POST", f"{FRESH} | Content-Location: /a", 404, R.METHOD),
    ("9110 9.3.3 POST that offers a choice", "POST", f"{FRESH} | Content-Location: /a", 300, R.METHOD),
    ("9110 9.3.3 POST with a location that is none", "POST", f"{FRESH} | Content-Location: http://[", 200, R.METHOD),
]


@pytest.mark.parametrize(
    ("method", "text", "status", "expected"), [case[1:] for case in METHODS], ids=[case[0] for case in METHODS]
)
def test_methods(method: str, text: str, status: int, expected: Reason) -> None:
    assert storable(request(method=method), response(text, status), POLICY, NOW) is expected


def test_set_cookie_is_stored_when_configured() -> None:
    assert storable(request(), response(f"{FRESH} | Set-Cookie: a=b"), Policy(store_set_cookie=True), NOW) is R.STORED


@pytest.mark.parametrize(("length", "expected"), [("100", R.STORED), ("101", R.TOO_LARGE), ("x", R.STORED)])
def test_the_largest_object(length: str, expected: Reason) -> None:
    found = storable(request(), response(f"{FRESH} | Content-Length: {length}"), Policy(max_object=100), NOW)
    assert found is expected


def test_default_ttl_makes_a_response_storable_but_not_an_error() -> None:
    policy = Policy(default_ttl=10)
    assert storable(request(), response(), policy, NOW) is R.STORED
    assert storable(request(), response(status=500), policy, NOW) is R.NO_FRESHNESS


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [(200, 500, R.SERVER_ERROR), (404, 503, R.SERVER_ERROR), (500, 503, R.STORED), (500, 200, R.STORED), (200, 404, R.STORED)],
)
def test_an_error_never_replaces_a_good_copy(old: int, new: int, expected: Reason) -> None:
    assert storable(request(), response(FRESH, new), POLICY, NOW, replaces=stored(FRESH, old)) is expected


def test_206_is_heuristic_by_the_rfc_and_still_not_stored() -> None:
    assert 206 in HEURISTIC_STATUSES
    assert storable(request(), response("Last-Modified: {-100}", 206), POLICY, NOW) is R.PARTIAL


KEPT = [
    ("3.1 what Connection names", "Connection: a, B | a: 1 | b: 2 | c: 3", "c: 3"),
    ("3.1 the fields of one connection", "Keep-Alive: x | TE: x | Upgrade: x | Transfer-Encoding: x | c: 3", "c: 3"),
    ("3.1 the fields of one proxy", "Proxy-Authenticate: x | Proxy-Authentication-Info: x | Proxy-Authorization: x | c: 3",
     "c: 3"),
    ("5.2.2.4 what no-cache lists", 'Cache-Control: no-cache="a" | a: 1 | b: 2', 'Cache-Control: no-cache="a" | b: 2'),
    ("5.2.2.7 what private lists", 'Cache-Control: private="A, b" | a: 1 | b: 2 | c: 3', 'Cache-Control: private="A, b" | c: 3'),
    ("3.1 all else, also what nobody knows", "Set-Cookie2: a | Content-Foo: b | Clear-Site-Data: c | Public-Key-Pins: d",
     "Set-Cookie2: a | Content-Foo: b | Clear-Site-Data: c | Public-Key-Pins: d"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in KEPT], ids=[case[0] for case in KEPT])
def test_kept_fields(text: str, expected: str) -> None:
    assert kept_fields(fields(text), POLICY) == fields(expected)


def test_a_stored_head_tells_its_age_and_date() -> None:
    found = stored_fields(fields("Age: 5 | A: 1"), Instant(NOW - 2000), NOW, POLICY)
    assert found == fields(f"A: 1 | Date: {http_date()} | Age: 7")


def test_a_stored_head_keeps_the_origins_date_and_no_age_of_zero() -> None:
    assert stored_fields(fields("Date: {+0} | A: 1"), NOW, NOW, POLICY) == fields("Date: {+0} | A: 1")
