"""`ledger erase`, `ledger export` and `restore`: what an operator does before and after the worst.

Owns: their flags and how the answers look. What is erased, written and rebuilt is the business of `exchange.erasure` and
`recovery`.
"""

import asyncio
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeproxy.admin.client import AdminClient
from edgeproxy.clock import SystemClock
from edgeproxy.commands.bars import bars
from edgeproxy.commands.options import AsJson, Config, Data, data_folder, require_url
from edgeproxy.commands.printing import (
    answer_no,
    bytes_text,
    complain,
    count_text,
    print_facts,
    print_json,
    print_line,
    wrong_usage,
)
from edgeproxy.errors import EdgeError, ProofRefused, StartError
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.notes import NO_KNOWN_KEY

if TYPE_CHECKING:
    from edgeproxy.recovery.restore import Outcome, Restore, Source


def erase(
    url: Annotated[str, typer.Argument(metavar="URL", help="Absolute URL; every variant of it is meant.", show_default=False)],
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Also bodies that other URLs have: those lose their versions too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and erase nothing.")] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Delete what is stored of a page for good: heads, bodies, names. The chain stays whole, and a block says so. Not undone."""
    require_url(url)
    order = {"url": url, "everywhere": everywhere, "dry_run": dry_run}
    answer = AdminClient.of_folder(data_folder(data, config), timeout=300.0).ledger_erase(order)
    if json:
        print_json(answer)
        return
    what = f"{count_text(answer['versions'], 'version')}, {answer['bodies']} of their bodies ({bytes_text(answer['bytes'])})"
    if dry_run:
        print_line(f"would erase {what}")
    else:
        heights = ", ".join(str(height) for height in answer["heights"])
        print_line(f"erased {what}; said in block {heights}")
    if answer["kept"]:
        print_line(f"{answer['kept']} bodies stay, since other URLs have them too (--everywhere erases them)")
    if answer["others"]:
        lose = "would lose" if dry_run else "lost"
        print_line(f"{count_text(answer['others'], 'other URL')} {lose} versions with these bodies")
    for name in answer["left"]:
        complain(f"{name} is a damaged database that was kept, and may hold what was erased: delete it by hand")
    if not dry_run:
        print_line("the origin still has it? Then the next visitor brings it back: take it away there first, and erase again")


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes, as NAME.warc.gz.", show_default=False)],
    since: Annotated[int, typer.Option(metavar="HEIGHT", min=0, help="Heads and bodies of blocks from this one on.")] = 0,
    bodies: Annotated[bool, typer.Option("--bodies/--no-bodies", help="Bodies too, or blocks and heads only.")] = True,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="The log's private key too: who has the file can sign in its name.")
    ] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Write the ledger with heads and bodies as WARC, for `restore` and for archive tools. Works beside a running edge."""
    from edgeproxy.recovery.export import Wanted
    from edgeproxy.recovery.export import export as write

    folder = data_folder(data, config)
    if not (folder / "ledger.sqlite").is_file():
        answer_no(f"there is no ledger in {folder}")
    with bars(show=not json, waiting=f"waiting for {folder}") as move:
        report = write(folder, file, Wanted(since, bodies, with_key), SystemClock().now(), move)
    if json:
        print_json(
            {
                "file": str(file),
                "origin": report.origin,
                "vkey": report.vkey,
                "size": report.size,
                "heads": report.heads,
                "bodies": report.bodies,
                "body_bytes": report.body_bytes,
                "without_heads": report.without_heads,
                "without_bodies": len(report.without_bodies),
            }
        )
        return
    what = f"heads and bodies of blocks {since} to {report.size - 1}" if since else count_text(report.size, "block")
    print_line(f"wrote {file}: {what}, {report.bodies} bodies ({bytes_text(report.body_bytes)})")
    if since:
        print_line("it is an addition to an export of the blocks before: restore takes it with another --from behind that")
    if report.without_heads:
        complain(f"{count_text(len(report.without_heads), 'stored head')} could not be read; edgeproxy ledger verify says more")
    if report.without_bodies and bodies:
        print_line(f"{count_text(len(report.without_bodies), 'block')} without a body: evicted, erased, or lost")
    if with_key:
        complain(f"{file} holds the private key of the log: keep it as safe as {folder / 'ledger-key'}")
    print_line(f"keep the log's public key with it, and not in it alone: {report.vkey}")


def restore(
    sources: Annotated[
        list[str],
        typer.Option("--from", metavar="FILE|URL", help="An export (repeatable, oldest first), or an edge.", show_default=False),
    ],
    key: Annotated[str | None, typer.Option(metavar="VKEY", help="Public key of the log to trust.", show_default=False)] = None,
    trust_first_use: Annotated[
        bool, typer.Option("--trust-first-use", help="With a URL and no --key: trust the key that the edge names.")
    ] = False,
    admin_token: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The URL is an admin side, and this its token: names come too.", show_default=False),
    ] = None,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Rebuild an empty data folder from an export or from a living edge, verifying all of it. Interrupted, run it again."""
    from edgeproxy.recovery.restore import Restore
    from edgeproxy.recovery.staging import STAGING_FILE

    urls = [source for source in sources if source.startswith(("http://", "https://"))]
    if urls and len(sources) > 1:
        wrong_usage("restore takes one URL, or one or more files")
    if admin_token is not None and not urls:
        wrong_usage("--admin-token goes with the URL of an admin side")
    trusted = _trusted(key)
    if urls and trusted is None and not trust_first_use and admin_token is None:
        wrong_usage("whose ledger is it? Give its key with --key (on that edge: edgeproxy ledger head), or --trust-first-use")
    token = _token(admin_token) if admin_token is not None else None
    folder = data_folder(data, config)
    try:
        with bars(show=not json, waiting=f"waiting for {sources[0]}") as move:
            work = Restore(folder, trusted, True, _say_key, move)
            outcome = asyncio.run(_restore(work, sources, token))
    except KeyboardInterrupt:
        complain(f"interrupted; what was taken so far is kept in {folder}: run it again, and it goes on")
        raise
    except EdgeError as error:
        complain(str(error))
        if isinstance(error, ProofRefused) and error.text == NO_KNOWN_KEY:
            complain("the source is of another log than --key, or its key is older than yours: compare the two")
        elif (folder / STAGING_FILE).exists() and not isinstance(error, StartError):
            complain(f"what was proved so far is kept in {folder}: run it again, with a whole source, and it goes on")
        raise typer.Exit(1) from None
    _print_outcome(outcome, json=json)


async def _restore(work: "Restore", places: list[str], token: str | None) -> "Outcome":
    from edgeproxy.recovery.restore_edge import AdminSource, PublicSource
    from edgeproxy.recovery.restore_file import FileSource

    async with AsyncExitStack() as stack:
        sources: list[Source] = []
        for place in places:
            if not place.startswith(("http://", "https://")):
                sources.append(stack.enter_context(closing(FileSource(Path(place)))))
            elif token is not None:
                sources.append(await stack.enter_async_context(AdminSource(place, token)))
            else:
                sources.append(await stack.enter_async_context(PublicSource(place)))
        return await work.run(sources)


def _trusted(key: str | None) -> Verifier | None:
    try:
        return None if key is None else parse_verifier(key)
    except ProofRefused as error:
        wrong_usage(f"--key is not a verifier key: {error}")


def _token(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise StartError("admin token cannot be read", file=file) from None


def _say_key(log: Verifier) -> None:
    complain(f"trusting the key that the source itself names, {log}: compare it with one that you have from elsewhere")


def _print_outcome(outcome: "Outcome", *, json: bool) -> None:
    if json:
        print_json(
            {
                "origin": outcome.origin,
                "size": outcome.size,
                "vkey": str(outcome.log),
                "keeps_key": outcome.keeps_key,
                "bodies": outcome.bodies,
                "fetched": outcome.fetched,
                "missing_heads": outcome.missing_heads,
                "missing_bodies": outcome.missing_bodies,
            }
        )
        return
    print_facts(
        outcome.origin,
        (
            ("blocks", outcome.size),
            ("bodies", f"{outcome.bodies} ({outcome.fetched} of them now)"),
            ("signed by", outcome.log),
            ("not at the source", f"{outcome.missing_heads} heads, {outcome.missing_bodies} bodies"),
        ),
    )
    if outcome.keeps_key:
        print_line("the log goes on under its own key: see that nothing else signs with it")
    else:
        print_line("the ledger goes on under a new key, made at the first start: publish it where the old one was trusted")
