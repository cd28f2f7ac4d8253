"""The audit of `ledger verify` with a bar that moves, and its report in words and in JSON.

Owns: how an audit looks. What is checked, and how, is the business of `sequencer.audit`.
"""

from pathlib import Path
from typing import Any

from edgeproxy.admin.views import b64
from edgeproxy.commands.bars import bars
from edgeproxy.commands.printing import bytes_text, complain, count_text, print_line
from edgeproxy.ledger.replay import Fault, FaultKind
from edgeproxy.sequencer.audit import AuditReport, Progress, audit

_OF_BODIES = frozenset((FaultKind.BODY_DAMAGED, FaultKind.BODY_MISSING))


async def audit_with_progress(data: Path, *, bodies: bool, show: bool) -> AuditReport:
    """The report on `data`; with `show`, and where standard error is a terminal, a bar moves meanwhile."""
    with bars(show=show) as move:
        move("ledger", 0, None)

        def told(step: Progress) -> None:
            move(step.phase, step.done, step.total)

        return await audit(data, bodies=bodies, progress=told)


def print_report(report: AuditReport) -> None:
    """What was checked; the first fault and every damaged body go to standard error."""
    bodies = f"{report.bodies} {'body' if report.bodies == 1 else 'bodies'}"
    checked = f"{count_text(report.blocks, 'block')}, {bodies} ({bytes_text(report.body_bytes)})"
    if report.head is not None:
        print_line(f"checked {checked}; root {b64(report.head.root)}")
    if not report.faults:
        print_line("no faults")
        return
    first, *others = report.faults
    complain(f"first fault: {first}")
    shown = [fault for fault in others if fault.kind in _OF_BODIES]
    for fault in shown:
        complain(str(fault))
    hidden = len(others) - len(shown)
    complain(count_text(len(report.faults), "fault") + (f", {hidden} of them not shown (--json shows all)" if hidden else ""))
    if first.kind in _OF_BODIES or shown:
        complain("a body that fails is never sent: a running edge takes the version before it, and asks the origin for a new one")


def report_view(report: AuditReport) -> dict[str, Any]:
    """The report for scripts; `faults` are all of them, in the order found."""
    head = report.head
    return {
        "ok": report.is_clean,
        "blocks": report.blocks,
        "bodies": report.bodies,
        "body_bytes": report.body_bytes,
        "size": head.size if head is not None else None,
        "root": b64(head.root) if head is not None else None,
        "faults": [_fault_view(fault) for fault in report.faults],
    }


def _fault_view(fault: Fault) -> dict[str, Any]:
    body = fault.digest.hex() if fault.digest is not None else None
    return {"kind": fault.kind, "height": fault.height, "body": body, "url": fault.url or None, "text": fault.text}
