"""Compares the policies of the memory tier: how often they hit, and what a `get` that hits costs.

`python -m benchmarks.eviction` writes benchmarks/results/eviction.json and eviction.md.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.traces import REQUESTS, Trace, all_traces
from edgeproxy.storage.eviction.lru import Lru
from edgeproxy.storage.eviction.s3fifo import S3Fifo
from edgeproxy.storage.eviction.sieve import Sieve
from edgeproxy.storage.memory import MemoryTier

RESULTS = Path(__file__).parent / "results"
POLICIES: dict[str, Callable[[int], Any]] = {"LRU": Lru, "SIEVE": Sieve, "S3-FIFO": S3Fifo}
SHARES = (0.01, 0.05, 0.1, 0.25)
"""Budgets as shares of the bytes of all objects of a trace."""

GETS = 1_000_000


def replay(trace: Trace, policy: Callable[[int], Any], budget: int) -> dict[str, float]:
    """Hit ratios by requests and by bytes, and the seconds that the whole trace took."""
    tier: MemoryTier[int] = MemoryTier(budget, policy)
    get, put, sizes = tier.get, tier.put, trace.sizes
    keys = [str(number) for number in range(len(sizes))]
    hits = hit_bytes = 0
    began = time.perf_counter()
    for number in trace.numbers:
        size = sizes[number]
        if get(keys[number]) is None:
            put(keys[number], 1, size)
        else:
            hits += 1
            hit_bytes += size
    took = time.perf_counter() - began
    total = sum(sizes[number] for number in trace.numbers)
    return {"hit_ratio": hits / len(trace.numbers), "byte_hit_ratio": hit_bytes / total, "seconds": took}


def get_cost(policy: Callable[[int], Any], keys: int = 10_000) -> float:
    """Nanoseconds of one `get` that hits, the loop around it taken off; the best of five."""
    tier: MemoryTier[int] = MemoryTier(1 << 30, policy)
    names = [f"http://example.org/page/{number}" for number in range(keys)]
    for name in names:
        tier.put(name, 1, 100)
    get = tier.get
    rounds = GETS // keys
    best = empty = float("inf")
    for _ in range(5):
        began = time.perf_counter_ns()
        for _ in range(rounds):
            for name in names:
                get(name)
        best = min(best, time.perf_counter_ns() - began)
        began = time.perf_counter_ns()
        for _ in range(rounds):
            for _name in names:
                pass
        empty = min(empty, time.perf_counter_ns() - began)
    return (best - empty) / (rounds * keys)


def put_cost(policy: Callable[[int], Any], puts: int = 200_000) -> float:
    """Nanoseconds of one `put` into a full tier, eviction included."""
    tier: MemoryTier[int] = MemoryTier(100_000, policy)
    names = [str(number) for number in range(puts)]
    began = time.perf_counter_ns()
    for name in names:
        tier.put(name, 1, 100)
    return (time.perf_counter_ns() - began) / puts


def measure() -> dict[str, Any]:
    """Everything, as it goes into the JSON file."""
    costs = {name: {"get_ns": get_cost(policy), "put_ns": put_cost(policy)} for name, policy in POLICIES.items()}
    rows = []
    for trace in all_traces():
        for share in SHARES:
            budget = int(trace.footprint * share)
            results = {name: replay(trace, policy, budget) for name, policy in POLICIES.items()}
            rows.append({"trace": trace.name, "share": share, "budget": budget, "policies": results})
            print(trace.name, share, {name: round(result["hit_ratio"], 4) for name, result in results.items()}, flush=True)
    return {"machine": machine.describe(), "requests": REQUESTS, "costs": costs, "rows": rows}


def table(measured: dict[str, Any]) -> str:
    """The Markdown file."""
    names = list(POLICIES)
    lines = [
        "# Eviction policies of the memory tier",
        "",
        f"Made by `python -m benchmarks.eviction`; {measured['requests']:,} requests a trace. {machine.line()}.",
        "",
        "| cost, ns | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for cost, label in (("get_ns", "`get` that hits"), ("put_ns", "`put` into a full tier")):
        lines.append(f"| {label} | " + " | ".join(f"{measured['costs'][name][cost]:.0f}" for name in names) + " |")
    for ratio, label in (("hit_ratio", "Requests that hit, %"), ("byte_hit_ratio", "Bytes that hit, %")):
        lines += ["", f"| {label} | memory | " + " | ".join(names) + " |", "|---|---:|" + "---:|" * len(names)]
        for row in measured["rows"]:
            values = [row["policies"][name][ratio] for name in names]
            cells = [f"**{value * 100:.1f}**" if value == max(values) else f"{value * 100:.1f}" for value in values]
            lines.append(f"| {row['trace']} | {row['share']:.0%} | " + " | ".join(cells) + " |")
        means = [sum(row["policies"][name][ratio] for row in measured["rows"]) / len(measured["rows"]) for name in names]
        lines.append("| mean of all | | " + " | ".join(f"{mean * 100:.1f}" for mean in means) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    measured = measure()
    (RESULTS / "eviction.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "eviction.md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


if __name__ == "__main__":
    main()
