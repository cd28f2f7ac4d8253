"""The client's conditions and ranges, evaluated against a whole stored response (RFC 9110 sections 13 and 14, RFC 9111 section
4.3.2).

Owns: whether the answer is whole, 304, 206 or 416. Must not decide whether the stored response may be used at all: that is
`plan`.
"""

from dataclasses import dataclass

from edgeproxy.clock import Instant
from edgeproxy.wire.dates import parse_http_date
from edgeproxy.wire.etags import parse_etag_list, strong_match, weak_match
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from edgeproxy.wire.ranges import parse_range


@dataclass(frozen=True, slots=True)
class Whole:
    """Send the stored response with its own status."""


@dataclass(frozen=True, slots=True)
class NotModified:
    """Send 304: the client has it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Send 206 with these byte ranges, (first, last) inclusive."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Send 416 with `Content-Range: bytes */length`."""


Answer = Whole | NotModified | Partial | Unsatisfiable

WHOLE = Whole()
NOT_MODIFIED = NotModified()
UNSATISFIABLE = Unsatisfiable()

_CONDITIONAL = ("if-none-match", "if-modified-since", "range")


def evaluate(
    request: Request,
    *,
    status: int,
    etag: str | None,
    last_modified: str | None,
    length: int,
    now: Instant,
    date: str | None = None,
) -> Answer:
    """What to send of a response with `status` whose body has `length` bytes; the validators are those of the form to be sent.

    `date` is its Date field. In the order of RFC 9110 section 13.2.2: If-None-Match, else If-Modified-Since; then Range with
    If-Range, for GET on a 200 only. Anything but a 2xx is sent whole (section 13.2.1).
    """
    fields = request.fields
    if not any(name in fields for name in _CONDITIONAL) or request.method not in ("GET", "HEAD") or not 200 <= status < 300:
        return WHOLE
    if "if-none-match" in fields:
        if _matches(fields.get("if-none-match") or "", etag):
            return NOT_MODIFIED
    elif "if-modified-since" in fields and _is_unmodified(fields, last_modified, date, now):
        return NOT_MODIFIED
    if request.method != "GET" or status != 200 or "range" not in fields or not _range_applies(fields, etag, last_modified, date):
        return WHOLE
    ranges = parse_range(fields.get("range") or "", length)
    if ranges is None:
        return WHOLE
    return Partial(ranges) if ranges else UNSATISFIABLE


def is_failed(request: Request, *, status: int, etag: str | None, last_modified: str | None) -> bool:
    """Whether If-Match, or without it If-Unmodified-Since, fails (RFC 9110 section 13.2.2): then the origin answers 412, in place
    of a 2xx.

    A cache must not judge them (RFC 9111 section 4.3.2); where a rollback is in force, the edge is no cache but the origin.
    """
    fields = request.fields
    if not 200 <= status < 300:
        return False
    if "if-match" in fields:
        tags = parse_etag_list(fields.get("if-match") or "")
        return tags != "*" and (etag is None or not any(strong_match(tag, etag) for tag in tags))
    since = parse_http_date(fields.get("if-unmodified-since") or "")
    modified = parse_http_date(last_modified or "")
    return since is not None and modified is not None and modified > since


def _matches(value: str, etag: str | None) -> bool:
    """If-None-Match by weak comparison (section 13.1.2); "*" matches anything that exists."""
    tags = parse_etag_list(value)
    if tags == "*":
        return True
    if etag is None:
        return False
    # origins send malformed tags, and clients send them back as they came
    return value.strip() == etag or any(weak_match(tag, etag) for tag in tags)


def _is_unmodified(fields: Fields, last_modified: str | None, date: str | None, now: Instant) -> bool:
    """If-Modified-Since against Last-Modified, or against Date where that is missing (RFC 9111 section 4.3.2).

    A date in the future says nothing about the past, unless it is the very one that the origin gave, its clock being ahead.
    """
    since = parse_http_date(fields.get("if-modified-since") or "")
    modified_text = last_modified if last_modified is not None else date
    if since is None or modified_text is None:
        return False
    modified = parse_http_date(modified_text)
    return modified is not None and modified <= since and (since == modified or since <= now // 1000)


def _range_applies(fields: Fields, etag: str | None, last_modified: str | None, date: str | None) -> bool:
    """If-Range: an entity tag by strong comparison, or exactly the date of a Last-Modified that is strong (section 13.1.5)."""
    value = fields.get("if-range")
    if value is None:
        return True
    value = value.strip()
    if value.endswith('"'):
        return etag is not None and strong_match(value, etag)
    wanted, modified = parse_http_date(value), parse_http_date(last_modified or "")
    if wanted is None or wanted != modified:
        return False
    generated = parse_http_date(date or "")
    # a page can change twice in the second that its Last-Modified names (section 8.8.2.2)
    return generated is None or generated > modified
