"""What an operator means by "as it was then": a height, or a time in one of the ways in which people write times.

Owns: those ways. Pure: `now` is passed in, and which height a time has is for who can read blocks.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from edgeproxy.caching.model import Height
from edgeproxy.clock import Instant

ALLOWED = (
    'a height like 1204, a time like 2026-11-24T16:00:00Z or "2026-11-24 16:00" (UTC), "now", or how long ago: 2h, "15m ago"'
)

_HEIGHT = re.compile(r"[0-9]{1,15}")
_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<clock>[0-9]{2}:[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<part>[0-9]{1,9}))?)?"
    r" ?(?P<zone>[Zz]|UTC|[+-][0-9]{2}:[0-9]{2})?"
)
_UNIT = "(?:s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:eeks?)?)"
_AGO = re.compile(rf"(?P<parts>(?:[0-9]{{1,9}} ?{_UNIT} ?)+)(?:ago)?", re.IGNORECASE)
_PART = re.compile(r"([0-9]+) ?([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class AtHeight:
    """The state after the block at this height."""

    height: Height


@dataclass(frozen=True, slots=True)
class AtTime:
    """The state after the last block whose time is not after this."""

    instant: Instant


def parse_moment(text: str, now: Instant) -> AtHeight | AtTime:
    """What `text` means at `now`. Raises ValueError, whose text says what is allowed.

    A time (RFC 3339, or with a space and in UTC) without a fraction is the whole of its second: what the history of a page shows
    as of a second is included.
    """
    text = text.strip()
    if _HEIGHT.fullmatch(text):
        return AtHeight(Height(int(text)))
    if text.lower() == "now":
        return AtTime(now)
    if ago := _AGO.fullmatch(text):
        seconds = sum(int(count) * _SECONDS[unit.lower()] for count, unit in _PART.findall(ago["parts"]))
        return AtTime(Instant(max(0, now - seconds * 1000)))
    if found := _TIME.fullmatch(text):
        return AtTime(_instant(found, text))
    raise ValueError(f"{text!r} is neither a height nor a time; allowed: {ALLOWED}")


def _instant(found: re.Match[str], text: str) -> Instant:
    zone = found["zone"] or "Z"
    offset = "+00:00" if zone in ("Z", "z", "UTC") else zone
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['clock']}:{found['second'] or '00'}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time that exists ({error}); allowed: {ALLOWED}") from None
    milliseconds = 999 if found["part"] is None else int(found["part"][:3].ljust(3, "0"))
    return Instant(max(0, round(moment.timestamp()) * 1000 + milliseconds))


def before_all(text: str, first: Instant | None) -> str:
    """What is said of a moment, given as `text`, before the first block, whose time is `first`; None when that is not known."""
    begun = "" if first is None else f": its first block is of {datetime.fromtimestamp(first / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"the ledger did not exist yet at {text}{begun}"
