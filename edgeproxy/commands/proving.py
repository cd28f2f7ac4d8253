"""Evidence in files, for `ledger prove` and `ledger verify FILE`: where its parts lie, and what is told of it.

Owns: the names of the files beside a proof, and the words. What is proved, and how, is the business of `ledger.evidence`.

  page.tlog-proof   the proof      page.block, page.head, page.body   what it is about; head and body may be missing
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeproxy.admin.views import b64, selecting_view
from edgeproxy.commands.printing import answer_no, bytes_text, print_facts, time_text, wrong_usage
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.evidence import Evidence, Proven, check_evidence
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.proof_file import MAX_PROOF_FILE, parse_proof_file
from edgeproxy.storage.ledger_key import read_key

SUFFIX = ".tlog-proof"
_PARTS = ("block", "head", "body")


def write_evidence(path: Path, evidence: Evidence) -> list[Path]:
    """Write the proof to `path` and its parts beside it; the files written. Ends with status 2 where that cannot be."""
    contents = (evidence.block, evidence.head, evidence.body)
    files = [(path, evidence.proof.encode())]
    files += [(_beside(path, part), data) for part, data in zip(_PARTS, contents, strict=True) if data is not None]
    for file, data in files:
        try:
            file.write_bytes(data)
        except OSError as error:
            wrong_usage(f"{file} cannot be written: {error.strerror}")
    return [file for file, _ in files]


def _beside(path: Path, part: str) -> Path:
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.{part}")


def read_evidence(path: Path) -> Evidence:
    """The proof at `path` and what lies beside it. Raises `ProofRefused`; ends with status 2 for a file that is not there."""
    try:
        if path.stat().st_size > MAX_PROOF_FILE:
            raise ProofRefused("proof is too long", length=path.stat().st_size)
        proof = parse_proof_file(path.read_bytes())
    except OSError as error:
        wrong_usage(f"{path} cannot be read: {error.strerror}")
    parts: list[bytes | None] = []
    for part in _PARTS:
        try:
            parts.append(_beside(path, part).read_bytes())
        except FileNotFoundError:
            parts.append(None)
        except OSError as error:
            wrong_usage(f"{_beside(path, part)} cannot be read: {error.strerror}")
    block, head, body = parts
    if block is None:
        answer_no(f"{_beside(path, 'block').name} is not beside the proof: without it there is nothing to prove")
    return Evidence(proof, block, head, body)


def key_to_trust(given: str | None, data: Path) -> Verifier:
    """The log's public key: `given`, else that of this machine's own ledger. Never one that came with the proof."""
    if given is not None:
        try:
            return parse_verifier(given)
        except ProofRefused as error:
            wrong_usage(f"--key is not a verifier key: {error}")
    own = read_key(data)
    if own is None:
        wrong_usage("whose ledger is it? Give its public key with --key (on that edge: edgeproxy ledger head)")
    return own.verifier


def check(path: Path, log: Verifier) -> Proven:
    """What the evidence at `path` proves. Raises `ProofRefused`."""
    return check_evidence(read_evidence(path), log)


def proof_view(proven: Proven) -> dict[str, Any]:
    """What was proved, for scripts. `head` and `body` are false when they were not there to be checked."""
    entry, clear = proven.entry, proven.clear
    return {
        "ok": True,
        "origin": proven.checkpoint.origin,
        "size": proven.checkpoint.size,
        "root": b64(proven.checkpoint.root),
        "height": entry.height,
        "time": entry.time,
        "op": entry.op,
        "status": entry.status,
        "url": clear.url if clear is not None else None,
        "selecting": selecting_view(clear.selecting) if clear is not None else {},
        "length": entry.length,
        "body_digest": entry.body.hex(),
        "head": proven.head,
        "body": proven.body,
    }


def print_proof(proven: Proven) -> None:
    """What was proved, and what was not."""
    entry, clear = proven.entry, proven.clear
    facts: Sequence[tuple[str, object]] = (
        ("log", proven.checkpoint.origin),
        ("block", f"{entry.height} of {proven.checkpoint.size}"),
        ("url", clear.url if clear is not None else "not named in the proof"),
        ("stored at", time_text(entry.time)),
        ("status", entry.status),
        ("head", "as stored" if proven.head else "not beside the proof, not checked"),
        ("body", f"as stored, {bytes_text(entry.length)}" if proven.body else "not beside the proof, not checked"),
    )
    print_facts("the proof holds: this was stored. It does not say that nothing newer was.", facts)
