"""How old a response is and how long it stays fresh (RFC 9111 section 4.2).

Owns: the arithmetic of age and freshness. Must not decide whether a stale response may be used. Times in are milliseconds,
durations out are whole seconds, as the fields on the wire have them.
"""

from dataclasses import dataclass

from edgeproxy.caching.directives import DELTA_MAX, Directives, delta_seconds, response_directives
from edgeproxy.caching.model import Policy, StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.wire.dates import parse_http_date
from edgeproxy.wire.fields import Fields

HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses that may be reused without explicit freshness (RFC 9110 section 15.1)."""

UNKNOWN_AGE = DELTA_MAX
"""Initial age of a response whose Age makes no sense: stale from the start, whatever lifetime it names."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """What follows from a stored response and a policy alone; kept in the response's memo. `fresh_until` is an `Instant`."""

    policy: Policy
    directives: Directives
    lifetime: int
    fresh_until: int


def freshness(stored: StoredResponse, policy: Policy) -> Freshness:
    """Lifetime and directives of `stored`, computed once for each policy."""
    known: Freshness | None = stored.memo.get("freshness")
    if known is not None and (known.policy is policy or known.policy == policy):
        return known
    lifetime = freshness_lifetime(stored.status, stored.fields, stored.response_time, policy)
    found = Freshness(
        policy,
        response_directives(stored.fields, policy.targets),
        lifetime,
        stored.response_time + (lifetime - stored.initial_age) * 1000,
    )
    stored.memo["freshness"] = found
    return found


def freshness_lifetime(status: int, fields: Fields, response_time: Instant, policy: Policy) -> int:
    """Seconds from generation during which the response may be reused (section 4.2.1), never negative; 0 when it names none.

    1. explicit: s-maxage, max-age, Expires minus Date;  2. the operator's default;  3. the heuristic of section 4.2.2.
    """
    lifetime = explicit_lifetime(fields, response_time, policy)
    if lifetime is None and (status in HEURISTIC_STATUSES or response_directives(fields, policy.targets).public):
        lifetime = policy.default_ttl if policy.default_ttl is not None else _heuristic(fields, response_time, policy)
    lifetime = lifetime or 0
    return lifetime if policy.max_ttl is None else min(lifetime, policy.max_ttl)


def explicit_lifetime(fields: Fields, response_time: Instant, policy: Policy) -> int | None:
    """Seconds that the origin names, for a shared cache: s-maxage before max-age before Expires; None when it names none."""
    directives = response_directives(fields, policy.targets)
    if directives.s_maxage is not None:
        return directives.s_maxage
    if directives.max_age is not None:
        return directives.max_age
    values = () if directives.is_targeted else fields.all("expires")
    if not values:
        return None
    # several values, or one that is no date (such as "0"), mean the past (sections 4.2.1 and 5.3)
    expires = parse_http_date(values[0]) if len(set(values)) == 1 else None
    return 0 if expires is None else max(0, min(expires - date_value(fields, response_time), DELTA_MAX))


def date_value(fields: Fields, response_time: Instant) -> int:
    """When the response was generated, in seconds: its Date, or the time it arrived when that is missing or invalid."""
    text = fields.get("date")
    date = None if text is None else parse_http_date(text)
    return response_time // 1000 if date is None else date


def _heuristic(fields: Fields, response_time: Instant, policy: Policy) -> int:
    text = fields.get("last-modified")
    modified = None if text is None else parse_http_date(text)
    if modified is None:
        return 0
    unchanged_for = max(0, date_value(fields, response_time) - modified)
    return min(int(unchanged_for * policy.heuristic_fraction), policy.heuristic_max)


def initial_age(fields: Fields, request_time: Instant, response_time: Instant) -> int:
    """The corrected initial age in seconds (section 4.2.3)."""
    apparent = max(0, response_time // 1000 - date_value(fields, response_time))
    if apparent == 1:
        # Date has whole seconds, so a response that crossed a second's border on its way looks a second old. Believing that
        # would make max-age=1 useless.
        apparent = 0
    age = _age_value(fields)
    return max(apparent, min(age + max(0, response_time - request_time) // 1000, UNKNOWN_AGE))


def _age_value(fields: Fields) -> int:
    """The Age field in seconds, `UNKNOWN_AGE` when it cannot be trusted (section 5.1).

    Of a list in one line the first member counts. Several lines, also when an intermediary joined them with ", " (RFC 9110
    section 5.3), come from caches that disagree about who adds it, so the oldest that could be meant is assumed, as for a
    malformed number.
    """
    value = fields.get("age")
    if value is None:
        return 0
    first, comma, rest = value.partition(",")
    seconds = delta_seconds(first)
    if seconds is None or (comma and (rest[:1].isspace() or not rest)):
        return UNKNOWN_AGE
    return seconds


def current_age(stored: StoredResponse, now: Instant) -> int:
    """Age in seconds at `now` (section 4.2.3), for the Age field and for every comparison."""
    return stored.initial_age + max(0, now - stored.response_time) // 1000


def fresh_until(stored: StoredResponse, policy: Policy) -> Instant:
    """The first instant at which `stored` is stale."""
    return Instant(freshness(stored, policy).fresh_until)


def is_fresh(stored: StoredResponse, now: Instant, policy: Policy) -> bool:
    """Whether the freshness lifetime is greater than the current age (section 4.2)."""
    return now < freshness(stored, policy).fresh_until


def staleness(stored: StoredResponse, now: Instant, policy: Policy) -> int:
    """Seconds past freshness, 0 while fresh.

    An unknown age counts from when the response arrived, so that it can still stand in.
    """
    if stored.initial_age >= UNKNOWN_AGE:
        return max(0, now - stored.response_time) // 1000
    return max(0, now - freshness(stored, policy).fresh_until) // 1000
