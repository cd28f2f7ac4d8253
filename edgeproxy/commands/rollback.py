"""`rollback`, `release`: bring a site back to what it was, and let it go on again.

Owns: their flags and how the answers look. The running edge is asked; the origin need not be there.
"""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from edgeproxy.commands.operate import client
from edgeproxy.commands.options import AsJson, Config, Data
from edgeproxy.commands.printing import complain, count_text, print_json, print_line, print_table, time_text, wrong_usage

To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="HEIGHT|TIME",
        help='A height, RFC 3339, "YYYY-MM-DD HH:MM[:SS]" (UTC), "now", or how long ago: 2h, "15m ago".',
        show_default=False,
    ),
]
Site = Annotated[str | None, typer.Option("--site", metavar="HOST", help="Only the site of this host.", show_default=False)]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="P", help="Only URLs that start with it, or paths (/blog/).", show_default=False),
]


def rollback(
    to: To,
    site: Site = None,
    prefix: Prefix = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What was not stored then is not found. Without: the origin is asked for it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Serve pages as they were, whatever the origin says, until `release`. One block; takes effect at once."""
    _require_moment(to)
    order = {"to": to, **_covered(site, prefix), "absent": "refuse" if strict else "fetch", "dry_run": dry_run}
    answer = client(data, config).rollback(order)
    if json:
        print_json(answer)
    elif dry_run:
        _print_survey(answer)
    else:
        print_line(f"block {answer.get('height')}: {_where(answer)} served as at {_then(answer)}")
        _print_covered(answer)
        flags = (("--site", site), ("--prefix", prefix), ("--data", data), ("--config", config))
        given = shlex.join(["edgeproxy", "release", *(str(part) for flag in flags if flag[1] is not None for part in flag)])
        print_line(f"`{given}` ends it; `edgeproxy status` shows what is in force")


def release(site: Site = None, prefix: Prefix = None, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """End the rollback of this scope; without --site and --prefix all that are in force. Exit status 1 when there is none."""
    answer = client(data, config).release(_covered(site, prefix))
    if json:
        print_json(answer)
        return
    for one in answer.get("released", []):
        print_line(f"block {one.get('height')}: {one.get('text')} released")


def print_rollbacks(rollbacks: list[Mapping[str, Any]]) -> None:
    """Those in force."""
    print_table(
        ("rollback", "to block#", "as at", "since block#", "ordered", "what was not stored then"),
        [
            (
                one.get("value") or one.get("site") or ("every site" if one.get("kind") == "node" else "(name lost)"),
                one.get("to"),
                time_text(one.get("to_time")),
                one.get("height"),
                time_text(one.get("time")),
                "not found" if one.get("absent") == "refuse" else "asked of the origin",
            )
            for one in rollbacks
        ],
    )


def _require_moment(text: str) -> None:
    from edgeproxy.clock import SystemClock
    from edgeproxy.ledger.moments import parse_moment

    try:
        parse_moment(text, SystemClock().now())
    except ValueError as error:
        wrong_usage(f"--to: {error}")


def _covered(site: str | None, prefix: str | None) -> dict[str, Any]:
    if prefix is not None and not prefix.startswith(("http://", "https://", "/")):
        wrong_usage(f"--prefix: {prefix!r} is not a prefix; allowed: http://HOST/PATH, https://HOST/PATH or /PATH")
    return {"site": site, "prefix": prefix}


def _where(answer: Mapping[str, Any]) -> str:
    scope = answer.get("scope")
    return str(scope.get("text")) if isinstance(scope, dict) else "the site"


def _then(answer: Mapping[str, Any]) -> str:
    time = time_text(answer.get("to_time"))
    return f"block {answer.get('to')}" + (f" ({time})" if time else "")


def _print_covered(answer: Mapping[str, Any]) -> None:
    """How much is served as then. One that covers nothing is most often a typing error, found out by nobody at night."""
    covered = answer.get("covered")
    if not isinstance(covered, dict):
        return  # an edge of an older version than this command
    urls, then = covered.get("urls", 0), covered.get("then", 0)
    if not urls:
        _complain_of_nothing(answer)
        return
    late = "is not found" if answer.get("absent") == "refuse" else None
    rest = f"what was not stored then {late}" if late else "for what was not stored then the origin is asked"
    print_line(f"{then} of {count_text(urls, 'stored URL')} are served as then; {rest}")


def _complain_of_nothing(answer: Mapping[str, Any]) -> None:
    scope = answer.get("scope")
    begins = "begins with it" if isinstance(scope, dict) and scope.get("kind") == "prefix" else "is covered by it"
    complain(f"nothing that is stored {begins}: {_where(answer)}; is it spelt as visitors ask for it?")


def _print_survey(answer: Mapping[str, Any]) -> None:
    counts: Mapping[str, int] = answer.get("counts", {})
    if not counts.get("urls"):
        _complain_of_nothing(answer)
    print_line(f"{_where(answer)} as at {_then(answer)}; nothing was written")
    if changes := answer.get("changes"):
        print_line("")
        print_table(
            ("would change", "block now#", "block then#", "content"),
            [(each["url"], each["now"], each["then"], "differs" if each["differs"] else "the same") for each in changes],
        )
    if missing := answer.get("missing"):
        print_line("")
        print_table(("not stored then",), [(url,) for url in missing])
    if erased := answer.get("erased"):
        print_line("")
        print_table(
            ("content gone", "block then#", "instead#"),
            [(each["url"], each["then"], "nothing" if each["instead"] is None else each["instead"]) for each in erased],
        )
    left = sum(counts.get(name, 0) - len(answer.get(name, [])) for name in ("changes", "missing", "erased"))
    if left:
        print_line(f"… and {left} more")
    # Last, where it stays on the screen behind long lists.
    print_line("")
    print_line(
        f"{count_text(counts.get('urls', 0), 'URL')}: {counts.get('changes', 0)} would change "
        f"({counts.get('differs', 0)} in content), {counts.get('same', 0)} stay, "
        f"{counts.get('missing', 0)} were not stored then, {counts.get('erased', 0)} have lost their content of then"
    )
