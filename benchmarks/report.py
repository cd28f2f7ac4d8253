"""Turns the figures of a load test into a Markdown table and a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

COLOURS = {"edgeproxy": "#c2410c", "nginx": "#15803d", "HAProxy": "#1d4ed8", "Varnish": "#7e22ce"}


def table(measured: dict[str, Any]) -> str:
    """One table for what wrk measured, one for the crowd."""
    about = ", ".join(f"{name} {value}" for name, value in measured["machine"].items())
    servers = ", ".join(measured["servers"].values())
    options = measured["options"]
    lines = [
        "# Side by side",
        "",
        f"{measured['time']}; {about}. {servers}.",
        f"Median of {options['rounds']} rounds of {options['seconds']:g} s, {options['connections']} connections, keep-alive; "
        "server on one core, wrk and origin on another. Compare only within this table.",
        "",
        "| scenario | server | CPU µs/request | requests/s | p50 µs | p99 µs | memory MB | wrong | asked of the origin |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in measured["rows"]:
        if row["scenario"] == "crowd":
            continue
        if "not_measured" in row:
            lines.append(f"| {row['title']} | {row['server']} | not measured: {row['not_measured']} | | | | | | |")
            continue
        wrong = row["bad_status"] + row["socket_errors"]
        lines.append(
            f"| {row['title']} | {row['server']} | {row['cpu_us']:.1f} | {row['per_second']:,.0f} | {row['p50_us']:.0f} | "
            f"{row['p99_us']:.0f} | {row['memory_bytes'] / 1e6:.0f} | {wrong} | {row['origin_requests']} |"
        )
    for row in measured["rows"]:
        if row.get("empty_samples") and "not_measured" not in row:
            lines += ["", f"{row['server']}, {row['title']}: {row['empty_samples']} sample(s) without any answer, repeated."]
        if row.get("from_cache") and row.get("origin_requests"):
            asked = f"{row['origin_requests']} requests went to the origin although everything had been fetched before"
            lines += ["", f"{row['server']}, {row['title']}: {asked}; these figures are not of hits alone."]
    crowd = [row for row in measured["rows"] if row["scenario"] == "crowd"]
    if crowd:
        lines += ["", f"| {crowd[0]['title']} | asked of the origin | all answered after | wrong |", "|---|---:|---:|---:|"]
    for row in crowd:
        lines.append(f"| {row['server']} | {row['origin_requests']:.0f} | {row['all_answered_ms']:.0f} ms | {row['wrong']} |")
    return "\n".join(lines) + "\n"


def plot(measured: dict[str, Any], path: Path) -> None:
    """CPU time per request and requests per second, for each scenario a group of bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in measured["rows"] if row["scenario"] != "crowd" and "not_measured" not in row]
    if not rows:
        return
    figure, panels = plt.subplots(2, 1, figsize=(12, 9), layout="constrained")
    _bars(panels[0], rows, lambda row: row["cpu_us"], "CPU time per request, µs (log scale, less is better)", "{:.1f}")
    _bars(panels[1], rows, lambda row: row["per_second"], "Requests per second (log scale, more is better)", "{:,.0f}")
    servers = measured["servers"]
    panels[0].legend(ncols=4, loc="upper left", frameon=False)
    figure.suptitle(f"One core each: {', '.join(servers.values())}", fontsize=11)
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
