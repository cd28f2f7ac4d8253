"""What is counted shows under its name, and a gauge that fails takes nothing else away."""

import logging

import pytest

from edgeproxy.telemetry import names
from edgeproxy.telemetry.metrics import OUTCOMES, Metrics
from tests.support.prometheus_text import read_metrics


def test_an_untouched_process_renders_its_zeros_and_itself() -> None:
    read = read_metrics(Metrics(version="1.2", node="edge-1").render())
    assert read["edgeproxy_build_info"].value("edgeproxy_build_info", version="1.2", node="edge-1") == 1
    assert read["edgeproxy_connections_total"].value("edgeproxy_connections_total") == 0
    assert read["process_cpu_seconds_total"].value("process_cpu_seconds_total") > 0
    assert read["process_resident_memory_bytes"].value("process_resident_memory_bytes") > 1 << 20


def test_each_exchange_is_in_one_outcome() -> None:
    metrics = Metrics(version="1", node="n")
    site = metrics.site('sh"op')
    for count, outcome in enumerate(OUTCOMES, start=1):
        setattr(site, outcome, count)
    each = read_metrics(metrics.render())["edgeproxy_requests_total"]
    assert {dict(labels)["outcome"]: value for (_, labels), value in each.samples.items()} == {
        "hit": 1,
        "stale": 2,
        "revalidated": 3,
        "miss": 4,
        "coalesced": 5,
        "pass": 6,
        "own": 7,
        "refused": 8,
        "error": 9,
    }
    assert {dict(labels)["site"] for _, labels in each.samples} == {'sh"op'}
    assert site.exchanges == 45


def test_the_same_site_has_the_same_counters() -> None:
    metrics = Metrics(version="1", node="n")
    metrics.site("a").hits += 1
    metrics.site("a").hits += 1
    assert metrics.site("a").hits == 2


def test_everything_that_is_counted_is_rendered() -> None:
    metrics = Metrics(version="1", node="n")
    site = metrics.site("a")
    site.bytes = 10
    site.corrupt_bodies = 1
    site.origin_tries = 3
    site.origin_errors.add("OriginRefused", 2)
    site.stale_reasons.add("stale-if-error")
    site.duration.observe(0.2)
    site.origin_duration.observe(0.1)
    metrics.connections = 5
    metrics.refused_requests.add("400")
    metrics.ledger_blocks = 7
    metrics.ledger_refused = 1
    metrics.ledger_commit.observe(0.004)
    read = read_metrics(metrics.render())
    assert read["edgeproxy_response_bytes_total"].value("edgeproxy_response_bytes_total", site="a") == 10
    assert read["edgeproxy_corrupt_bodies_total"].value("edgeproxy_corrupt_bodies_total", site="a") == 1
    assert read["edgeproxy_origin_tries_total"].value("edgeproxy_origin_tries_total", site="a") == 3
    assert read["edgeproxy_origin_errors_total"].value("edgeproxy_origin_errors_total", site="a", error="OriginRefused") == 2
    assert read["edgeproxy_stale_total"].value("edgeproxy_stale_total", site="a", reason="stale-if-error") == 1
    assert read["edgeproxy_request_duration_seconds"].value("edgeproxy_request_duration_seconds_bucket", site="a", le="0.25") == 1
    assert read["edgeproxy_origin_duration_seconds"].value("edgeproxy_origin_duration_seconds_count", site="a") == 1
    assert read["edgeproxy_connections_total"].value("edgeproxy_connections_total") == 5
    assert read["edgeproxy_refused_requests_total"].value("edgeproxy_refused_requests_total", status="400") == 1
    assert read["edgeproxy_ledger_blocks_total"].value("edgeproxy_ledger_blocks_total") == 7
    assert read["edgeproxy_ledger_refused_total"].value("edgeproxy_ledger_refused_total") == 1
    assert read["edgeproxy_ledger_commit_seconds"].value("edgeproxy_ledger_commit_seconds_bucket", le="0.005") == 1


def test_gauges_are_asked_when_rendered() -> None:
    metrics = Metrics(version="1", node="n")
    height = 3
    metrics.gauge(names.LEDGER_HEIGHT, lambda: height)
    assert read_metrics(metrics.render())["edgeproxy_ledger_height"].value("edgeproxy_ledger_height") == 3
    height = 4
    assert read_metrics(metrics.render())["edgeproxy_ledger_height"].value("edgeproxy_ledger_height") == 4


def test_a_gauge_that_fails_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(version="1", node="n")

    def broken() -> float:
        raise OSError("gone")

    metrics.gauge(names.DISK_USED, broken)
    metrics.gauge(names.CONNECTIONS, lambda: 2)
    with caplog.at_level(logging.WARNING):
        read = read_metrics(metrics.render())
    assert "edgeproxy_disk_used_bytes" not in read
    assert read["edgeproxy_connections"].value("edgeproxy_connections") == 2
    assert read["edgeproxy_gauge_errors_total"].value("edgeproxy_gauge_errors_total") == 1


def test_every_declared_metric_has_help_and_a_name_for_its_kind() -> None:
    declared = [each for each in vars(names).values() if isinstance(each, names.Metric)]
    assert len({each.name for each in declared}) == len(declared) > 20
    for each in declared:
        assert each.help.endswith(".") or each.name == "edgeproxy_build_info"
        assert (each.kind == "counter") == each.name.endswith("_total"), each.name


def test_what_the_hot_path_counts_is_part_of_its_site() -> None:
    site = Metrics(version="1", node="n").site("a")
    site.hits += 2
    site.bytes += 10
    site.ready.hits += 3
    site.ready.bytes += 30
    site.ready_page("injected").hits += 4
    site.ready_page("injected").bytes += 40
    assert (site.hits, site.sent, site.exchanges) == (9, 80, 9)
    site.hits += 1
    assert (site.hits, site.ready.hits) == (10, 3)
    site.count_page("injected")
    site.count_page("amp")
    site.ready_page("meta_csp")
    assert site.injections == {"injected": 5, "amp": 1}
