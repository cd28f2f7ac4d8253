"""The table of the ledger's figures: each beside its goal and what it is durable against."""

from benchmarks.ledger_report import GOALS, ROWS, figure, table

MEASURED = {
    "machine": {"cores": 2},
    "goals": GOALS,
    "rows": {
        **{key: {**figure([1000.0, 3000.0, 2000.0]), "cpu_us": 12.5, "p50_ms": 1.0, "p99_ms": 9.0} for key, *_ in ROWS},
        "audit": {**figure([120_000.0]), "blocks": 51_201},
        "hits": {"idle_us": 20.0, "busy_us": 21.0, "block_us": 50.0, "mutations": 2000.0, "ratio": 1.05, "rounds": 3},
    },
}


def test_best_and_median_are_kept() -> None:
    assert figure([1.0, 5.0, 2.0]) == {"best": 5.0, "median": 2.0}


def test_each_figure_says_how_durable_it_is() -> None:
    lines = table(MEASURED).splitlines()
    for _, title, unit, durability in ROWS:
        (line,) = (line for line in lines if line.startswith(f"| {title} |"))
        assert line.endswith(f"| {durability} |")
        assert f"| {unit} |" in line
    assert "| full local audit, without bodies | blocks/s | 100,000 | 120,000 | 120,000 |  |  | nothing is written |" in lines
    assert "ratio 1.05" in table(MEASURED)
