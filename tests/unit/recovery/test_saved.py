"""Who was saved within the last day."""

from edgeproxy.clock import Instant
from edgeproxy.recovery.saved import Saved

HOUR = 3_600_000
NOW = Instant(1_764_000_000_000)


def test_receipts_are_counted_by_source_and_cause_for_a_day() -> None:
    saved = Saved()
    saved.add("a", "cache", "network", NOW, 3)
    saved.add("a", "none", "made-up", Instant(NOW - HOUR), 2)
    saved.add("a", "mirror", "mirror-bad", NOW, 4)
    saved.add("b", "edge", "hang", NOW, 1)
    saved.add("a", "mirror", "hang", Instant(NOW - 30 * HOUR), 5)
    view = saved.view("a", NOW)
    assert view == {
        "last": NOW,
        "day": 9,
        "served": 3,
        "unproved": 4,
        "by_source": {"cache": 3, "mirror": 4, "none": 2},
        "by_cause": {"mirror-bad": 4, "network": 3, "other": 2},
    }
    later = saved.view("a", Instant(NOW + 26 * HOUR))
    assert (later["day"], later["last"]) == (0, NOW)
    assert saved.view("c", NOW)["last"] is None


def test_hours_are_bounded() -> None:
    saved = Saved()
    for hour in range(1_000):
        saved.add("a", "cache", "network", Instant(NOW + hour * HOUR), 1)
    assert len(saved._hours) <= 25
    assert saved.view("a", Instant(NOW + 999 * HOUR))["day"] == 24
