"""When an authority wants a certificate renewed (RFC 9773), as it says itself.

Owns: the reading of a renewal window. Which moment in the window is taken is not decided here, nor what to do without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from edgeproxy.tls.acme.network import Reply
from edgeproxy.tls.acme.problems import URL_LENGTH, own_failure

SOONEST_CHECK = 60.0
LATEST_CHECK = 86_400.0
USUAL_CHECK = 6 * 3_600.0
"""Seconds until the next look (RFC 9773 section 4.3.1); the last where the authority names no time."""


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """A suggested window, in Unix seconds."""

    start: float
    end: float
    explanation_url: str
    """A page that says why, or empty."""
    check_after: float
    """Do not ask again before (Unix seconds)."""


def read_renewal_info(reply: Reply, now: float) -> RenewalInfo:
    """What `reply`, received at `now`, says; raises IssuanceFailed "badAnswer" where it is no window (RFC 9773 section 4.2)."""
    document = reply.json()
    window = document.get("suggestedWindow")
    if not isinstance(window, Mapping):
        raise own_failure("badAnswer", "renewal information without a window")
    start, end = _time(window, "start"), _time(window, "end")
    if end <= start:
        raise own_failure("badAnswer", "a renewal window that ends before it starts")
    page = document.get("explanationURL")
    return RenewalInfo(start, end, page if _is_page(page) else "", _check_after(reply.retry_at, now))


def _check_after(retry_at: float | None, now: float) -> float:
    if retry_at is None:
        return now + USUAL_CHECK
    return min(max(retry_at, now + SOONEST_CHECK), now + LATEST_CHECK)


def _time(window: Mapping[str, object], field: str) -> float:
    """An RFC 3339 time in Unix seconds. One without an offset is not RFC 3339, and refused: it could be any time zone's."""
    try:
        when = datetime.fromisoformat(str(window.get(field)))
        if when.tzinfo is not None:
            return when.timestamp()
    except (ValueError, OverflowError):
        pass
    raise own_failure("badAnswer", f"the {field} of a renewal window is not a time")


def _is_page(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and value.startswith(("https://", "http://"))
        and len(value) <= URL_LENGTH
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )
