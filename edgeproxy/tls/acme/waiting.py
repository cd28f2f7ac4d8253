"""How long to wait for a certificate authority: Retry-After, and the rhythm of polling. Pure.

Owns: the reading of Retry-After (RFC 9110 section 10.2.3) and the pauses between two looks at a resource. All times are Unix
seconds, so no time zone can get in: HTTP dates are UTC by definition.
"""

from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

LONGEST_RETRY_AFTER = 8 * 86_400.0
"""A wait that an authority may ask for, in seconds. The longest limit in the field is a week; more is a mistake or a joke."""

FIRST_LOOK = 0.1
LONGEST_PAUSE = 5.0
_GROWTH = 1.7


def retry_at(value: str | None, now: float, longest: float = LONGEST_RETRY_AFTER) -> float | None:
    """The Unix time that a Retry-After of `value`, received at `now`, names; None when it names none.

    Never before `now`, and at most `longest` seconds after it.
    """
    if value is None or len(value) > 64:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        wait = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            wait = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError, IndexError, TypeError):
            return None
        if not isfinite(wait):
            return None
    return now + min(max(wait, 0.0), longest)


def pauses(first: float = FIRST_LOOK) -> Iterator[float]:
    """Seconds between looks for which the authority named no time: a fast first look, then ever more patient, without end.

    Validation and issuance often take a few hundred milliseconds, so a second of waiting before the first look would be most of
    the time that a certificate takes.
    """
    pause = first
    while True:
        yield pause
        pause = min(pause * _GROWTH, LONGEST_PAUSE)
