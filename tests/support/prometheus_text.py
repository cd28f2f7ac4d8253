"""A strict reader of the Prometheus text format 0.0.4, for tests: it refuses what a lenient scraper would let pass."""

import math
import re
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")
_SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass
class Family:
    kind: str
    help: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, tuple(labels.items())]


def read_metrics(text: str) -> dict[str, Family]:
    """All families by name. Raises ValueError on what is not exactly the format, or has counts that contradict each other."""
    if text and not text.endswith("\n"):
        raise ValueError("the last line is not ended")
    families: dict[str, Family] = {}
    lines = text.split("\n")[:-1]
    current = ""
    position = 0
    while position < len(lines):
        line = lines[position]
        if line.startswith("# HELP "):
            current, text_of_help = line.removeprefix("# HELP ").split(" ", 1)
            kind_line = lines[position + 1]
            if not kind_line.startswith(f"# TYPE {current} ") or current in families:
                raise ValueError(f"HELP without its TYPE, or a family twice: {line}")
            families[current] = Family(kind_line.rsplit(" ", 1)[1], text_of_help)
            position += 2
            continue
        _read_sample(line, current, families)
        position += 1
    for name, each in families.items():
        _check(name, each)
    return families


def _read_sample(line: str, current: str, families: dict[str, Family]) -> None:
    match = _SAMPLE.fullmatch(line)
    if match is None or not _NUMBER.fullmatch(match[3]):
        raise ValueError(f"not a sample: {line!r}")
    name = match[1]
    each = families[current]
    base = next((name.removesuffix(end) for end in _SUFFIXES if each.kind == "histogram" and name.endswith(end)), name)
    if base != current:
        raise ValueError(f"sample outside of its family: {line!r}")
    labels = _read_labels(match[2] or "")
    if (name, labels) in each.samples:
        raise ValueError(f"sample twice: {line!r}")
    each.samples[name, labels] = float(match[3].replace("Inf", "inf"))


def _read_labels(text: str) -> Labels:
    labels = []
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None:
            raise ValueError(f"not labels: {text!r}")
        value = re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[2])
        labels.append((match[1], value))
        position = match.end()
    if len({name for name, _ in labels}) != len(labels):
        raise ValueError(f"label twice: {text!r}")
    return tuple(labels)


def _check(name: str, each: Family) -> None:
    if each.kind not in ("counter", "gauge", "histogram"):
        raise ValueError(f"{name} has kind {each.kind}")
    if (each.kind == "counter") != name.endswith("_total"):
        raise ValueError(f"{name} is named against its kind {each.kind}")
    if not each.samples:
        raise ValueError(f"{name} has no samples")
    if each.kind == "counter" and any(value < 0 or math.isnan(value) for value in each.samples.values()):
        raise ValueError(f"{name} counts below zero")
    if each.kind == "histogram":
        _check_histogram(name, each)


def _check_histogram(name: str, each: Family) -> None:
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (sample, labels), value in each.samples.items():
        if sample == f"{name}_bucket":
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((float(dict(labels)["le"].replace("Inf", "inf")), value))
    for labels, buckets in series.items():
        bounds = [bound for bound, _ in buckets]
        counts = [count for _, count in buckets]
        if bounds != sorted(set(bounds)) or bounds[-1] != math.inf or counts != sorted(counts):
            raise ValueError(f"{name} has buckets that do not accumulate")
        if each.samples[f"{name}_count", labels] != counts[-1] or (f"{name}_sum", labels) not in each.samples:
            raise ValueError(f"{name} has a count that is not its last bucket")
