"""Asking the origin whether a stored response is still good, and what its answer changes (RFC 9111 sections 3.2 and 4.3).

Owns: the conditions sent, and the fields of a refreshed response. Must not evaluate the client's own conditions: that is
`preconditions`.
"""

from edgeproxy.caching.freshness import initial_age
from edgeproxy.caching.model import StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.wire.dates import format_http_date, parse_http_date
from edgeproxy.wire.etags import weak_match
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import ResponseHead

_NEVER_UPDATED = frozenset(
    # what frames or describes the body that is stored, and names it
    {"content-length", "content-encoding", "content-range", "content-md5", "content-digest", "repr-digest", "digest", "etag"}
    # what section 3.1 keeps out of the store
    | {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authenticate", "proxy-authentication-info", "proxy-authorization"}
    # written anew from the exchange itself
    | {"age"}
)


def conditions(stored: StoredResponse) -> Fields:
    """The fields that make a request conditional on `stored`, its validators as received;

    Empty when it has none (section 4.3.1).
    """
    known: Fields | None = stored.memo.get("conditions")
    if known is None:
        lines = []
        etag = stored.fields.all("etag")
        modified = stored.fields.all("last-modified")
        if len(etag) == 1 and etag[0]:
            lines.append(("If-None-Match", etag[0]))
        if len(modified) == 1 and parse_http_date(modified[0]) is not None:
            lines.append(("If-Modified-Since", modified[0]))
        known = stored.memo["conditions"] = Fields(lines)
    return known


def selects(stored: StoredResponse, response: ResponseHead) -> bool:
    """Whether the 304 `response` to `conditions(stored)` speaks of `stored` (section 4.3.4).

    A tag was asked about: only it can have matched (RFC 9110 section 13.1.2), whatever tag the 304 then carries. Origins behind a
    compressing module name the tag of another coding there. A date was asked about: a 304 with another date contradicts itself.
    """
    asked = conditions(stored)
    if response.status != 304 or not len(asked):
        return False
    if "if-none-match" in asked:
        return True
    modified = response.fields.get("last-modified")
    return modified is None or modified == stored.fields.get("last-modified")


def freshened(stored: StoredResponse, response: ResponseHead, request_time: Instant, response_time: Instant) -> Fields:
    """The fields of `stored` after a 304, or a matching 200 to HEAD, freshened it (sections 3.2 and 4.3.4).

    Every field of `response` replaces the stored one, except those that belong to the stored body. Date is the new one, Age
    the new corrected initial age. Set-Cookie is taken only where the stored response was allowed to have one.
    """
    unchanged = _NEVER_UPDATED
    if "set-cookie" not in stored.fields:
        unchanged |= {"set-cookie"}
    connection = response.fields.get("connection")
    if connection:
        unchanged |= {name.strip().lower() for name in connection.split(",")}
    new = response.fields.without(unchanged)
    if "date" not in new:
        new = new.plus(("Date", format_http_date(response_time // 1000)))
    age = initial_age(response.fields, request_time, response_time)
    if age:
        new = new.plus(("Age", str(age)))
    return Fields((*stored.fields.without(new.names() | {"age"}), *new))


def head_invalidates(stored: StoredResponse, response: ResponseHead) -> bool:
    """Whether a 200 to HEAD shows that the origin's representation is another one than `stored` (section 4.3.5)."""
    if response.status != 200:
        return False
    fields, known = response.fields, stored.fields
    etag, known_etag = fields.get("etag"), known.get("etag")
    if etag is not None and (known_etag is None or not (etag == known_etag or weak_match(etag, known_etag))):
        return True
    modified = fields.get("last-modified")
    if modified is not None and modified != known.get("last-modified"):
        return True
    length = fields.get("content-length")
    if length is None or "content-encoding" in fields or "content-encoding" in known:
        return False
    return length != known.get("content-length") and length != str(stored.length)
