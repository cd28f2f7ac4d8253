"""How to answer a request from what is stored (RFC 9111 section 4), and what to do when the origin fails (section 4.2.4, RFC
5861).

Owns: `plan` and `after_failure`, the two decisions of an exchange. They carry nothing out, and evaluate neither `Vary` (`vary`)
nor the client's own conditions and ranges (`preconditions`): those choose the stored response before, and shape the answer
after.
"""

from dataclasses import dataclass

from edgeproxy.caching.directives import Directives, request_directives
from edgeproxy.caching.freshness import current_age, freshness, staleness
from edgeproxy.caching.model import (
    Failure,
    Fetch,
    Mark,
    Pass,
    Plan,
    Policy,
    Reason,
    Refuse,
    Revalidate,
    Serve,
    ServeStale,
    StoredResponse,
)
from edgeproxy.caching.storable import GOOD_BELOW, forbids_stale
from edgeproxy.caching.validation import conditions
from edgeproxy.clock import Instant
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

_ORIGIN_ONLY = ("if-match", "if-unmodified-since")
"""Preconditions that only the origin can judge (RFC 9111 section 4.3.2)."""

_GATEWAY_STATUS = {
    Failure.UNREACHABLE: 502,
    Failure.TIMEOUT: 504,
    Failure.SERVER_ERROR: 502,
    Failure.TRUNCATED: 502,
    Failure.MALFORMED: 502,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What follows from a request head alone; kept in the request's memo. `constrains`: whether fresh alone may not be enough."""

    passes: Reason | None
    directives: Directives
    constrains: bool


def _asked(request: Request) -> _Asked:
    asked: _Asked | None = request.memo.get("asked")
    if asked is None:
        directives = request_directives(request.fields)
        constrains = (
            directives.no_cache or directives.no_store or directives.max_age is not None or directives.min_fresh is not None
        )
        asked = request.memo["asked"] = _Asked(_passes(request), directives, constrains)
    return asked


def _passes(request: Request) -> Reason | None:
    """Why no stored response can answer this request, whatever there is."""
    if request.upgrade is not None and request.upgrade.lower() != "h2c":
        # a client may offer h2c on any request; RFC 9113 section 3.1 has us ignore it
        return Reason.UPGRADE
    if request.method not in ("GET", "HEAD") or request.target == "*":
        return Reason.METHOD
    if request.body_length:
        return Reason.REQUEST_BODY
    return Reason.BYPASS if any(name in request.fields for name in _ORIGIN_ONLY) else None


def plan(
    request: Request,
    stored: StoredResponse | None,
    now: Instant,
    policy: Policy,
    mark: Mark = Mark.NONE,
    *,
    absent: Reason = Reason.MISS,
    pinned: bool = False,
    refused: int = 0,
) -> Plan:
    """How to answer `request` from `stored`, the variant that `Vary` selected, under the ledger's `mark`. Pure; the caller
    carries it out.

    `absent` says why `stored` is None (`Reason.VARY_MISS`, for example). `pinned`: a rollback chose `stored`; `refused`: the
    status that a rollback has for what it covers and did not find. In this order:

    0. A rollback, for a GET or HEAD that a copy can answer: Serve or Refuse. The edge stands for the origin: neither freshness
       nor marks nor what the client asks of caches counts, and preconditions for the origin are the edge's to judge.
    1. An upgrade, a method other than GET and HEAD, a request body, or a precondition for the origin alone: Pass.
    2. The client's no-store: Pass, so that neither side of the exchange touches the store (section 5.2.1.5).
    3. Nothing stored, or purged for good: Fetch (HEAD: Pass, for its answer has no body to keep).
    4. A mark that demands validation, or no-cache in the response: not reusable without the origin (sections 4.4 and 5.2.2.4).
    5. The client's no-cache, max-age and min-fresh: not reusable when it does not fit them (section 5.2.1).
    6. Fresh and not softly purged: Serve.
    7. Stale within the client's max-stale, and nothing forbids it: Serve (sections 4.2.4 and 5.2.1.2).
    8. Stale within the origin's stale-while-revalidate, and nothing forbids it: ServeStale with a refresh (RFC 5861 section 3).
    9. What is left goes to the origin: Revalidate when there is something to validate with, else Fetch. Of a HEAD without
       validators Revalidate has no conditions: the 200 to it is compared with the stored response (section 4.3.5).
    Wherever the origin would be asked (2, 3 and 9) and the client said only-if-cached: Refuse with 504 (section 5.2.1.7).
    """
    asked = _asked(request)
    if (pinned or refused) and asked.passes in (None, Reason.BYPASS):
        return Serve(stored, Reason.ROLLBACK) if pinned and stored is not None else Refuse(refused, Reason.ROLLBACK)
    if asked.passes is not None:
        return Pass(asked.passes)
    wishes = asked.directives
    constrains = asked.constrains and not policy.ignore_client_no_cache
    if constrains and wishes.no_store:
        return Refuse(504, Reason.ONLY_IF_CACHED) if wishes.only_if_cached else Pass(Reason.NO_STORE)
    if stored is None or mark is Mark.GONE:
        return _without_copy(request, wishes, absent if stored is None else Reason.PURGED)
    known = freshness(stored, policy)
    if not constrains and mark is Mark.NONE and now < known.fresh_until and not known.directives.no_cache:
        return Serve(stored, Reason.FRESH if stored.height is not None else Reason.PENDING)
    return _stale_or_doubtful(request, stored, now, policy, mark)


def _without_copy(request: Request, wishes: Directives, reason: Reason) -> Plan:
    if wishes.only_if_cached:
        return Refuse(504, Reason.ONLY_IF_CACHED)
    return Pass(Reason.METHOD) if request.method == "HEAD" else Fetch(reason)


def _stale_or_doubtful(request: Request, stored: StoredResponse, now: Instant, policy: Policy, mark: Mark) -> Plan:
    """Steps 4 to 9 of `plan`."""
    wishes = _asked(request).directives
    directives = freshness(stored, policy).directives
    if mark is Mark.MUST_VALIDATE:
        return _ask_origin(request, stored, Reason.INVALIDATED)
    if directives.no_cache:
        return _ask_origin(request, stored, Reason.NO_CACHE)
    if not policy.ignore_client_no_cache and _is_refused_by(wishes, stored, now, policy):
        return _ask_origin(request, stored, Reason.REQUEST_DIRECTIVE)
    past = staleness(stored, now, policy)
    if mark is Mark.NONE and now < freshness(stored, policy).fresh_until:
        return Serve(stored, Reason.FRESH if stored.height is not None else Reason.PENDING)
    if not forbids_stale(directives):
        if mark is Mark.NONE and wishes.max_stale is not None and past <= wishes.max_stale:
            return Serve(stored, Reason.CLIENT_MAX_STALE)
        window = directives.stale_while_revalidate
        if window is not None and past <= window:
            return ServeStale(stored, Reason.STALE_WHILE_REVALIDATE, refresh=True)
    return _ask_origin(request, stored, Reason.PURGED if mark is Mark.SOFT else Reason.STALE)


def _is_refused_by(wishes: Directives, stored: StoredResponse, now: Instant, policy: Policy) -> bool:
    """Whether the client's no-cache, max-age or min-fresh rules `stored` out (section 5.2.1).

    Max-stale widens what max-age narrows.
    """
    if wishes.no_cache:
        return True
    age = current_age(stored, now)
    if wishes.max_age is not None and age > wishes.max_age + (wishes.max_stale or 0):
        return True
    return wishes.min_fresh is not None and freshness(stored, policy).lifetime - age < wishes.min_fresh


def _ask_origin(request: Request, stored: StoredResponse, reason: Reason) -> Plan:
    if _asked(request).directives.only_if_cached:
        return Refuse(504, Reason.ONLY_IF_CACHED)
    fields: Fields = conditions(stored)
    if len(fields) or request.method == "HEAD":
        return Revalidate(stored, fields, reason)
    return Fetch(reason)


def after_failure(
    request: Request,
    stored: StoredResponse | None,
    failure: Failure,
    now: Instant,
    policy: Policy,
    mark: Mark = Mark.NONE,
) -> ServeStale | Refuse:
    """What to answer when the origin failed and `stored` is the last copy. Pure. In this order:

    1. No copy, one purged for good, one that is itself a server error, or a request that no copy answers: Refuse.
    2. Invalidated, no-cache, or stale with must-revalidate, proxy-revalidate or s-maxage (section 4.2.4): Refuse with 504, unless
       `policy.override` overrules it. stale-if-error beside s-maxage is the origin's own leave.
    3. Staler than the origin's stale-if-error, or without one the operator's default; the client's stale-if-error can only
       shorten
       that (RFC 5861 section 4): Refuse. Under `policy.override` only the operator's default counts.
    4. ServeStale, without a refresh: the origin was just asked.
    A Refuse for `Failure.SERVER_ERROR` leaves the caller free to send the origin's own error instead.
    """
    asked = _asked(request)
    refused_with = _GATEWAY_STATUS[failure]
    if asked.passes is not None or stored is None or mark is Mark.GONE or stored.status >= GOOD_BELOW:
        return Refuse(refused_with, Reason.ORIGIN_FAILED)
    directives = freshness(stored, policy).directives
    past = staleness(stored, now, policy)
    is_stale = mark is not Mark.NONE or now >= freshness(stored, policy).fresh_until
    explicit = directives.stale_if_error
    forbidden = mark is Mark.MUST_VALIDATE or directives.no_cache or (is_stale and _forbids_after_error(directives))
    if forbidden and not policy.override:
        return Refuse(504, Reason.STALE_FORBIDDEN)
    limit = policy.stale_if_error_default
    if explicit is not None and not policy.override:
        limit = explicit
    if asked.directives.stale_if_error is not None:
        limit = min(limit, asked.directives.stale_if_error)
    if is_stale and past > limit:
        return Refuse(refused_with, Reason.STALE_TOO_OLD)
    if forbidden or (explicit is not None and is_stale and past > explicit):
        return ServeStale(stored, Reason.STALE_OVERRIDE)
    return ServeStale(stored, Reason.STALE_ORIGIN_FAILED if explicit is None else Reason.STALE_IF_ERROR)


def _forbids_after_error(directives: Directives) -> bool:
    if directives.must_revalidate or directives.proxy_revalidate:
        return True
    return directives.s_maxage is not None and directives.stale_if_error is None
