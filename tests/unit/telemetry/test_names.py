"""Each name is declared once, and docs/tracing.md tells of each."""

from pathlib import Path

import pytest

from edgeproxy.telemetry import names

DOCS = Path(__file__).parents[3] / "docs" / "tracing.md"
STRINGS = {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str) and key != "OTHER_METHOD"}
METRICS = [value for value in vars(names).values() if isinstance(value, names.Metric)]


def test_no_name_stands_twice() -> None:
    assert len(set(STRINGS.values())) == len(STRINGS)


@pytest.mark.parametrize("name", STRINGS.values())
def test_the_docs_have_every_span_and_attribute(name: str) -> None:
    assert f"`{name}`" in DOCS.read_text()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_docs_have_every_metric(metric: names.Metric) -> None:
    assert f"`{metric.name}`" in DOCS.read_text()


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "GET shop"), ("QUERY", "QUERY shop"), ("get", "HTTP shop"), ("X" * 99, "HTTP shop")]
)
def test_span_names_are_few(method: str, name: str) -> None:
    assert names.server_span_name(method, "shop") == name
