"""The Prometheus text format, version 0.0.4.

Owns: how a sample is written: escaping, number forms, cumulative buckets. Must not know what any metric means.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from edgeproxy.telemetry.names import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of observations in fixed buckets. `bounds` are upper limits, ascending, in the unit of the metric's name."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        if list(bounds) != sorted(set(bounds)) or not bounds or not all(map(math.isfinite, bounds)):
            raise ValueError("bounds of a histogram are finite and ascend")
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.count = 0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to its own bucket."""
        index = 0
        for bound in self.bounds:
            if value <= bound:
                break
            index += 1
        self.counts[index] += 1
        self.sum += value
        self.count += 1


Value = float | Histogram
Samples = Iterable[tuple[tuple[str, ...], Value]]
"""Label values in the order of `Metric.labels`, and the value."""


def family(metric: Metric, samples: Samples) -> str:
    """All lines of one metric; "" when there are no samples. Raises ValueError when a sample does not fit its labels."""
    lines = [line for values, value in samples for line in _sample(metric, values, value)]
    if not lines:
        return ""
    return f"# HELP {metric.name} {_help(metric.help)}\n# TYPE {metric.name} {metric.kind}\n" + "".join(lines)


def _sample(metric: Metric, values: tuple[str, ...], value: Value) -> list[str]:
    pairs = [f'{name}="{_label(text)}"' for name, text in zip(metric.labels, values, strict=True)]
    if not isinstance(value, Histogram):
        return [_line(metric.name, pairs, value)]
    lines = []
    total = 0
    for bound, count in zip((*value.bounds, math.inf), value.counts, strict=True):
        total += count
        lines.append(_line(f"{metric.name}_bucket", [*pairs, f'le="{number(bound)}"'], total))
    lines.append(_line(f"{metric.name}_sum", pairs, value.sum))
    lines.append(_line(f"{metric.name}_count", pairs, total))
    return lines


def _line(name: str, pairs: list[str], value: float) -> str:
    labels = "{" + ",".join(pairs) + "}" if pairs else ""
    return f"{name}{labels} {number(value)}\n"


def number(value: float) -> str:
    """A number as the format wants it: integers without a point, `+Inf`, `-Inf`, `NaN`."""
    if isinstance(value, int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
