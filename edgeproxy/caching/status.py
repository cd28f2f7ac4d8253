"""What the edge says about an exchange: Cache-Status (RFC 9211) and Proxy-Status (RFC 9209).

Owns: the values of both fields. Must not decide anything.
"""

from collections.abc import Mapping
from functools import lru_cache

from edgeproxy.caching.model import Reason
from edgeproxy.wire import structured
from edgeproxy.wire.structured import Token

EDGE = Token("edgeproxy")
"""How this cache calls itself in both fields."""

_FORWARD = {
    Reason.MISS: "uri-miss",
    Reason.VARY_MISS: "vary-miss",
    Reason.CORRUPT: "miss",
    Reason.STALE: "stale",
    Reason.PURGED: "stale",
    Reason.INVALIDATED: "stale",
    Reason.NO_CACHE: "stale",
    Reason.VALIDATED: "stale",
    Reason.STALE_IF_ERROR: "stale",
    Reason.STALE_ORIGIN_FAILED: "stale",
    Reason.STALE_ORIGIN_SLOW: "stale",
    Reason.STALE_OVERRIDE: "stale",
    Reason.STALE_FORBIDDEN: "stale",
    Reason.STALE_TOO_OLD: "stale",
    Reason.PREVIOUS_BLOCK: "stale",
    Reason.REQUEST_DIRECTIVE: "request",
    Reason.NO_STORE: "request",
    Reason.METHOD: "method",
    Reason.PARTIAL: "partial",
}
"""RFC 9211 section 2.2 for each reason to go forward; the rest are "bypass"."""


def cache_status_hit(reason: Reason, ttl: int, *, collapsed: bool = False) -> str:
    """For an answer out of the store without asking the origin. `ttl`: seconds of freshness left, negative when stale."""
    # built by hand, since every part is a token or an integer and a hit is made often
    return f"edgeproxy;hit;ttl={ttl}{';collapsed' if collapsed else ''};detail={reason}"


@lru_cache(maxsize=1024)
def cache_status_forward(
    reason: Reason,
    *,
    fwd_status: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    ttl: int | None = None,
    detail: Reason | None = None,
) -> str:
    """For an exchange that went to the origin because of `reason`. `fwd_status` is the origin's status, None when there was none;
    `detail` says more than `reason` when given, such as why the response was not stored."""
    parameters: dict[str, structured.BareItem] = {"fwd": Token(_FORWARD.get(reason, "bypass"))}
    if fwd_status is not None:
        parameters["fwd-status"] = fwd_status
    if ttl is not None:
        parameters["ttl"] = ttl
    if stored:
        parameters["stored"] = True
    if collapsed:
        parameters["collapsed"] = True
    parameters["detail"] = Token((detail or reason).value)
    return structured.serialise_item(EDGE, parameters)


def cache_status_refused(reason: Reason) -> str:
    """For an error that the edge made without asking the origin."""
    return structured.serialise_item(EDGE, {"detail": Token(reason.value)})


def proxy_status(error: str, detail: str | None = None, *, extra: Mapping[str, structured.BareItem] | None = None) -> str:
    """For an answer in which the edge had to step in. `error` is a type of RFC 9209 section 2.3; `detail` is text for people."""
    parameters: dict[str, structured.BareItem] = {"error": Token(error), **(extra or {})}
    if detail:
        parameters["details"] = "".join(character if " " <= character <= "~" else "?" for character in detail)
    return structured.serialise_item(EDGE, parameters)
