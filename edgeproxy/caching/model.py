"""The words of the cache: what is stored, how an exchange may be answered, and why.

Owns: the types that the pure decisions take and return, and the strings that the outside sees of them.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, NewType

from edgeproxy.clock import Instant
from edgeproxy.wire.fields import Fields

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256."""

Height = NewType("Height", int)
"""Index of a block in the ledger."""

Selecting = tuple[tuple[str, str | None], ...]
"""What `Vary` selected by: (lower-case field name, normalised value of the stored request or None), sorted by name."""


class Reason(StrEnum):
    """Why an exchange was answered as it was. The same string in span, metric, log and `Cache-Status` detail."""

    # answered from the store
    FRESH = "fresh"
    PENDING = "pending-block"
    VALIDATED = "validated"
    CLIENT_MAX_STALE = "client-max-stale"
    STALE_WHILE_REVALIDATE = "stale-while-revalidate"
    STALE_IF_ERROR = "stale-if-error"
    STALE_ORIGIN_FAILED = "stale-origin-failed"
    STALE_ORIGIN_SLOW = "stale-origin-slow"
    STALE_OVERRIDE = "stale-override"
    PREVIOUS_BLOCK = "previous-block"
    ROLLBACK = "rollback"
    MEMENTO = "memento"
    # asked of the origin
    MISS = "miss"
    VARY_MISS = "vary-miss"
    STALE = "stale"
    PURGED = "purged"
    INVALIDATED = "invalidated"
    REQUEST_DIRECTIVE = "request-directive"
    NO_CACHE = "no-cache"
    METHOD = "method"
    UPGRADE = "upgrade"
    REQUEST_BODY = "request-body"
    KNOWN_UNCACHEABLE = "known-uncacheable"
    CORRUPT = "corrupt-copy"
    BYPASS = "bypass"
    # not answered
    ONLY_IF_CACHED = "only-if-cached"
    ORIGIN_FAILED = "origin-failed"
    STALE_FORBIDDEN = "stale-forbidden"
    STALE_TOO_OLD = "stale-too-old"
    # stored, or why not
    STORED = "stored"
    NO_STORE = "no-store"
    PRIVATE = "private"
    SET_COOKIE = "set-cookie"
    AUTHORIZATION = "authorization"
    NO_FRESHNESS = "no-explicit-freshness"
    STATUS_NOT_UNDERSTOOD = "status-not-understood"
    PARTIAL = "partial-content"
    VARY_STAR = "vary-star"
    TOO_LARGE = "too-large"
    SERVER_ERROR = "server-error"
    ALREADY_STALE = "already-stale"
    UNDELIMITED = "delimited-by-close"
    EVENT_STREAM = "event-stream"


class Mark(Enum):
    """What rules of the ledger say of a stored response (purge, invalidation, hold). Later members are stronger."""

    NONE = 0
    SOFT = 1
    """Purged softly: stale, still good when the origin fails."""
    MUST_VALIDATE = 2
    """Invalidated (RFC 9111 section 4.4): never sent again without a successful validation, unless the operator overrides."""
    GONE = 3
    """Purged for good: as if it had never been stored."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredResponse:
    """A response as kept: immutable, compared by identity. The body is elsewhere, under its digest, in identity coding.

    `initial_age` is the corrected initial age in seconds (RFC 9111 section 4.2.3) at `response_time`. `height` is None until
    the block is committed.
    """

    url: str
    status: int
    fields: Fields
    response_time: Instant
    initial_age: int
    body: Digest
    length: int
    selecting: Selecting = ()
    height: Height | None = None
    memo: dict[str, Any] = field(default_factory=dict, repr=False)
    """Room for what follows from these fields alone (parsed directives, freshness); never part of the meaning."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator of a site decided; the defaults are those of `site.cache` and `site.recovery`. Durations in seconds."""

    default_ttl: int | None = None
    """Freshness for responses that are storable but name none; None keeps to the RFC's heuristics."""
    heuristic_fraction: float = 0.1
    heuristic_max: int = 86_400
    max_ttl: int | None = None
    store_set_cookie: bool = False
    targets: tuple[str, ...] = ("cdn-cache-control",)
    """Targeted cache-control fields that apply here, in order of precedence (RFC 9213), lower case."""
    tag_fields: tuple[str, ...] = ("surrogate-key", "cache-tag")
    max_object: int = 1 << 30
    """Largest body that is stored, in bytes."""
    stale_if_error_default: int = 7 * 86_400
    """How long past its freshness a copy may stand in for a failing origin without any directive (`recovery.max_stale`)."""
    override: bool = False
    """Serve stale on failure even where must-revalidate, proxy-revalidate, no-cache or s-maxage forbids it."""
    ignore_client_no_cache: bool = False


class Failure(StrEnum):
    """How the origin failed, coarsely: what the stale rules need to know."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server-error"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer with the stored response as it is: fresh, or stale by the client's own leave."""

    stored: StoredResponse
    reason: Reason


@dataclass(frozen=True, slots=True)
class ServeStale:
    """Answer with a stale stored response. `refresh`: ask the origin in the background meanwhile."""

    stored: StoredResponse
    reason: Reason
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Revalidate:
    """Ask the origin whether the stored response is still good; `conditions` are the fields to add (RFC 9111 section 4.3.1)."""

    stored: StoredResponse
    conditions: Fields
    reason: Reason


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the origin for the whole response; others who ask the same may share it."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Pass:
    """Not cacheable by its request: stream both ways, keep nothing."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error of the edge's own."""

    status: int
    reason: Reason


Plan = Serve | ServeStale | Revalidate | Fetch | Pass | Refuse
