"""`ledger head | show | history | verify | prove | rotate`: what the chain of blocks says, and whether it holds.

Owns: their flags and how the answers look. Asks the running edge; when none runs, reads the data folder itself.
"""

import asyncio
import json as json_text
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from edgeproxy.admin.client import AdminClient, NotRunning
from edgeproxy.commands.options import AsJson, Config, Data, data_folder, require_url
from edgeproxy.commands.printing import (
    answer_no,
    bytes_text,
    complain,
    print_facts,
    print_json,
    print_line,
    print_table,
    time_text,
    wrong_usage,
)
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.notes import NO_KNOWN_KEY
from edgeproxy.sequencer.final import FINAL_FILE

if TYPE_CHECKING:
    from edgeproxy.commands.auditing import Asked, Trust

app = typer.Typer(
    help="The chain of blocks: head, single blocks, the history of a URL, and whether all of it holds.", no_args_is_help=True
)

Url = Annotated[str, typer.Argument(metavar="URL", help="Absolute URL.", show_default=False)]


class Reader(Protocol):
    """Who answers: the running edge, or its folder at rest."""

    def ledger_head(self) -> dict[str, Any]: ...

    def ledger_show(self, height: int) -> dict[str, Any] | None: ...

    def ledger_history(self, url: str, limit: int = 100) -> dict[str, Any]: ...


def reader(data: Path | None, config: Path | None) -> Reader:
    """The running edge, else the folder. Raises `NotRunning` when there is no ledger either."""
    from edgeproxy.commands.at_rest import LedgerAtRest

    folder = data_folder(data, config)
    try:
        running = AdminClient.of_folder(folder)
        running.ledger_head()
    except NotRunning:
        at_rest = LedgerAtRest.find(folder)
        if at_rest is None:
            raise
        return at_rest
    return running


@app.command()
def head(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Size and root of the ledger."""
    answer = reader(data, config).ledger_head()
    if json:
        print_json(answer)
        return
    print_facts(
        str(answer.get("origin")),
        (
            ("size", answer.get("size")),
            ("root", answer.get("root")),
            ("newest block", time_text(answer.get("time"))),
            ("signed by", answer.get("vkey")),
            ("final size", answer.get("final_size")),
        ),
    )


@app.command()
def show(
    height: Annotated[
        int, typer.Argument(metavar="HEIGHT", min=0, help="Index of the block; the first is 0.", show_default=False)
    ],
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """One block: its fields as they were hashed, and the clear names behind its digests."""
    answer = reader(data, config).ledger_show(height)
    if answer is None:
        answer_no(f"there is no block {height}")
    if json:
        print_json(answer)
        return
    block = answer.get("block", {})
    clear = [(name, answer.get(name)) for name in ("leaf", "site", "url", "value")]
    if answer.get("body_there") is not None:
        clear += [("content", "there" if answer["body_there"] else "gone"), ("served now", _served_text(answer))]
    fields = [(name, value) for name, value in block.items() if name != "time"]
    print_facts(f"block {height}", [*clear, ("at", time_text(block.get("time")))])
    print_line("")
    print_facts(
        "as hashed", [(name, json_text.dumps(value) if isinstance(value, dict | list) else value) for name, value in fields]
    )


@app.command()
def history(
    url: Url,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="At most so many versions.")] = 100,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """The versions of a page, newest first. Exit status 1 when there is none."""
    require_url(url)
    answer = reader(data, config).ledger_history(url, limit)
    versions = answer.get("versions", [])
    if json:
        print_json(answer)
        if not versions:
            raise typer.Exit(1)
        return
    erased = answer.get("erased")
    if not versions:
        complain(f"the ledger has no version of {url}" if erased is None else f"{url} was erased in block {erased}")
        if near := answer.get("near"):
            complain(f"it has the same path at {', '.join(map(str, near))}")
        raise typer.Exit(1)
    print_table(
        ("", "block#", "time", "op", "status#", "length#", "body", "content", "trace", "selected by", "served now"),
        [
            (
                "→" if version.get("served") else "",
                version.get("height"),
                time_text(version.get("time")),
                version.get("op"),
                version.get("status"),
                bytes_text(version.get("length")),
                str(version.get("body", ""))[:16],
                "there" if version.get("body_there") else "gone",
                version.get("trace") or None,
                ", ".join(f"{name}: {value}" for name, value in version.get("selecting", {}).items()) or "–",
                _served_text(version),
            )
            for version in versions
        ],
    )
    if erased is not None:
        print_line(f"older versions were erased in block {erased}")


def _served_text(version: Mapping[str, Any]) -> str:
    why = version.get("why")
    if version.get("served"):
        return str(why)
    return f"no: {why}" if why else "no"


@app.command()
def rotate(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Give the log of the running edge a new key. The old one says so in a block, and signs no more."""
    answer = AdminClient.of_folder(data_folder(data, config)).ledger_rotate()
    if json:
        print_json(answer)
        return
    print_line(f"block {answer.get('height')} hands over to {answer.get('vkey')}")
    print_line("publish the new key where the old one is trusted; checkpoints are signed by the new one only")


@app.command()
def prove(
    url: Url,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where the proof goes. [default: block-HEIGHT.tlog-proof]"),
    ] = None,
    height: Annotated[
        int | None, typer.Option(metavar="HEIGHT", min=0, help="This version instead of the newest.", show_default=False)
    ] = None,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """A proof that a page was stored, for anyone who has the log's key: FILE, with block, head and body beside it."""
    from edgeproxy.commands.proving import SUFFIX, cosigners_of, write_evidence
    from edgeproxy.sequencer.proving import NoVersion
    from edgeproxy.sequencer.proving import prove as evidence_of

    require_url(url)
    folder = data_folder(data, config)
    if not (folder / "ledger.sqlite").is_file():
        answer_no(f"there is no ledger in {folder}")
    try:
        evidence, log = evidence_of(folder, url, height)
    except NoVersion:
        answer_no(f"the ledger has no version of {url}" + ("" if height is None else f" at height {height}"))
    written = write_evidence(output or Path(f"block-{evidence.proof.index}{SUFFIX}"), evidence)
    if json:
        files, names = [str(path) for path in written], cosigners_of(evidence)
        print_json({"height": evidence.proof.index, "vkey": str(log), "files": files, "cosigned_by": names})
        return
    for path in written:
        print_line(f"wrote {path}")
    if evidence.body is None:
        print_line("the body is not there any more: the proof is about block and head")
    if cosigners_of(evidence):
        print_line(f"its checkpoint is final: cosigned by {', '.join(cosigners_of(evidence))}")
    elif (folder / FINAL_FILE).exists():
        print_line("its checkpoint is not final: no quorum of the validators has cosigned one with this block (edgeproxy status)")
    print_line(f"check it anywhere: edgeproxy ledger verify {written[0].name} --key {log}")


@app.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A proof to check offline, instead of a data folder.", show_default=False),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="BASE", help="Audit the edge at this address from outside.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="VKEY",
            help="Public key of the log, for FILE or --url; one that it has retired does too. [default: that of the data folder]",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="POLICY", help="Whose cosignatures are needed (C2SP tlog-policy).", show_default=False),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How old these may be. [default: 1h for --url, any for FILE]", show_default=False),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Authority of the edge's certificate, for --url.", show_default=False)
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What audits of --url remember. [default: $XDG_STATE_HOME/edgeproxy/audits, or DATA/audits without a key]",
            show_default=False,
        ),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Read everything of --url again, not only what is new.")] = False,
    most_blocks: Annotated[
        int, typer.Option("--max-blocks", metavar="N", min=1, help="Read at most so many new blocks of --url.")
    ] = 10_000_000,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, max=3600, help="Silence of --url after which a try is given up.")
    ] = 30.0,
    data: Data = None,
    config: Config = None,
    bodies: Annotated[
        bool | None,
        typer.Option(
            "--bodies/--no-bodies",
            help="Read and hash stored bodies too. [default: yes for a data folder, no for --url]",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Re-read everything: chain, heights, heads, bodies. Names the first fault and every damaged body; exit status 1 then.

    With FILE: check a proof that `ledger prove` wrote, without a network. With --url: audit an edge from outside, with nothing
    but its key; it goes on where the last audit stopped.
    """
    from edgeproxy.commands.verifying import audit_with_progress, print_report, report_view

    folder = data_folder(data, config)
    if file is not None and url is not None:
        wrong_usage("either the FILE of a proof or --url, not both")
    if url is None and (ca is not None or state is not None or anew):
        wrong_usage("--ca, --state and --anew go with --url")
    if url is not None or file is not None:
        from edgeproxy.commands.auditing import DEFAULT_MAX_AGE, Asked, trust_of

        trust = trust_of(key, policy, max_age, folder, None if file is not None else DEFAULT_MAX_AGE)
        if file is not None:
            _verify_file(file, trust, json=json)
        elif url is not None:
            remembered = _state(state, folder, is_own=key is None and policy is None)
            _verify_url(Asked(url, trust, remembered, ca, timeout, bool(bodies), anew, most_blocks), json=json)
        return
    if key is not None or policy is not None or max_age is not None:
        wrong_usage("--key, --policy and --max-age go with the FILE of a proof, or with --url")
    report = asyncio.run(audit_with_progress(folder, bodies=bodies is not False, show=not json))
    if json:
        print_json(report_view(report))
    else:
        print_report(report)
    if report.faults:
        raise typer.Exit(1)


def _verify_url(asked: "Asked", *, json: bool) -> None:
    from edgeproxy.commands.auditing import audit_url, print_remote, remote_view

    try:
        report = asyncio.run(audit_url(asked, show=not json))
    except KeyboardInterrupt:
        complain("interrupted; what was checked so far is kept: run it again, and it goes on")
        raise
    if json:
        print_json(remote_view(report, asked.trust, asked.url))
    else:
        print_remote(report, asked.trust, bodies=asked.bodies)
    if report.fault is not None:
        raise typer.Exit(1)


def _state(given: Path | None, data: Path, *, is_own: bool) -> Path | None:
    """Where audits are remembered; None for the usual place. A new ledger in a new folder has the same name as the one before."""
    return data / "audits" if given is None and is_own else given


def _verify_file(file: Path, trust: "Trust", *, json: bool) -> None:
    from edgeproxy.clock import SystemClock
    from edgeproxy.commands.proving import check, print_proof, proof_view
    from edgeproxy.ledger.findings import Finding

    try:
        proven, quorum = check(file, trust, SystemClock().now() // 1000)
    except (ProofRefused, Finding) as error:
        if json:
            print_json({"ok": False, "fault": str(error)})
            raise typer.Exit(1) from None
        complain(f"the proof does not hold: {error}")
        if isinstance(error, ProofRefused) and error.text == NO_KNOWN_KEY:
            complain(
                "if the log has changed its key: a proof of before is checked with the key of then (--key), and a later one "
                f"with any older key while {file.with_suffix('.rotations').name} is beside it"
            )
        raise typer.Exit(1) from None
    if json:
        print_json(proof_view(proven, quorum))
    else:
        print_proof(proven, trust, quorum)
