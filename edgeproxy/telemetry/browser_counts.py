"""What is counted of browsers: receipts, registrations, spans.

Owns: the counters and their place among the metrics. Labels are names that the edge knows; what a browser chose is "other" by
then.
"""

from edgeproxy.telemetry import names
from edgeproxy.telemetry.metrics import Metrics
from edgeproxy.telemetry.names import Metric

_Counts = dict[tuple[str, ...], float]


class BrowserCounts:
    """Counters since the start, shown by `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._receipts: _Counts = {}
        self._refused: _Counts = {}
        self._registrations: _Counts = {}
        # All there from the start: two of them are counted in another thread, and a dict that grows cannot be read meanwhile.
        self._spans: _Counts = {(outcome,): 0.0 for outcome in ("sent", "failed", "dropped", "refused")}
        self._show(metrics, names.RECEIPTS, self._receipts)
        self._show(metrics, names.RECEIPTS_REFUSED, self._refused)
        self._show(metrics, names.REGISTRATIONS, self._registrations)
        self._show(metrics, names.BROWSER_SPANS, self._spans)

    @staticmethod
    def _show(metrics: Metrics, metric: Metric, counts: _Counts) -> None:
        metrics.gauge(metric, lambda: counts)

    def receipt(self, site: str, source: str, cause: str) -> None:
        """One that was taken."""
        _count(self._receipts, (site, source, cause))

    def refused(self, reason: str) -> None:
        """One that was not, or a whole request with a bad token."""
        _count(self._refused, (reason,))

    def registration(self, site: str, outcome: str) -> None:
        """What a page said of the registration of our worker."""
        _count(self._registrations, (site, outcome))

    def spans(self, outcome: str, count: int) -> None:
        """What became of spans."""
        _count(self._spans, (outcome,), count)


def _count(counts: _Counts, key: tuple[str, ...], count: int = 1) -> None:
    counts[key] = counts.get(key, 0.0) + count
