"""`status`, `explain`, `purge`, `reload`: commands that ask a running edge through its admin side.

Owns: their flags and how the answers look. The edge is found through its data folder.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeproxy.admin.client import AdminClient
from edgeproxy.commands.options import AsJson, Config, Data, data_folder, require_url
from edgeproxy.commands.printing import (
    bytes_text,
    complain,
    count_text,
    percent_text,
    print_facts,
    print_json,
    print_line,
    print_table,
    seconds_text,
    time_text,
    wrong_usage,
)


def client(data: Path | None, config: Path | None) -> AdminClient:
    """The edge that the flags mean. Raises `NotRunning`."""
    return AdminClient.of_folder(data_folder(data, config))


def status(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """The running edge: sites, origins, hit ratio, ledger head."""
    answer = client(data, config).status()
    if json:
        print_json(answer)
        return
    store, ledger = _table(answer, "store"), _table(answer, "ledger")
    print_facts(
        f"{answer.get('node', 'edge')} · edgeproxy {answer.get('version', '')}",
        (
            ("up", seconds_text(answer.get("uptime_seconds"))),
            ("state", "draining" if answer.get("draining") else "serving"),
            ("listening on", ", ".join(map(str, answer.get("listen", [])))),
            ("with TLS on", ", ".join(map(str, answer.get("listen_tls", []))) or None),
            ("configuration", answer.get("config")),
            ("connections", answer.get("connections")),
            ("stored responses", store.get("objects")),
            ("memory", _used(store, "memory")),
            ("disk", _used(store, "disk")),
            ("ledger", f"{ledger.get('size', 0)} blocks, {ledger.get('pending', 0)} pending"),
            ("ledger root", ledger.get("root")),
            ("final", _finality(_table(answer, "finality"))),
        ),
    )
    print_validators(_table(answer, "finality"))
    _complain_of_origins(answer.get("sites", []))
    print_line("")
    print_table(
        ("site", "origins", "requests#", "hits#", "hit ratio#", "stale#", "errors#"),
        [
            (
                ", ".join(site.get("hosts", [])),
                ", ".join(f"{origin.get('url')} {origin.get('state', '')}".strip() for origin in site.get("origins", [])),
                site.get("requests"),
                site.get("hits"),
                percent_text(site.get("hit_ratio")),
                site.get("stale"),
                site.get("errors"),
            )
            for site in answer.get("sites", [])
        ],
    )
    if (workers := _table(answer, "service_workers")) and any(
        site.get("mode") != "kill" or site.get("ordered") or (site.get("receipts") or {}).get("last")
        for site in workers.get("sites", [])
    ):
        from edgeproxy.commands.workers import print_workers

        print_line("")
        print_workers(dict(workers))
    if certificates := answer.get("certificates"):
        print_line("")
        print_certificates(certificates)
    if rollbacks := answer.get("rollbacks"):
        from edgeproxy.commands.rollback import print_rollbacks

        print_line("")
        print_rollbacks(rollbacks)


def _complain_of_origins(sites: Sequence[Mapping[str, Any]]) -> None:
    """Those that did not answer as they should when they were asked last."""
    for site in sites:
        for origin in site.get("origins", []):
            if origin.get("state") in ("down", "erring"):
                what = "is down" if origin["state"] == "down" else "answers with errors"
                since, host = time_text(origin.get("since")), ", ".join(site.get("hosts", []))
                complain(f"origin {origin.get('url')} of {host} {what} since {since}: {origin.get('why')}")


def _finality(answer: Mapping[str, Any]) -> str | None:
    """What is final, in a line; None without validators."""
    if not answer:
        return None
    behind = f", {count_text(answer.get('lag_blocks', 0), 'block')} behind for {seconds_text(answer.get('lag_seconds'))}"
    return f"{answer.get('final_size') or 0} blocks, {answer.get('state')}" + (behind if answer.get("lag_blocks") else "")


def print_validators(answer: Mapping[str, Any]) -> None:
    """Each validator: what it has cosigned, and why not more. What must be looked at comes first."""
    if not answer:
        return
    for alarm in answer.get("alarms", []):
        complain(f"ledger: {alarm}")
    print_line("")
    print_table(
        ("validator", "cosigned#", "at", "failures#", "problem"),
        [
            (
                one.get("name"),
                one.get("size"),
                time_text(one["cosigned_at"] * 1000) if one.get("cosigned_at") else None,
                one.get("failures"),
                one.get("alarm") or one.get("problem") or "",
            )
            for one in answer.get("validators", [])
        ],
    )


def print_certificates(certificates: Sequence[Mapping[str, Any]]) -> None:
    """What is served for each name, until when, what comes next, and what the last attempt that failed was told."""
    print_table(
        ("certificate", "state", "ends in", "next attempt", "issuer", "last failure"),
        [_certificate_row(one, datetime.now(UTC).timestamp()) for one in certificates],
    )


def _certificate_row(one: Mapping[str, Any], now: float) -> tuple[object, ...]:
    failure = one.get("last_failure") or {}
    left, upcoming = one.get("seconds_left"), one.get("next_attempt")
    ends = "" if left is None else seconds_text(left) if left > 0 else f"ended {seconds_text(-left)} ago"
    when = "" if upcoming is None else f"in {seconds_text(max(upcoming - now, 0))}"
    said = f"{failure.get('problem', '')}: {failure.get('detail', '')}".strip(": ") or one.get("advice", "")
    return ", ".join(one.get("names", [])), one.get("state"), ends, when, one.get("issuer"), said


def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="Absolute URL, as a client would ask for it.", show_default=False)],
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Request header; repeatable.", show_default=False),
    ] = None,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Which site, rule, key, stored variants, plan and reason. The origin is not asked."""
    require_url(url)
    fields = []
    for line in header or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            wrong_usage(f"--header: {line!r} is not a header; allowed: 'NAME: VALUE'")
        fields.append((name.strip(), value.strip()))
    answer = client(data, config).explain(url, fields)
    if json:
        print_json(answer)
        return
    named = ("site", "key", "rule", "plan", "reason")
    rest = [
        (name, value)
        for name, value in answer.items()
        if name not in (*named, "url", "variants") and not isinstance(value, dict | list)
    ]
    print_facts(str(answer.get("url", url)), [*((name, answer.get(name)) for name in named), *rest])
    if variants := answer.get("variants"):
        print_line("")
        print_table(
            ("", "block#", "status#", "age#", "fresh for#", "length#", "selected by"),
            [
                (
                    "→" if variant.get("selected") else "",
                    variant.get("height"),
                    variant.get("status"),
                    seconds_text(variant.get("age")),
                    seconds_text(variant.get("fresh_for")),
                    bytes_text(variant.get("length")),
                    _selecting(variant),
                )
                for variant in variants
            ],
        )
    else:
        print_line("nothing is stored for it")


def purge(
    url: Annotated[list[str] | None, typer.Argument(metavar="URL…", help="Absolute URLs.", show_default=False)] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(metavar="P", help="Prefix of URLs, or of paths (/blog/); repeatable.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="Surrogate key or cache tag; repeatable.", show_default=False)
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="A whole site; with --prefix /PATH or --tag, only there.", show_default=False),
    ] = None,
    hard: Annotated[
        bool, typer.Option("--hard", help="As if never stored. Without: stale, but good if the origin fails.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would match, and write nothing.")] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Purge stored responses by URL, prefix, tag or site."""
    given = [(kind, values) for kind, values in (("url", url), ("prefix", prefix), ("tag", tag)) if values]
    if len(given) > 1 or (url and site is not None):
        wrong_usage("purge takes one of: URLs, --prefix, --tag, --site (which may also narrow --prefix /PATH or --tag)")
    if not given and site is None:
        wrong_usage("purge needs what to purge: URLs, --prefix, --tag or --site")
    kind, values = given[0] if given else ("site", [str(site)])
    for value in values:
        if kind == "url":
            require_url(value)
        elif kind == "prefix" and not value.startswith(("http://", "https://", "/")):
            wrong_usage(f"{value!r} is not a prefix; allowed: http://HOST/PATH, https://HOST/PATH or /PATH")
    order = {"kind": kind, "values": values, "site": site if given else None, "hard": hard, "dry_run": dry_run}
    answer = client(data, config).purge(order)
    if json:
        print_json(answer)
        return
    matched = answer.get("matched")
    found = count_text(matched, "stored response") if isinstance(matched, int) else "stored responses"
    if dry_run:
        print_line(f"would purge {found}; nothing was written")
    else:
        heights = ", ".join(str(height) for height in answer.get("heights", []))
        print_line(f"purged {found} ({'hard' if hard else 'soft'}), block {heights or '–'}")


def reload(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Make the running edge read its configuration anew. A bad one is refused and the old goes on (exit status 2)."""
    answer = client(data, config).reload()
    faults = [str(fault) for fault in answer.get("faults", [])]
    if json:
        print_json(answer)
    elif faults:
        for fault in faults:
            print_line(fault)
        complain("configuration refused, the old one goes on")
    elif waiting := answer.get("restart"):
        print_line("configuration applied, but not all of it: restart the edge for")
        for line in waiting:
            print_line(str(line))
    else:
        print_line("configuration applied")
    if faults:
        raise typer.Exit(2)


def _table(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def _used(store: Mapping[str, Any], what: str) -> str | None:
    used, limit = bytes_text(store.get(f"{what}_used")), bytes_text(store.get(f"{what}_limit"))
    return None if used is None else f"{used} of {limit}" if limit else used


def _selecting(variant: Mapping[str, Any]) -> str:
    chosen = variant.get("selecting")
    if not isinstance(chosen, dict) or not chosen:
        return "–"
    return ", ".join(f"{name}: {value if value is not None else '(absent)'}" for name, value in chosen.items())
