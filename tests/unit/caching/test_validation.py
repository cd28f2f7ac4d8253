"""RFC 9111 sections 3.2 (updating fields), 4.3.1 (conditions), 4.3.4 (freshening) and 4.3.5 (HEAD)."""

import pytest

from edgeproxy.caching.validation import conditions, freshened, head_invalidates, selects
from edgeproxy.clock import Instant
from tests.support.caching import NOW, after, fields, http_date, response, stored

CONDITIONS = [
    ("4.3.1 both validators", 'ETag: "a" | Last-Modified: {-9}', 'If-None-Match: "a" | If-Modified-Since: {-9}'),
    ("4.3.1 a weak tag as it came", 'ETag: W/"a"', 'If-None-Match: W/"a"'),
    ("4.3.1 a malformed tag as it came", "ETag: abc", "If-None-Match: abc"),
    ("4.3.1 a date that is none is no validator", "Last-Modified: yesterday", ""),
    ("4.3.1 two tags are no validator", 'ETag: "a" | ETag: "b"', ""),
    ("4.3.1 nothing to ask with", "Cache-Control: max-age=1", ""),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CONDITIONS], ids=[case[0] for case in CONDITIONS])
def test_conditions(text: str, expected: str) -> None:
    assert conditions(stored(text)) == fields(expected)


SELECTS = [
    ("4.3.4 same tag", 'ETag: "a"', 304, 'ETag: "a"', True),
    ("4.3.4 no validator in the 304", 'ETag: "a"', 304, "", True),
    ("9110 13.1.2 another tag: only ours was asked about", 'ETag: "a"', 304, 'ETag: "a-gzip"', True),
    ("4.3.4 same date", "Last-Modified: {-9}", 304, "Last-Modified: {-9}", True),
    ("4.3.4 another date", "Last-Modified: {-9}", 304, "Last-Modified: {-3}", False),
    ("4.3.3 a 304 that nobody asked for", "A: 1", 304, "", False),
    ("4.3.3 not a 304", 'ETag: "a"', 200, 'ETag: "a"', False),
]


@pytest.mark.parametrize(
    ("text", "status", "answer", "expected"), [case[1:] for case in SELECTS], ids=[case[0] for case in SELECTS]
)
def test_selects(text: str, status: int, answer: str, expected: bool) -> None:
    assert selects(stored(text), response(answer, status)) is expected


UPDATES = [
    ("3.2 a field that the 304 leaves out stays", "A: 1 | Date: {+0}", "Date: {+10}", "A: 1 | Date: {+10}"),
    ("3.2 a field of the 304 replaces the stored one", "A: 1 | B: 2 | Date: {+0}", "a: 3 | Date: {+10}",
     "B: 2 | a: 3 | Date: {+10}"),
    ("3.2 all its lines", "A: 1 | A: 2 | Date: {+0}", "A: 3 | Date: {+10}", "A: 3 | Date: {+10}"),
    ("3.2 a field that is new is added", "Date: {+0}", "A: 3 | Date: {+10}", "A: 3 | Date: {+10}"),
    ("4.3.4 no Date in the 304: the time it came", "Date: {+0}", "A: 3", f"A: 3 | Date: {http_date(10)}"),
    ("4.2.3 the stored Age is over", "Age: 50 | Date: {+0}", "Date: {+10}", "Date: {+10}"),
    ("4.2.3 the 304 has an Age", "Age: 50 | Date: {+0}", "Date: {+10} | Age: 7", "Date: {+10} | Age: 7"),
    ("3.1 what Connection names is not taken", "A: 1 | Date: {+0}", "Connection: a | A: 2 | Date: {+10}", "A: 1 | Date: {+10}"),
    ("default: a cookie does not slip in", "A: 1 | Date: {+0}", "Set-Cookie: a=b | Date: {+10}", "A: 1 | Date: {+10}"),
    ("3.2 a cookie that was stored is updated", "Set-Cookie: a=b | Date: {+0}", "Set-Cookie: a=c | Date: {+10}",
     "Set-Cookie: a=c | Date: {+10}"),
    *[(f"3.2 {name} belongs to the stored body", f"{name}: old | Date: {{+0}}", f"{name}: new | Date: {{+10}}",
       f"{name}: old | Date: {{+10}}")
      for name in ("Content-Length", "Content-Encoding", "Content-Range", "Content-MD5", "ETag", "Repr-Digest",
                   "Content-Digest")],
    *[(f"3.2 {name} is updated", f"{name}: old | Date: {{+0}}", f"{name}: new | Date: {{+10}}", f"{name}: new | Date: {{+10}}")
      for name in ("Cache-Control", "Content-Type", "Content-Location", "Expires", "Content-Security-Policy", "X-Frame-Options",
                   "Clear-Site-Data", "Last-Modified", "Content-Foo", "Public-Key-Pins", "Set-Cookie2")],
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in UPDATES], ids=[case[0] for case in UPDATES])
def test_freshened(old: str, new: str, expected: str) -> None:
    assert sorted(freshened(stored(old), response(new, 304), after(10), after(10))) == sorted(fields(expected))


def test_freshened_counts_the_time_that_validation_took() -> None:
    found = freshened(stored("Date: {+0}"), response("Date: {+0} | Age: 4", 304), Instant(NOW - 3000), NOW)
    assert found.get("age") == "7"


HEADS = [
    (
        "4.3.5 nothing differs",
        'ETag: "a" | Last-Modified: {-9}',
        200,
        'ETag: "a" | Last-Modified: {-9} | Content-Length: 10',
        False,
    ),
    ("4.3.5 what HEAD leaves out is no difference", 'ETag: "a"', 200, "Cache-Control: max-age=9", False),
    ("4.3.5 another tag", 'ETag: "a"', 200, 'ETag: "b"', True),
    ("4.3.5 the same tag, weak", 'ETag: "a"', 200, 'ETag: W/"a"', False),
    ("4.3.5 a tag where there was none", "A: 1", 200, 'ETag: "b"', True),
    ("4.3.5 another date", "Last-Modified: {-9}", 200, "Last-Modified: {-3}", True),
    ("4.3.5 another length", "A: 1", 200, "Content-Length: 11", True),
    ("4.3.5 the length of another coding says nothing", "A: 1", 200, "Content-Length: 5 | Content-Encoding: gzip", False),
    ("4.3.5 only a 200", 'ETag: "a"', 410, 'ETag: "b"', False),
]


@pytest.mark.parametrize(("text", "status", "answer", "expected"), [case[1:] for case in HEADS], ids=[case[0] for case in HEADS])
def test_head_invalidates(text: str, status: int, answer: str, expected: bool) -> None:
    assert head_invalidates(stored(text, length=10), response(answer, status)) is expected
