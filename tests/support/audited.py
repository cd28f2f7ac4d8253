"""A log of a few tiles, and one audit of an edge that serves it, honestly or not."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edgeproxy.auditing.fetching import reading_from
from edgeproxy.auditing.memory import Memory
from edgeproxy.auditing.remote import Order, RemoteAudit, Report
from edgeproxy.clock import SystemClock
from edgeproxy.ledger.findings import FindingKind
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer, Verifier
from tests.support.lying_edge import (
    Log,
    LyingEdge,
)

SIZE = 600
BASE = Log().grow(SIZE - 1)
KEY = BASE.signer.verifier
W = [Signer(f"w{number}.example", bytes([number]) * 32, COSIGNATURE) for number in (2, 3, 4)]


async def audited(edge: LyingEdge, state: Path, key: Verifier = KEY, *, timeout: float = 20.0, **order: object) -> Report:
    """One audit that tries everything once."""
    with closing(Memory(state, key.name)) as memory:
        async with reading_from(edge.base, timeout=timeout, delays=()) as source:
            return await RemoteAudit(source, memory, Order(key, **order), SystemClock()).run()  # type: ignore[arg-type]


def kind_of(report: Report) -> FindingKind | None:
    return report.fault.kind if report.fault is not None else None


def broken_by(change: Callable[[Log], None]) -> Log:
    """A log whose block 300 breaks a rule, under the true key and with a true tree."""
    log = Log().grow(299)
    change(log)
    return log.grow(50)


def with_nonsense(log: Log) -> None:
    log.append_raw(b"nonsense")
