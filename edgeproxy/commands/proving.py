"""Evidence in files, for `ledger prove` and `ledger verify FILE`: where its parts lie, and what is told of it.

Owns: the names of the files beside a proof, and the words. What is proved, and how, is the business of `ledger.evidence`.

  page.tlog-proof   the proof      page.block, page.head, page.body   what it is about; head and body may be missing
  page.rotations    only there when the log changed its key: leads from an older key to the one that signed
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeproxy.admin.views import b64, selecting_view
from edgeproxy.commands.auditing import Trust
from edgeproxy.commands.printing import answer_no, bytes_text, print_facts, time_text, wrong_usage
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.evidence import Evidence, Proven, check_evidence
from edgeproxy.ledger.handover import encode_rotations, parse_rotations
from edgeproxy.ledger.heads import Quorum, judge_quorum
from edgeproxy.ledger.notes import parse_note
from edgeproxy.ledger.proof_file import MAX_PROOF_FILE, parse_proof_file

SUFFIX = ".tlog-proof"
_PARTS = ("block", "head", "body")


def write_evidence(path: Path, evidence: Evidence) -> list[Path]:
    """Write the proof to `path` and its parts beside it; the files written. Ends with status 2 where that cannot be."""
    contents = (evidence.block, evidence.head, evidence.body)
    files = [(path, evidence.proof.encode())]
    files += [(_beside(path, part), data) for part, data in zip(_PARTS, contents, strict=True) if data is not None]
    if evidence.rotations:
        files.append((_beside(path, "rotations"), encode_rotations(evidence.rotations)))
    # Parts of an older proof in the same place would speak against this one.
    stale = {_beside(path, part) for part in (*_PARTS, "rotations")} - {file for file, _ in files}
    for file, data in (*((each, None) for each in stale), *files):
        try:
            if data is None:
                file.unlink(missing_ok=True)
            else:
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
    block, head, body, rotations = (_read_beside(path, part) for part in (*_PARTS, "rotations"))
    if block is None:
        answer_no(f"{_beside(path, 'block').name} is not beside the proof: without it there is nothing to prove")
    return Evidence(proof, block, head, body, parse_rotations(rotations) if rotations is not None else ())


def _read_beside(path: Path, part: str) -> bytes | None:
    try:
        return _beside(path, part).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        wrong_usage(f"{_beside(path, part)} cannot be read: {error.strerror}")


def cosigners_of(evidence: Evidence) -> list[str]:
    """The names under which others than the log signed the checkpoint of a proof; whether they did is for their keys to say."""
    note = parse_note(evidence.proof.note)
    origin = read_checkpoint(evidence.proof.note)
    return [line.name for line in note.signatures if origin is None or line.name != origin.origin]


def check(path: Path, trust: Trust, now: int) -> tuple[Proven, Quorum | None]:
    """What the evidence at `path` proves, and who made its checkpoint final. `now` in POSIX seconds.

    Raises `ProofRefused`, and `Finding` for a checkpoint that is not final or too old.
    """
    policy = trust.policy
    if policy is None:
        return check_evidence(read_evidence(path), trust.log), None
    proven = check_evidence(read_evidence(path), trust.log, [each.verifier for each in policy.witnesses.values()])
    if policy.quorum is None:
        return proven, None
    return proven, judge_quorum(policy, proven.opened, now, trust.max_age)


def proof_view(proven: Proven, quorum: Quorum | None) -> dict[str, Any]:
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
        "vkey": str(proven.opened.log),
        "cosigned_by": list(quorum.names) if quorum is not None else [],
        "cosigned_at": quorum.oldest if quorum is not None else None,
    }


def print_proof(proven: Proven, trust: Trust, quorum: Quorum | None) -> None:
    """What was proved, and what was not."""
    entry, clear = proven.entry, proven.clear
    facts: Sequence[tuple[str, object]] = (
        ("log", proven.checkpoint.origin),
        ("handed over", f"from your key to {proven.opened.log}" if proven.opened.log != trust.log else None),
        ("final", f"cosigned by {', '.join(quorum.names)}, first {time_text((quorum.oldest or 0) * 1000)}" if quorum else None),
        ("block", f"{entry.height} of {proven.checkpoint.size}"),
        ("url", clear.url if clear is not None else "not named in the proof"),
        ("stored at", time_text(entry.time)),
        ("status", entry.status),
        ("head", "as stored" if proven.head else "not beside the proof, not checked"),
        ("body", f"as stored, {bytes_text(entry.length)}" if proven.body else "not beside the proof, not checked"),
    )
    print_facts("the proof holds: this was stored. It does not say that nothing newer was.", facts)
