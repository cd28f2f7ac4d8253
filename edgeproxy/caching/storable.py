"""Whether a response may be stored, and which of its fields (RFC 9111 sections 3, 3.1 and 3.5, and the edge's own defaults).

Owns: that decision. Must not decide how long it is fresh (`freshness`) or how it is used (`plan`).
"""

from urllib.parse import urljoin

from edgeproxy.caching.directives import Directives, request_directives, response_directives
from edgeproxy.caching.freshness import HEURISTIC_STATUSES, explicit_lifetime, freshness, initial_age
from edgeproxy.caching.model import Policy, Reason, StoredResponse
from edgeproxy.caching.vary import vary_names
from edgeproxy.clock import Instant
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request, ResponseHead

UNDERSTOOD_STATUSES = frozenset(
    {
        200,
        203,
        204,
        300,
        301,
        302,
        303,
        307,
        308,
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        407,
        408,
        409,
        410,
        411,
        412,
        413,
        414,
        415,
        417,
        421,
        422,
        426,
    }
    | {500, 501, 502, 503, 504, 505}
)
"""Statuses whose caching rules this edge knows (RFC 9110 section 15); what `must-understand` asks about."""

GOOD_BELOW = 500
"""A stored response with a status below this is a good copy, which a 5xx never replaces."""

_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authenticate", "proxy-authentication-info", "proxy-authorization"}
)


def storable(
    request: Request, response: ResponseHead, policy: Policy, now: Instant, *, replaces: StoredResponse | None = None
) -> Reason:
    """`Reason.STORED`, or why `response` may not be stored. `replaces` is the copy that it would take the place of.

    1. The exchange: method, status, partial content.  2. Prohibitions of either side.  3. What a shared cache must keep out:
    authorization, cookies, Vary: *.  4. Size, and errors over good copies.  5. Something that makes reuse possible.
    """
    directives = response_directives(response.fields, policy.targets)
    return (
        _exchange_forbids(request, response, directives, policy, now)
        or _directives_forbid(request, response, directives)
        or _sharing_forbids(request, response.fields, directives, policy)
        or _copy_forbids(response, policy, replaces)
        or _reuse(request, response, directives, policy, now)
    )


def _exchange_forbids(
    request: Request, response: ResponseHead, directives: Directives, policy: Policy, now: Instant
) -> Reason | None:
    if request.method == "POST":
        # RFC 9110 section 9.3.3: the answer is then also the representation that GET would find
        fresh = 200 <= response.status < 300 and explicit_lifetime(response.fields, now, policy)
        if not fresh or not _is_located_at(request.url, response.fields.get("content-location")):
            return Reason.METHOD
    elif request.method != "GET":
        return Reason.METHOD
    if response.status in (206, 416):
        return Reason.PARTIAL
    if response.status < 200 or response.status == 304:
        return Reason.STATUS_NOT_UNDERSTOOD
    if (response.fields.get("content-type") or "").partition(";")[0].strip().lower() == "text/event-stream":
        # What one subscriber heard is no answer for the next, who begins now (HTML standard, section 9.2).
        return Reason.EVENT_STREAM
    if directives.must_understand and response.status not in UNDERSTOOD_STATUSES:
        return Reason.STATUS_NOT_UNDERSTOOD
    return None


def _is_located_at(url: str, content_location: str | None) -> bool:
    if content_location is None:
        return False
    try:
        return urljoin(url, content_location.strip()) == url
    except ValueError:
        return False


def _directives_forbid(request: Request, response: ResponseHead, directives: Directives) -> Reason | None:
    if request_directives(request.fields).no_store:
        return Reason.NO_STORE
    if directives.no_store and not directives.must_understand:
        # must-understand lets a cache that knows the status ignore no-store (section 5.2.2.3)
        return Reason.NO_STORE
    return Reason.PRIVATE if directives.private else None


def _sharing_forbids(request: Request, fields: Fields, directives: Directives, policy: Policy) -> Reason | None:
    if "authorization" in request.fields:
        permitted = directives.public or directives.must_revalidate or directives.s_maxage is not None
        if not permitted:
            return Reason.AUTHORIZATION
    if "set-cookie" in fields and not policy.store_set_cookie and "set-cookie" not in directives.unlisted:
        return Reason.SET_COOKIE
    return Reason.VARY_STAR if vary_names(fields) is None else None


def _copy_forbids(response: ResponseHead, policy: Policy, replaces: StoredResponse | None) -> Reason | None:
    length = response.fields.get("content-length")
    if length is not None and length.isascii() and length.isdigit() and int(length[:20]) > policy.max_object:
        return Reason.TOO_LARGE
    if replaces is not None and response.status >= GOOD_BELOW > replaces.status:
        return Reason.SERVER_ERROR
    return None


def _reuse(request: Request, response: ResponseHead, directives: Directives, policy: Policy, now: Instant) -> Reason:
    fields = response.fields
    has_validator = "etag" in fields or "last-modified" in fields
    lifetime = explicit_lifetime(fields, now, policy)
    if not lifetime and "cookie" in request.fields and "last-modified" not in fields and not directives.public:
        # Generated for one visitor, by the look of it: neither a promise of freshness nor a date such as files have. It must
        # never stand in for another visitor's page when the origin fails.
        return Reason.NO_FRESHNESS if lifetime is None else Reason.ALREADY_STALE
    if lifetime is None:
        if response.status not in HEURISTIC_STATUSES and not directives.public:
            return Reason.NO_FRESHNESS
        return Reason.STORED if has_validator or policy.default_ttl is not None else Reason.NO_FRESHNESS
    if has_validator or policy.override:
        return Reason.STORED
    if directives.no_cache:
        return Reason.NO_CACHE
    if lifetime <= initial_age(fields, now, now) and forbids_stale(directives):
        return Reason.ALREADY_STALE
    return Reason.STORED


def forbids_stale(directives: Directives) -> bool:
    """Whether these directives forbid reuse while stale in every case (section 4.2.4).

    s-maxage implies proxy-revalidate (section 5.2.2.10), but an origin that adds one of RFC 5861's directives to it says what
    it wants.
    """
    if directives.must_revalidate or directives.proxy_revalidate or directives.no_cache:
        return True
    permitted = directives.stale_if_error is not None or directives.stale_while_revalidate is not None
    return directives.s_maxage is not None and not permitted


def is_only_validated(stored: StoredResponse, policy: Policy) -> bool:
    """Whether nobody ever gets `stored` before the origin was asked on his behalf: `no-cache`, or stale when it came and never to
    be used stale.

    It may be one visitor's own page, which the origin gives to nobody else: such an answer to credentials is stored for its
    `must-revalidate` (section 3.5). `public` says that it is not, and `policy.override` that the operator knows better.
    """
    found = freshness(stored, policy)
    if found.directives.public or policy.override:
        return False
    return found.directives.no_cache or (found.fresh_until <= stored.response_time and forbids_stale(found.directives))


def kept_fields(fields: Fields, policy: Policy) -> Fields:
    """The fields that may be stored (section 3.1), less those that `no-cache="…"` and `private="…"` list."""
    drop = _CONNECTION | response_directives(fields, policy.targets).unlisted
    connection = fields.get("connection")
    if connection:
        drop |= {name.strip().lower() for name in connection.split(",")}
    return fields.without(drop)


def stored_fields(fields: Fields, request_time: Instant, response_time: Instant, policy: Policy) -> Fields:
    """The fields as they go into a stored head:

    `kept_fields`, a Date in any case, and Age as the corrected initial age (none when 0).
    """
    kept = kept_fields(fields, policy).without(frozenset({"age"}))
    if "date" not in kept:
        kept = kept.plus(("Date", format_http_date(response_time // 1000)))
    age = initial_age(fields, request_time, response_time)
    return kept.plus(("Age", str(age))) if age else kept
