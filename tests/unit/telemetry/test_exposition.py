"""The Prometheus text format 0.0.4, read back by a strict reader."""

import math

import pytest

from edgeproxy.telemetry.exposition import Histogram, family, number
from edgeproxy.telemetry.names import Metric
from tests.support.prometheus_text import read_metrics

THINGS = Metric("things_total", "counter", "All things.", ("site", "outcome"))


@pytest.mark.parametrize(
    "text", ["plain", 'quo"te', "back\\slash", "line\nend", '\\"\n\\n', "{a=b}, c", "ünïcode", "", "trailing\\"]
)
def test_label_values_come_back_as_they_were(text: str) -> None:
    read = read_metrics(family(THINGS, [((text, "hit"), 3)]))
    assert read["things_total"].value("things_total", site=text, outcome="hit") == 3


def test_help_is_escaped() -> None:
    text = family(Metric("a", "gauge", "one\ntwo \\ three"), [((), 1)])
    assert text == "# HELP a one\\ntwo \\\\ three\n# TYPE a gauge\na 1\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (True, "1"),
        (12345678901234567890, "12345678901234567890"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_family_without_samples_is_not_written() -> None:
    assert family(THINGS, []) == ""


def test_labels_must_fit() -> None:
    with pytest.raises(ValueError):
        family(THINGS, [(("only one",), 1)])


def test_buckets_accumulate_and_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    each = read_metrics(family(Metric("wait_seconds", "histogram", "Waiting.", ("site",)), [(("a",), histogram)]))["wait_seconds"]
    assert each.value("wait_seconds_bucket", site="a", le="0.1") == 2
    assert each.value("wait_seconds_bucket", site="a", le="1") == 3
    assert each.value("wait_seconds_bucket", site="a", le="+Inf") == 4
    assert each.value("wait_seconds_count", site="a") == 4
    assert each.value("wait_seconds_sum", site="a") == pytest.approx(7.65)


@pytest.mark.parametrize("bounds", [(), (1.0, 0.5), (1.0, 1.0), (1.0, math.inf)])
def test_bounds_are_finite_and_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        Histogram(bounds)


@pytest.mark.parametrize(
    "text",
    [
        "# HELP a x\n# TYPE a gauge\na 1",
        "# HELP a x\n# TYPE b gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\n",
        "# HELP a x\n# TYPE a gauge\na one\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        '# HELP a x\n# TYPE a gauge\na{b="c"d="e"} 1\n',
        '# HELP a x\n# TYPE a gauge\na{b="\\t"} 1\n',
        '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
        '# HELP h x\n# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n',
    ],
)
def test_the_reader_of_these_tests_is_strict(text: str) -> None:
    with pytest.raises(ValueError):
        read_metrics(text)
