"""What the edge counts. The hot path adds to the two numbers of a `ReadyCounter`; the rest happens when somebody looks.

Owns: the counters, as plain attributes, and their rendering. One thread writes them, the event loop's. Gauges are asked when
rendered. Must not: hold labels that a client chooses; sites, reasons and error types are sets that the edge knows.
"""

import logging
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from edgeproxy.telemetry import names
from edgeproxy.telemetry.exposition import Histogram, Samples, family
from edgeproxy.telemetry.names import Metric

log = logging.getLogger("edgeproxy.telemetry")

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

Reading = float | Mapping[tuple[str, ...], float]
"""What a gauge gives: one value, or a value for each tuple of label values."""

OUTCOMES: Final = ("hits", "stale", "revalidated", "misses", "coalesced", "passed", "own", "refused", "failed")
"""The attributes of `SiteMetrics` that count exchanges; each exchange is counted in one of them, once."""

OUTCOME_LABEL: Final = {
    "hits": "hit",
    "stale": "stale",
    "revalidated": "revalidated",
    "misses": "miss",
    "coalesced": "coalesced",
    "passed": "pass",
    "own": "own",
    "refused": "refused",
    "failed": "error",
}


class Tally(dict[str, int]):
    """Counts by a name of ours: `tally.add(error)`."""

    __slots__ = ()

    def add(self, name: str, count: int = 1) -> None:
        self[name] = self.get(name, 0) + count


class ReadyCounter:
    """What the hot path counts, for the answers of one kind; the counters of their site include it."""

    __slots__ = ("bytes", "hits")

    def __init__(self) -> None:
        self.hits = 0
        self.bytes = 0


class SiteMetrics:
    """The counters of one site. `bytes` are those of exchanges; `sent` has all.

    hits: fresh out of the store; stale: a stale copy sent; revalidated: the origin said 304; misses: fetched; coalesced: shared a
    fetch that another request led; passed: not cacheable; own: answered by the edge itself under /.edge/; refused: refused by
    plan (for example only-if-cached); failed: an error page because the origin failed and nothing could stand in.
    """

    __slots__ = (
        "_hits",
        "_injections",
        "_pages",
        "bytes",
        "coalesced",
        "corrupt_bodies",
        "csp_changes",
        "duration",
        "failed",
        "misses",
        "origin_duration",
        "origin_errors",
        "origin_tries",
        "own",
        "passed",
        "ready",
        "refused",
        "revalidated",
        "stale",
        "stale_reasons",
    )

    def __init__(self) -> None:
        self._hits = 0
        self.bytes = 0
        self.ready = ReadyCounter()
        self._pages: dict[str, ReadyCounter] = {}
        self._injections = Tally()
        self.stale = 0
        self.revalidated = 0
        self.misses = 0
        self.coalesced = 0
        self.passed = 0
        self.own = 0
        self.refused = 0
        self.failed = 0
        self.corrupt_bodies = 0
        self.origin_tries = 0
        self.origin_errors = Tally()
        self.stale_reasons = Tally()
        self.csp_changes = Tally()
        self.duration = Histogram(SECONDS)
        self.origin_duration = Histogram(SECONDS)

    @property
    def hits(self) -> int:
        """See the class; what the hot path sent is among them."""
        return self._hits + self.ready.hits + sum(counter.hits for counter in self._pages.values())

    @hits.setter
    def hits(self, value: int) -> None:
        self._hits += value - self.hits

    @property
    def sent(self) -> int:
        """Bytes of bodies; what the hot path sent is among them."""
        return self.bytes + self.ready.bytes + sum(counter.bytes for counter in self._pages.values())

    def ready_page(self, outcome: str) -> ReadyCounter:
        """The counter of ready answers with a page to show, of a host with a service worker of ours, by what became of it."""
        counter = self._pages.get(outcome)
        if counter is None:
            counter = self._pages[outcome] = ReadyCounter()
        return counter

    def count_page(self, outcome: str) -> None:
        """Such a page was sent by an exchange."""
        self._injections.add(outcome)

    @property
    def injections(self) -> Tally:
        """Pages sent to be shown, of hosts with a service worker of ours, by what became of them. A copy."""
        total = Tally(self._injections)
        for outcome, counter in self._pages.items():
            if counter.hits:
                total.add(outcome, counter.hits)
        return total

    @property
    def exchanges(self) -> int:
        """All exchanges of the site."""
        return sum(getattr(self, outcome) for outcome in OUTCOMES)


class Metrics:
    """All counters of one process."""

    def __init__(self, *, version: str, node: str) -> None:
        self.sites: dict[str, SiteMetrics] = {}
        self.connections = 0
        """Accepted since the start; how many are open now is a gauge."""
        self.refused_requests = Tally()
        """Requests that could not be parsed, by status."""
        self.ledger_blocks = 0
        self.ledger_refused = 0
        self.ledger_commit = Histogram(COMMIT_SECONDS)
        self.gauge_errors = 0
        self._gauges: dict[str, tuple[Metric, Callable[[], Reading]]] = {}
        self.gauge(names.BUILD, lambda: {(version, node): 1})
        self.gauge(names.CPU_SECONDS, _cpu_seconds)
        self.gauge(names.RESIDENT, _resident_bytes)

    def site(self, name: str) -> SiteMetrics:
        """The counters of the site configured as `name`, made at the first call; keep the object rather than asking again."""
        counters = self.sites.get(name)
        if counters is None:
            counters = self.sites[name] = SiteMetrics()
        return counters

    def gauge(self, metric: Metric, read: Callable[[], Reading]) -> None:
        """Ask `read` for `metric` at each rendering; it must not block. A later call for the same metric replaces the first."""
        self._gauges[metric.name] = (metric, read)

    def render(self) -> str:
        """The Prometheus text, families in a fixed order."""
        families = [family(metric, samples) for metric, samples in self._counters()]
        families += [family(metric, self._read(metric, read)) for metric, read in self._gauges.values()]
        families.append(family(names.GAUGE_ERRORS, [((), self.gauge_errors)]))
        return "".join(families)

    def _counters(self) -> Iterator[tuple[Metric, Samples]]:
        sites = self.sites.items()
        yield (
            names.REQUESTS,
            [((site, OUTCOME_LABEL[outcome]), getattr(each, outcome)) for site, each in sites for outcome in OUTCOMES],
        )
        yield names.RESPONSE_BYTES, [((site,), each.sent) for site, each in sites]
        yield names.REQUEST_DURATION, [((site,), each.duration) for site, each in sites]
        yield names.STALE, [((site, reason), count) for site, each in sites for reason, count in each.stale_reasons.items()]
        yield names.ORIGIN_TRIES, [((site,), each.origin_tries) for site, each in sites]
        yield names.ORIGIN_ERRORS, [((site, error), count) for site, each in sites for error, count in each.origin_errors.items()]
        yield names.ORIGIN_DURATION, [((site,), each.origin_duration) for site, each in sites]
        yield names.CORRUPT, [((site,), each.corrupt_bodies) for site, each in sites]
        yield (
            names.INJECTIONS,
            [((site, outcome), count) for site, each in sites for outcome, count in each.injections.items()],
        )
        yield (
            names.CSP_CHANGES_TOTAL,
            [((site, change), count) for site, each in sites for change, count in each.csp_changes.items()],
        )
        yield names.CONNECTIONS_TOTAL, [((), self.connections)]
        yield names.REFUSED, [((status,), count) for status, count in self.refused_requests.items()]
        yield names.LEDGER_BLOCKS, [((), self.ledger_blocks)]
        yield names.LEDGER_REFUSED, [((), self.ledger_refused)]
        yield names.LEDGER_COMMIT, [((), self.ledger_commit)]

    def _read(self, metric: Metric, read: Callable[[], Reading]) -> list[tuple[tuple[str, ...], float]]:
        """One gauge that fails must not take the page away from the others: it is left out and counted."""
        try:
            reading = read()
        except Exception as error:
            self.gauge_errors += 1
            log.warning("a gauge could not be read (metric=%s, error=%r)", metric.name, error)
            return []
        return list(reading.items()) if isinstance(reading, Mapping) else [((), reading)]


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round(usage.ru_utime + usage.ru_stime, 6)


def _resident_bytes() -> float:
    """Of /proc, as now; where there is none, the highest so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
