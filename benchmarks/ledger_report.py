"""The figures of `benchmarks.ledger` as a table, each with what it is durable against and its goal."""

import statistics
from collections.abc import Sequence
from typing import Any

GOALS = {"append-256": 30_000, "audit": 100_000, "proof": 3_000}
"""Per second."""

_DURABLE = "on the disk at each commit (WAL, synchronous=FULL)"
_READ = "nothing is written"

ROWS = (
    ("append-1", "append + sign + durable, batch 1", "blocks/s", _DURABLE),
    ("append-16", "append + sign + durable, batch 16", "blocks/s", _DURABLE),
    ("append-256", "append + sign + durable, batch 256", "blocks/s", _DURABLE),
    ("database", "of that SQLite alone, batch 256, sealed before", "blocks/s", _DURABLE),
    ("audit", "full local audit, without bodies", "blocks/s", _READ),
    ("audit-1", "the same on one processor", "blocks/s", _READ),
    ("start", "start of the edge: recovery into memory", "blocks/s", _READ),
    ("proof", "check of a whole tlog-proof", "checks/s", _READ),
    ("inclusion", "check of an inclusion path", "checks/s", _READ),
)


def figure(rates: Sequence[float]) -> dict[str, float]:
    """What is kept of several rounds."""
    return {"best": max(rates), "median": statistics.median(rates)}


def table(measured: dict[str, Any]) -> str:
    """The Markdown file."""
    rows, goals = measured["rows"], measured["goals"]
    lines = [
        "# The ledger",
        "",
        f"Made by `python -m benchmarks.ledger`. {', '.join(f'{key} {value}' for key, value in measured['machine'].items())}.",
        "Best and median of several rounds: the best is what the program can do, the median what it did beside other work.",
        "",
        "| what | unit | goal | best | median | commit p50 / p99, ms | CPU µs | durability |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for key, title, unit, durability in ROWS:
        row = rows[key]
        goal = f"{goals[key]:,}" if key in goals else ""
        commit = f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}" if "p50_ms" in row else ""
        cpu = f"{row['cpu_us']:.1f}" if "cpu_us" in row else ""
        lines.append(
            f"| {title} | {unit} | {goal} | {row['best']:,.0f} | {row['median']:,.0f} | {commit} | {cpu} | {durability} |"
        )
    hits, blocks = rows["hits"], rows["audit"]["blocks"]
    return "\n".join(
        [
            *lines,
            "",
            f"The audit and the start read a ledger of {blocks:,} blocks. CPU is that of this process, without its helpers.",
            "",
            f"A cached hit takes {hits['idle_us']:.1f} µs of the edge's CPU with the ledger idle and {hits['busy_us']:.1f} µs",
            f"with {hits['mutations']:,.0f} blocks a second committed by the same process: ratio {hits['ratio']:.2f}",
            f"(median of {hits['rounds']:.0f} rounds that take turns). A block costs {hits['block_us']:.1f} µs there;",
            "that was measured alone and taken off.",
            "",
        ]
    )
