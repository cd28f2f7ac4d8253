"""Rows of the table: what many samples of one scenario and one server come to."""

import statistics
from typing import Any

from benchmarks.scenarios import Scenario


def row_of(scenario: Scenario, server: str, samples: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    """The median of each figure over the samples that have one; what must not happen is summed over all.

    A sample without a single answer has no figures: it is counted in `empty_samples`, never averaged in as zeros.
    """
    row: dict[str, Any] = {"scenario": scenario.key, "title": scenario.title, "server": server, "samples": samples}
    usable = [sample for sample in samples if sample["requests"]]
    row["empty_samples"] = len(samples) - len(usable)
    if not usable:
        row["not_measured"] = reason or f"no answer in {len(samples)} tries"
        return row
    for sample in usable:
        sample["per_second"] = sample["requests"] / sample["seconds"]
    for figure in ("cpu_us", "per_second", "p50_us", "p99_us", "memory_bytes"):
        row[figure] = statistics.median(sample[figure] for sample in usable)
    for figure in ("bad_status", "socket_errors", "origin_requests", "requests"):
        row[figure] = sum(sample[figure] for sample in samples)
    row["from_cache"] = scenario.from_cache
    row["spoken"] = next((sample["spoken"] for sample in usable if sample.get("spoken")), "")
    return row


def line(row: dict[str, Any]) -> str:
    if "not_measured" in row:
        return f"{row['server']:10} {row['title']:38} not measured: {row['not_measured']}"
    return (
        f"{row['server']:10} {row['title']:38} {row['cpu_us']:8.1f} µs CPU {row['per_second']:9.0f}/s "
        f"p50 {row['p50_us']:6.0f} µs p99 {row['p99_us']:7.0f} µs {row['memory_bytes'] / 1e6:7.1f} MB "
        f"bad {row['bad_status'] + row['socket_errors']} origin {row['origin_requests']} empty {row['empty_samples']}"
    )
