"""RFC 9110 sections 13 (conditional requests) and 14 (ranges), RFC 9111 section 4.3.2."""

import pytest

from edgeproxy.caching.preconditions import Answer, NotModified, Partial, Unsatisfiable, Whole, evaluate, is_failed
from edgeproxy.wire.dates import parse_http_date
from tests.support.caching import NOW, fields, http_date, request

LONG_AGO = http_date(-3000)


def rfc850(offset: int) -> str:
    days = {"Mon": "Monday", "Tue": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday"}
    day, date, month, year, clock, _ = http_date(offset).replace(",", "").split()
    return f"{days.get(day, 'Sunday')}, {date}-{month}-{year[2:]} {clock} GMT"


# rule, request fields, entity tag, Last-Modified, answer; the body has 11 bytes
CASES: list[tuple[str, str, str | None, str | None, Answer]] = [
    ("13 no condition", "", '"a"', None, Whole()),
    ("13.1.2 a matching tag", 'If-None-Match: "a"', '"a"', None, NotModified()),
    ("13.1.2 another tag", 'If-None-Match: "b"', '"a"', None, Whole()),
    ("13.1.2 the first of several", 'If-None-Match: "a", "b", "c"', '"a"', None, NotModified()),
    ("13.1.2 the middle of several", 'If-None-Match: "b", "a", "c"', '"a"', None, NotModified()),
    ("13.1.2 the last of several lines", 'If-None-Match: "b" | If-None-Match: "a"', '"a"', None, NotModified()),
    ("13.1.2 weak comparison", 'If-None-Match: W/"a"', '"a"', None, NotModified()),
    ("13.1.2 a weak tag", 'If-None-Match: W/"a"', 'W/"a"', None, NotModified()),
    ("13.1.2 * matches what exists", "If-None-Match: *", None, None, NotModified()),
    ("13.1.2 no tag stored", 'If-None-Match: "a"', None, None, Whole()),
    ("13.1.2 a malformed tag, as it was received", "If-None-Match: abc", "abc", None, NotModified()),
    ("13.1.2 a comma in a tag", 'If-None-Match: "a,b"', '"a,b"', None, NotModified()),
    ("13.1.3 the same date", f"If-Modified-Since: {LONG_AGO}", None, LONG_AGO, NotModified()),
    ("13.1.3 modified before", f"If-Modified-Since: {http_date(-2000)}", None, LONG_AGO, NotModified()),
    ("13.1.3 modified after", f"If-Modified-Since: {http_date(-4000)}", None, LONG_AGO, Whole()),
    ("13.1.3 a date in the future", f"If-Modified-Since: {http_date(1)}", None, LONG_AGO, Whole()),
    ("13.1.3 a date in the future that the origin gave", f"If-Modified-Since: {http_date(9)}", None, http_date(9), NotModified()),
    ("13.1.3 an obsolete format", f"If-Modified-Since: {rfc850(-3000)}", None, LONG_AGO, NotModified()),
    ("13.1.3 no date", "If-Modified-Since: yesterday", None, LONG_AGO, Whole()),
    ("13.1.3 ignored beside If-None-Match", f'If-None-Match: "b" | If-Modified-Since: {http_date(0)}', '"a"', LONG_AGO, Whole()),
    ("13.1.3 ignored beside If-None-Match that matches", f'If-None-Match: "a" | If-Modified-Since: {http_date(-9999)}', '"a"',
     LONG_AGO, NotModified()),
    ("9111 4.3.2 without Last-Modified, Date counts", f"If-Modified-Since: {http_date(0)}", None, None, NotModified()),
    ("9111 4.3.2 without Last-Modified, and Date is later", f"If-Modified-Since: {LONG_AGO}", None, None, Whole()),
    ("14.2 a range", "Range: bytes=0-1", None, None, Partial(((0, 1),))),
    ("14.2 an open range", "Range: bytes=1-", None, None, Partial(((1, 10),))),
    ("14.2 a suffix", "Range: bytes=-1", None, None, Partial(((10, 10),))),
    ("14.2 several ranges", "Range: bytes=0-1,4-5", None, None, Partial(((0, 1), (4, 5)))),
    ("14.2 beyond the end", "Range: bytes=11-", None, None, Unsatisfiable()),
    ("14.2 a unit that is not known", "Range: lines=1-2", None, None, Whole()),
    ("14.2 malformed", "Range: bytes=5-1", None, None, Whole()),
    ("13.2.2 304 comes before 206", 'Range: bytes=0-1 | If-None-Match: "a"', '"a"', None, NotModified()),
    ("13.2.2 206 when the condition holds", 'Range: bytes=0-1 | If-None-Match: "b"', '"a"', None, Partial(((0, 1),))),
    ("13.1.5 If-Range with the tag", 'Range: bytes=0-1 | If-Range: "a"', '"a"', None, Partial(((0, 1),))),
    ("13.1.5 If-Range with another tag", 'Range: bytes=0-1 | If-Range: "b"', '"a"', None, Whole()),
    ("13.1.5 If-Range with a weak tag", 'Range: bytes=0-1 | If-Range: W/"a"', 'W/"a"', None, Whole()),
    ("13.1.5 If-Range with the date", f"Range: bytes=0-1 | If-Range: {LONG_AGO}", None, LONG_AGO, Partial(((0, 1),))),
    ("13.1.5 If-Range with a later date", f"Range: bytes=0-1 | If-Range: {http_date(-2000)}", None, LONG_AGO, Whole()),
    ("13.1.5 If-Range with a date that is not strong", f"Range: bytes=0-1 | If-Range: {http_date(0)}", None, http_date(0),
     Whole()),
    ("13.1.5 If-Range with nothing to compare", f"Range: bytes=0-1 | If-Range: {LONG_AGO}", None, None, Whole()),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "etag", "modified", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_evaluate(asked: str, etag: str | None, modified: str | None, expected: Answer) -> None:
    found = evaluate(request(asked), status=200, etag=etag, last_modified=modified, length=11, now=NOW, date=http_date(0))
    assert found == expected


OTHERS = [
    ("13.2.1 conditions are not for errors", "GET", 404, 'If-None-Match: "a"', Whole()),
    ("13.2.1 nor for redirects", "GET", 301, 'If-None-Match: "a"', Whole()),
    ("13.2.1 but for any success", "GET", 203, 'If-None-Match: "a"', NotModified()),
    ("13.1.2 HEAD", "HEAD", 200, 'If-None-Match: "a"', NotModified()),
    ("14.2 ranges are not for HEAD", "HEAD", 200, "Range: bytes=0-1", Whole()),
    ("14.2 nor for other statuses", "GET", 203, "Range: bytes=0-1", Whole()),
    ("13.2.1 nor for other methods", "POST", 200, 'If-None-Match: "a"', Whole()),
]


@pytest.mark.parametrize(
    ("method", "status", "asked", "expected"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS]
)
def test_methods_and_statuses(method: str, status: int, asked: str, expected: Answer) -> None:
    assert evaluate(request(asked, method=method), status=status, etag='"a"', last_modified=None, length=11, now=NOW) == expected


def test_the_table_writes_rfc_850_dates_as_meant() -> None:
    assert parse_http_date(rfc850(-3000)) == parse_http_date(LONG_AGO)
    assert fields("a: {-3000}").get("a") == LONG_AGO


FAILED = [
    ("13.1.1 no tag matches", 'If-Match: "b"', '"a"', None, True),
    ("13.1.1 one does", 'If-Match: "b", "a"', '"a"', None, False),
    ("13.1.1 by strong comparison", 'If-Match: W/"a"', 'W/"a"', None, True),
    ("13.1.1 anything that exists", "If-Match: *", None, None, False),
    ("13.1.1 nothing to match", 'If-Match: "a"', None, None, True),
    ("13.1.4 modified since", "If-Unmodified-Since: {-10}", None, http_date(-5), True),
    ("13.1.4 not modified since", "If-Unmodified-Since: {-10}", None, http_date(-10), False),
    ("13.1.4 not known when", "If-Unmodified-Since: {-10}", None, None, False),
    ("13.1.4 no date", "If-Unmodified-Since: yesterday", None, http_date(-5), False),
    ("13.2.2 a tag counts before a date", 'If-Match: "a" | If-Unmodified-Since: {-10}', '"a"', http_date(-5), False),
    ("nothing was asked", "", '"a"', http_date(-5), False),
]


@pytest.mark.parametrize(("asked", "etag", "modified", "failed"), [case[1:] for case in FAILED], ids=[case[0] for case in FAILED])
def test_preconditions_of_the_origin(asked: str, etag: str | None, modified: str | None, failed: bool) -> None:
    assert is_failed(request(asked), status=200, etag=etag, last_modified=modified) is failed
    assert not is_failed(request(asked), status=404, etag=etag, last_modified=modified)
