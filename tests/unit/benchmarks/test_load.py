"""The bookkeeping of the load test: a sample without answers is no figure, and the table says what was not measured."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import missing, parse, provide
from benchmarks.peers import ALL
from benchmarks.report import table
from benchmarks.rows import row_of
from benchmarks.scenarios import Scenario, handshake, hit, scenarios

HANDSHAKE = handshake("handshake", "TLS, full handshake each", "full")
SCENARIO = hit("hit-10k", "hit, 10 KB", 10_240)


def sample(requests: int, cpu_us: float = 10.0) -> dict[str, Any]:
    figures: dict[str, Any] = {"cpu_us": cpu_us} if requests else {}
    counts = {"bad_status": 0, "socket_errors": 0, "origin_requests": 1, "memory_bytes": 5_000_000, "cpu_seconds": 0.0}
    return {"requests": requests, "seconds": 2.0, "p50_us": 100, "p99_us": 900, **counts, **figures}


def measured(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": "2025-11-24T00:00:00+00:00",
        "machine": {"cpu": "any"},
        "servers": {"nginx": "nginx/1"},
        "options": {"rounds": 3, "seconds": 4.0, "connections": 32},
        "rows": list(rows),
    }


def test_row_is_the_median_of_its_samples_and_counts_what_must_not_happen() -> None:
    row = row_of(SCENARIO, "nginx", [sample(1000, 9.0), sample(3000, 30.0), sample(2000, 10.0)], None)
    assert (row["cpu_us"], row["per_second"], row["origin_requests"], row["empty_samples"]) == (10.0, 1000, 3, 0)


def test_sample_without_an_answer_is_counted_and_not_averaged_in() -> None:
    row = row_of(SCENARIO, "nginx", [sample(0), sample(2000, 10.0)], None)
    assert (row["cpu_us"], row["per_second"], row["empty_samples"]) == (10.0, 1000, 1)
    assert "nginx, hit, 10 KB: 1 sample(s) without any answer" in table(measured(row))


def test_no_usable_sample_is_no_figure() -> None:
    row = row_of(SCENARIO, "nginx", [sample(0), sample(0)], None)
    assert "cpu_us" not in row
    assert "not measured: no answer in 2 tries" in table(measured(row))


def test_reason_why_a_server_was_not_measured_is_told() -> None:
    row = row_of(SCENARIO, "nginx", [], "wrong answer: status 500, 0 bytes")
    assert "not measured: wrong answer: status 500, 0 bytes" in table(measured(row))


def test_hits_that_were_no_hits_are_told() -> None:
    row = row_of(SCENARIO, "nginx", [sample(1000)], None)
    assert "1 requests went to the origin" in table(measured(row))
    row["origin_requests"] = 0
    assert "went to the origin" not in table(measured(row))


def test_every_scenario_but_the_miss_is_warmed_and_probed_with_what_it_asks_for() -> None:
    every: list[Scenario] = list(scenarios(100, "run"))
    assert [scenario.key for scenario in every] == [
        *("hit-1k", "hit-10k", "hit-1m", "304"),
        *("tls-10k", "h2-10k-1", "h2-10k-10", "handshake", "resumed"),
        *("miss", "zipf"),
    ]
    for scenario in every:
        assert bool(scenario.warm) is scenario.from_cache
        assert not scenario.from_cache or scenario.probe in scenario.warm


def test_server_that_cannot_be_asked_is_named_below_the_table_with_all_that_it_lacks() -> None:
    rows = [{"scenario": key, "title": key, "server": "Varnish", "lacks": "it speaks no TLS"} for key in ("tls-10k", "handshake")]
    text = table(measured(*rows))
    assert "Not measured: Varnish (it speaks no TLS): tls-10k; handshake." in text
    assert "| tls-10k |" not in text


def test_what_is_missing_on_the_machine_is_named() -> None:
    told = {**measured(), "missing": ["h2load (Debian package nghttp2-client)"]}
    assert "Missing, and so left out: h2load (Debian package nghttp2-client)." in table(told)


def test_program_that_is_not_here_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program in {"h2load", "varnishd"} else program)
    options, _ = parse(["--only", "varnish", "--no-install"])
    assert missing(options) == {"varnishd": "varnish", "h2load": "nghttp2-client"}
    assert provide(options) == ["varnishd (Debian package varnish)", "h2load (Debian package nghttp2-client)"]


def test_nothing_is_measured_without_wrk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program == "wrk" else program)
    with pytest.raises(SystemExit, match="wrk"):
        provide(parse(["--no-install"])[0])


def test_ratios_over_tls_are_told_with_their_goals() -> None:
    rows = [
        row_of(HANDSHAKE, server, [sample(1000, cpu_us)], None) for server, cpu_us in (("edgeproxy", 110.0), ("uvloop", 100.0))
    ]
    assert f"| {HANDSHAKE.title} | uvloop | 1.10 | goal: at most 1.15 |" in table(measured(*rows))
    assert "as a multiple" not in table(measured(rows[0]))


def test_servers_and_scenarios_are_chosen_and_unknown_ones_refused(tmp_path: Path) -> None:
    options, path = parse(["--only", "nginx", "--scenario", "tls-10k,crowd", "--results", str(tmp_path)])
    assert [peer.name for peer in ALL if options.takes_part(peer)] == ["nginx"]
    assert options.wants("crowd")
    assert not options.wants("handshake")
    assert path == tmp_path / "load-quick"
    for wrong in (["--only", "apache"], ["--scenario", "tls"]):
        with pytest.raises(SystemExit):
            parse(wrong)


def test_whole_run_is_the_one_for_the_record() -> None:
    options, path = parse([])
    assert (options.rounds, path.name) == (3, "load")
    assert parse(["--quick"])[1].name == "load-quick"
