"""What operators write when they mean "as it was then"."""

from datetime import UTC, datetime

import pytest

from edgeproxy.caching.model import Height
from edgeproxy.clock import Instant
from edgeproxy.ledger.moments import AtHeight, AtTime, parse_moment

NOW = Instant(1_764_000_000_500)


def at(text: str, milliseconds: int = 999) -> AtTime:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return AtTime(Instant(int(moment.timestamp()) * 1000 + milliseconds))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", AtHeight(Height(0))),
        (" 1204 ", AtHeight(Height(1204))),
        ("now", AtTime(NOW)),
        ("2h", AtTime(Instant(NOW - 7_200_000))),
        ("15m ago", AtTime(Instant(NOW - 900_000))),
        ("5 minutes ago", AtTime(Instant(NOW - 300_000))),
        ("1 Hour", AtTime(Instant(NOW - 3_600_000))),
        ("1 day 4 hrs ago", AtTime(Instant(NOW - 100_800_000))),
        ("90secs", AtTime(Instant(NOW - 90_000))),
        ("1d4h", AtTime(Instant(NOW - 100_800_000))),
        ("1d 4h ago", AtTime(Instant(NOW - 100_800_000))),
        ("9999w", AtTime(Instant(0))),
        ("2025-11-24 16:00", at("2025-11-24T16:00:00")),
        ("2025-11-24 16:00:07", at("2025-11-24T16:00:07")),
        ("2025-11-24 16:00:07 UTC", at("2025-11-24T16:00:07")),
        ("2025-11-24T16:00:07Z", at("2025-11-24T16:00:07")),
        ("2025-11-24t16:00:07.25z", at("2025-11-24T16:00:07", 250)),
        ("2025-11-24T18:00:07.000123456+02:00", at("2025-11-24T16:00:07", 0)),
        ("2025-11-24T11:30:00-04:30", at("2025-11-24T16:00:00")),
    ],
)
def test_what_is_understood(text: str, expected: AtHeight | AtTime) -> None:
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "12.5", "1e3", "yesterday", "ago", "2y", "2 h h", "1 month ago", "5 mo", "5minutesago2", "9" * 16),
        *("2025-11-24", "2025-13-24 16:00", "2025-11-24 25:00", "16:00", "2025-11-24T16:00:07+99:00"),
        "0001-01-01T00:00:00+10:00",
    ],
)
def test_what_is_not_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: a height"):
        parse_moment(text, NOW)
