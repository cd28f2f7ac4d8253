"""`sw`: what visitors' service workers are to do, ordered while the edge runs.

Owns: the commands and how the answers look. An order outlives restarts, until it is taken back with `sw config`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeproxy.commands.operate import client
from edgeproxy.commands.options import AsJson, Config, Data
from edgeproxy.commands.printing import print_json, print_line, print_table, time_text

app = typer.Typer(help="Service workers: what they do in visitors' browsers, and the switch to end it.", no_args_is_help=True)

Site = Annotated[
    str | None, typer.Option("--site", metavar="HOST", help="One site only. [default: all sites]", show_default=False)
]


@app.command()
def status(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Modes by site, and whom service workers saved within the last day."""
    answer = client(data, config).service_workers()
    if json:
        print_json(answer)
    else:
        print_workers(answer)


@app.command()
def on(site: Site = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Serve proved copies where the network fails."""
    _order("on", site, data, config, json)


@app.command()
def observe(site: Site = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """See failures and report them; change nothing."""
    _order("observe", site, data, config, json)


@app.command()
def bypass(site: Site = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Stay in the browsers and touch nothing."""
    _order("bypass", site, data, config, json)


@app.command()
def kill(site: Site = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Unregister, and delete what is kept in the browsers."""
    _order("kill", site, data, config, json)


@app.command("config")
def as_configured(site: Site = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Take the last order back: what the configuration says counts again."""
    _order("config", site, data, config, json)


def _order(mode: str, site: str | None, data: Path | None, config: Path | None, json: bool) -> None:
    answer = client(data, config).order_workers(mode, site)
    if json:
        print_json(answer)
        return
    print_line(f"ordered; browsers learn of it at their next look, within five minutes (serial {answer.get('serial')})")
    print_workers(answer)


def print_workers(answer: dict[str, Any]) -> None:
    """A line for each site."""
    rows = []
    for site in answer.get("sites", []):
        receipts = site.get("receipts") or {}
        rows.append(
            (
                site.get("site"),
                f"{site.get('mode')} (ordered)" if site.get("ordered") else site.get("mode"),
                f"{site.get('percent')} %",
                receipts.get("served"),
                receipts.get("unproved"),
                _counts(receipts.get("by_source")),
                _counts(receipts.get("by_cause")),
                time_text(receipts.get("last")),
                ", ".join(site.get("own") or ()),
            )
        )
    heads = ("service worker", "mode", "visitors#", "saved in 24 h#", "unproved#", "from", "because of", "last", "yields at")
    print_table(heads, rows)


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) if isinstance(counts, dict) else ""
