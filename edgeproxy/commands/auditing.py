"""`ledger verify --url`: whom to trust, where audits are remembered, and how what came out is told.

Owns: reading keys, policies and authorities that the user names, the bars, and the words. What is checked, and in which order, is
the business of `auditing.remote`.
"""

import os
import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeproxy.admin.views import b64
from edgeproxy.auditing.fetching import base_of, reading_from
from edgeproxy.auditing.memory import Memory, state_folder
from edgeproxy.auditing.remote import Order, RemoteAudit, Report, Step
from edgeproxy.clock import SystemClock
from edgeproxy.commands.bars import bars
from edgeproxy.commands.printing import bytes_text, complain, count_text, print_facts, seconds_text, time_text, wrong_usage
from edgeproxy.config.values import Unfit, parse_duration
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.findings import Finding
from edgeproxy.ledger.note_keys import ED25519, Verifier, parse_verifier
from edgeproxy.ledger.policy import MAX_POLICY, Policy, parse_policy
from edgeproxy.storage.ledger_key import read_key

DEFAULT_MAX_AGE = 3_600
"""Seconds; how old the cosignatures of a quorum may be when nothing else is said. An idle edge renews them every five minutes."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the user trusts: the log's key, and with a policy whose cosignatures are needed, not older than `max_age` seconds."""

    log: Verifier
    policy: Policy | None
    max_age: int | None


def trust_of(key: str | None, policy_file: Path | None, max_age: str | None, data: Path, usual_max_age: int | None) -> Trust:
    """Whom to trust: what the user named, else the key of this machine's own ledger. Ends with status 2 where that is unclear."""
    policy = read_policy(policy_file) if policy_file is not None else None
    log = _named_key(key)
    if policy is not None:
        log = _log_of(policy, log)
    if log is None:
        own = read_key(data)
        if own is None:
            wrong_usage("whose ledger is it? Give its public key with --key (on that edge: edgeproxy ledger head), or a --policy")
        log = own.verifier
    has_quorum = policy is not None and policy.quorum is not None
    if max_age is not None and not has_quorum:
        wrong_usage("--max-age needs a --policy with a quorum: without cosignatures nothing says how old a checkpoint is")
    return Trust(log, policy, (_seconds(max_age) if max_age is not None else usual_max_age) if has_quorum else None)


def read_policy(path: Path) -> Policy:
    """The policy in a file; ends with status 2 and the line that is wrong."""
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(MAX_POLICY + 1))
    except OSError as error:
        wrong_usage(f"{path} cannot be read: {error.strerror}")
    except ProofRefused as error:
        wrong_usage(f"{path} is not a policy: {error}")


def _named_key(text: str | None) -> Verifier | None:
    if text is None:
        return None
    try:
        key = parse_verifier(text)
    except ProofRefused as error:
        wrong_usage(f"--key is not a verifier key: {error}")
    if key.kind != ED25519:
        wrong_usage("--key is the key of one who cosigns, not of a log; cosigners are named in a --policy")
    return key


def _log_of(policy: Policy, key: Verifier | None) -> Verifier:
    """The log of a policy. A key beside it may be another of the same log, older or newer; its name says which log is meant."""
    if key is not None:
        if key.name not in policy.logs:
            wrong_usage(f"--key is of the log {key.name}, which the policy does not name")
        return key
    if len(policy.logs) != 1:
        wrong_usage(f"the policy names {count_text(len(policy.logs), 'log')}: say with --key which one is meant")
    return next(iter(policy.logs.values()))


def _seconds(text: str) -> int:
    try:
        return max(1, round(parse_duration(text)))
    except Unfit as error:
        wrong_usage(f"--max-age {text!r} {error}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of an audit from outside."""

    url: str
    trust: Trust
    state: Path | None
    ca: Path | None
    timeout: float
    bodies: bool
    anew: bool
    most_blocks: int


async def audit_url(asked: Asked, *, show: bool) -> Report:
    """Audit; with `show`, and where standard error is a terminal, a bar moves meanwhile."""
    try:
        base_of(asked.url)
    except ValueError as error:
        wrong_usage(f"--url {asked.url!r} cannot be used; {error}")
    context = _authority(asked.ca)
    trust = asked.trust
    order = Order(trust.log, trust.policy, trust.max_age, asked.bodies, asked.anew, asked.most_blocks)
    folder = asked.state if asked.state is not None else state_folder(os.environ)
    try:
        kept = Memory(folder, trust.log.name)
    except Finding as fault:
        return Report(trust.log.name, fault=fault)
    with closing(kept) as memory, bars(show=show) as move:

        def told(step: Step) -> None:
            move(step.phase, step.done, step.total)

        async with reading_from(asked.url, ca=context, timeout=asked.timeout) as source:
            return await RemoteAudit(source, memory, order, SystemClock(), told).run()


def _authority(path: Path | None) -> ssl.SSLContext | None:
    if path is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        wrong_usage(f"--ca {path} has no certificates (PEM) in it")
    except OSError as error:
        wrong_usage(f"--ca {path} cannot be read: {error.strerror}")
    return context


def print_remote(report: Report, trust: Trust) -> None:
    """What was checked on standard output; the fault, what it means and what to do on standard error."""
    print_facts(report.origin, [(name, value) for name, value in _facts(report, trust) if value is not None])
    fault = report.fault
    if fault is None:
        return
    where = f"block {fault.height}: " if fault.height is not None else ""
    complain(f"fault: {fault.kind}: {where}{fault}")
    complain(f"what it means: {fault.meaning}")
    complain(f"what to do: {fault.advice}")
    for path in report.evidence:
        complain(f"evidence: {path}")


def _facts(report: Report, trust: Trust) -> list[tuple[str, object]]:
    head = report.head
    if head is None:
        return []
    holds = report.fault is None
    facts: list[tuple[str, object]] = [
        ("size", head.size),
        ("root", b64(head.root)),
        ("signed by", report.signer),
        ("handed over", "from the key that you gave" if report.signer not in (None, str(trust.log)) else None),
        ("blocks", _blocks_text(report)),
        ("tiles", report.tiles),
        ("newest block", time_text(report.last_time)),
        ("final", _final_text(report)),
        ("bodies", _bodies_text(report)),
        ("fresh", _fresh_text(report)),
        ("verdict", "no faults" if holds else None),
    ]
    return facts


def _blocks_text(report: Report) -> str:
    return f"{report.read} read and proved" + (f", {report.known} known from earlier audits" if report.known else "")


def _final_text(report: Report) -> str | None:
    if report.quorum is None or report.final_size is None or report.head is None:
        return None
    return f"{report.final_size} of {report.head.size} blocks, cosigned by {', '.join(report.quorum.names)}"


def _bodies_text(report: Report) -> str | None:
    if not report.bodies and not report.missing_count:
        return None
    missing = f", {report.missing_count} not there (not handed out: --json names them)" if report.missing_count else ""
    return f"{report.bodies} read and proved, {bytes_text(report.body_bytes)}{missing}"


def _fresh_text(report: Report) -> str | None:
    if report.quorum is not None and report.quorum.oldest is not None:
        age = SystemClock().now() // 1000 - report.quorum.oldest
        return f"cosigned {seconds_text(max(0, age))} ago"
    if report.fault is not None:
        return None
    return "not proved: no policy with cosignatures. Only the connection, and the time of the newest block, speak for it"


def remote_view(report: Report, trust: Trust, url: str) -> dict[str, Any]:
    """The report for scripts."""
    head, fault, quorum = report.head, report.fault, report.quorum
    return {
        "ok": fault is None,
        "url": url,
        "origin": report.origin,
        "trusted": str(trust.log),
        "vkey": report.signer,
        "size": head.size if head is not None else None,
        "root": b64(head.root) if head is not None else None,
        "final_size": report.final_size,
        "cosigned_by": list(quorum.names) if quorum is not None else [],
        "cosigned_at": quorum.oldest if quorum is not None else None,
        "freshness_proved": quorum is not None and quorum.oldest is not None,
        "newest_block_time": report.last_time,
        "blocks": report.read,
        "known_blocks": report.known,
        "tiles": report.tiles,
        "bodies": report.bodies,
        "body_bytes": report.body_bytes,
        "missing_bodies": report.missing,
        "missing_count": report.missing_count,
        "fault": None
        if fault is None
        else {
            "kind": fault.kind,
            "height": fault.height,
            "text": str(fault),
            "meaning": fault.meaning,
            "advice": fault.advice,
        },
        "evidence": [str(path) for path in report.evidence],
    }
