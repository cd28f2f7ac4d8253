"""Who was saved when: receipts counted by site, source and cause over the last day, and when the last one came.

Owns: those counts, in memory, in hours. They are filled from the ledger at the start and by each receipt block after.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from edgeproxy.clock import Instant
from edgeproxy.ledger.drafts import Source
from edgeproxy.recovery.receipts import cause_label, tells_of_a_lie

HOURS: Final = 24
_HOUR: Final = 3_600_000
_Key = tuple[str, Source, str]


@dataclass(slots=True)
class Saved:
    """`add` in any order; what is older than a day when it comes changes only the time of the last one."""

    _hours: dict[int, dict[_Key, int]] = field(default_factory=dict)
    _last: dict[str, Instant] = field(default_factory=dict)

    def add(self, site: str, source: Source, cause: str, at: Instant, count: int) -> None:
        """`count` receipts of one block, whose time is `at`."""
        counts = self._hours.setdefault(at // _HOUR, {})
        key = (site, source, cause_label(cause))
        counts[key] = counts.get(key, 0) + count
        self._last[site] = max(at, self._last.get(site, Instant(0)))
        while len(self._hours) > HOURS + 1:
            del self._hours[min(self._hours)]

    def view(self, site: str, now: Instant) -> dict[str, Any]:
        """{"last": ms or null, "day": receipts of 24 hours, "served": those with a copy, "unproved": those of copies that did not
        prove themselves and were not served, "by_source": {}, "by_cause": {}}."""
        served = unproved = 0
        by_source: dict[str, int] = {}
        by_cause: dict[str, int] = {}
        for hour, counts in self._hours.items():
            if not now // _HOUR - HOURS < hour <= now // _HOUR + 1:
                continue
            for (name, source, cause), count in counts.items():
                if name == site:
                    if tells_of_a_lie(cause):
                        unproved += count
                    elif source != "none":
                        served += count
                    by_source[source] = by_source.get(source, 0) + count
                    by_cause[cause] = by_cause.get(cause, 0) + count
        total = sum(by_source.values())
        return {
            "last": self._last.get(site),
            "day": total,
            "served": served,
            "unproved": unproved,
            "by_source": dict(sorted(by_source.items())),
            "by_cause": dict(sorted(by_cause.items())),
        }
