"""Turns the figures of a load test into a Markdown table and a picture."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plain_tls import GOAL

COLOURS = {
    "edgeproxy": "#c2410c",
    "nginx": "#15803d",
    "HAProxy": "#1d4ed8",
    "Varnish": "#7e22ce",
    "Caddy": "#0e7490",
    "uvloop": "#a16207",
}


def _is_load(row: dict[str, Any]) -> bool:
    """Whether it is a row of the large table, with figures or with the reason why there are none."""
    return row["scenario"] != "crowd" and "lacks" not in row


def table(measured: dict[str, Any]) -> str:
    """One table for what was measured under load, one for the crowd, and what is to be said of both."""
    about = ", ".join(f"{name} {value}" for name, value in measured["machine"].items())
    servers = ", ".join(measured["servers"].values())
    options = measured["options"]
    lines = [
        "# Side by side",
        "",
        f"{measured['time']}; {about}. {servers}.",
        f"Median of {options['rounds']} rounds of {options['seconds']:g} s, {options['connections']} connections, keep-alive; "
        "server on one core, load and origin on another. Compare only within this table.",
        "For handshakes a request is a new connection with one cached hit of 100 bytes, four at once; the client, which has "
        "one core too, limits their number, not their cost.",
        "",
        "| scenario | server | CPU µs/request | requests/s | p50 µs | p99 µs | memory MB | wrong | asked of the origin |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_load_line(row) for row in measured["rows"] if _is_load(row)]
    if measured.get("missing"):
        lines += ["", f"Missing, and so left out: {', '.join(measured['missing'])}."]
    lines += _remarks(measured["rows"]) + _crowd(measured["rows"]) + _ratios(measured["rows"]) + _lacking(measured["rows"])
    return "\n".join(lines) + "\n"


def _load_line(row: dict[str, Any]) -> str:
    if "not_measured" in row:
        return f"| {row['title']} | {row['server']} | not measured: {row['not_measured']} | | | | | | |"
    wrong = row["bad_status"] + row["socket_errors"]
    return (
        f"| {row['title']} | {row['server']} | {row['cpu_us']:.1f} | {row['per_second']:,.0f} | {row['p50_us']:.0f} | "
        f"{row['p99_us']:.0f} | {row['memory_bytes'] / 1e6:.0f} | {wrong} | {row['origin_requests']} |"
    )


def _remarks(rows: list[dict[str, Any]]) -> list[str]:
    """What makes a figure worth less than it looks."""
    lines = []
    for row in rows:
        if row.get("empty_samples") and "not_measured" not in row:
            lines += ["", f"{row['server']}, {row['title']}: {row['empty_samples']} sample(s) without any answer, repeated."]
        if row.get("from_cache") and row.get("origin_requests"):
            asked = f"{row['origin_requests']} requests went to the origin although everything had been fetched before"
            lines += ["", f"{row['server']}, {row['title']}: {asked}; these figures are not of hits alone."]
    return lines


def _crowd(rows: list[dict[str, Any]]) -> list[str]:
    crowd = [row for row in rows if row["scenario"] == "crowd" and "lacks" not in row]
    lines = []
    if crowd:
        lines += ["", f"| {crowd[0]['title']} | asked of the origin | all answered after | wrong |", "|---|---:|---:|---:|"]
    for row in crowd:
        lines.append(f"| {row['server']} | {row['origin_requests']:.0f} | {row['all_answered_ms']:.0f} ms | {row['wrong']} |")
    return lines


GOALS = (
    ("handshake", "uvloop", f"goal: at most {GOAL}"),
    ("resumed", "uvloop", ""),
    ("tls-10k", "nginx", "goal: at most 1"),
    ("h2-10k-1", "nginx", ""),
    ("h2-10k-10", "nginx", ""),
)
"""Scenario, who it is measured by, what is wanted of the CPU per request."""


def _ratios(rows: list[dict[str, Any]]) -> list[str]:
    """edgeproxy's CPU per request as a multiple of another's."""
    found = {(row["scenario"], row["server"]): row for row in rows if "cpu_us" in row}
    lines = []
    for scenario, other, goal in GOALS:
        mine, theirs = found.get((scenario, "edgeproxy")), found.get((scenario, other))
        if mine and theirs and theirs["cpu_us"]:
            lines.append(f"| {mine['title']} | {other} | {mine['cpu_us'] / theirs['cpu_us']:.2f} | {goal} |")
    if not lines:
        return []
    return ["", "| edgeproxy's CPU per request over TLS | as a multiple of that of | | |", "|---|---|---:|---|", *lines]


def _lacking(rows: list[dict[str, Any]]) -> list[str]:
    """Who was not measured where, by what it is."""
    titles: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if "lacks" in row:
            titles.setdefault((row["server"], row["lacks"]), []).append(row["title"])
    lines = []
    for (server, reason), them in titles.items():
        lines += ["", f"Not measured: {server} ({reason}): {'; '.join(them)}."]
    return lines


def plot(measured: dict[str, Any], path: Path) -> None:
    """CPU time per request and requests per second, for each scenario a group of bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in measured["rows"] if "cpu_us" in row]
    if not rows:
        return
    groups = len({row["title"] for row in rows})
    figure, panels = plt.subplots(2, 1, figsize=(max(12, 1.8 * groups), 9), layout="constrained")
    _bars(panels[0], rows, lambda row: row["cpu_us"], "CPU time per request, µs (log scale, less is better)", "{:.1f}")
    _bars(panels[1], rows, lambda row: row["per_second"], "Requests per second (log scale, more is better)", "{:,.0f}")
    panels[0].legend(ncols=6, loc="upper left", frameon=False)
    title = textwrap.fill(f"One core each: {', '.join(measured['servers'].values())}", width=10 * max(12, groups))
    figure.suptitle(title, fontsize=11)
    about = measured["machine"]
    panels[1].set_xlabel(f"{about['cpu']}, kernel {about['kernel']}, {measured['time']}", fontsize=8, loc="right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bars(panel: Any, rows: list[dict[str, Any]], figure_of: Callable[[dict[str, Any]], float], label: str, text: str) -> None:
    titles = list(dict.fromkeys(row["title"] for row in rows))
    servers = list(dict.fromkeys(row["server"] for row in rows))
    width = 0.8 / len(servers)
    for number, server in enumerate(servers):
        mine = {row["title"]: figure_of(row) for row in rows if row["server"] == server}
        places = [index + (number - (len(servers) - 1) / 2) * width for index, title in enumerate(titles) if title in mine]
        bars = panel.bar(places, list(mine.values()), width * 0.92, label=server, color=COLOURS.get(server, "#525252"))
        panel.bar_label(bars, [text.format(value) for value in mine.values()], fontsize=7, padding=2, rotation=90)
    panel.set_xticks(range(len(titles)), [title.replace(", ", ",\n", 1) for title in titles])
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * 4)
    panel.set_ylabel(label)
    panel.spines[["top", "right"]].set_visible(False)
