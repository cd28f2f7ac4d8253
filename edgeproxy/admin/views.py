"""Blocks and versions as the admin side shows them: the same JSON from a running edge and from a data folder at rest.

Owns: those shapes. Must not read a store.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.clock import Instant
from edgeproxy.exchange.erasure import Erasing
from edgeproxy.exchange.standing import Standing
from edgeproxy.ledger.block import Block
from edgeproxy.ledger.drafts import ErasedNames, Names, PurgeNames, ReceiptNames, ScopeNames, StoredNames
from edgeproxy.ledger.replay import RawRow
from edgeproxy.sequencer.validators import Validators
from edgeproxy.tls.keeper import CertificateStatus

Json = dict[str, Any]


def head_view(
    origin: str, vkey: str | None, size: int, root: Digest, time: Instant | None, final_size: int | None = None
) -> Json:
    """`AdminBackend.ledger_head`. The final size is null as long as no quorum of validators has cosigned."""
    return {"origin": origin, "size": size, "root": b64(root), "time": time, "vkey": vkey, "final_size": final_size}


def finality_view(validators: Validators) -> Json:
    """How the cosigning goes: what is final, how far that is behind, and each validator."""
    lag = validators.lag()
    return {
        "state": validators.state,
        "final_size": validators.final_size,
        "lag_blocks": lag.blocks,
        "lag_seconds": round(lag.seconds, 3),
        "alarms": validators.alarms,
        "validators": [
            {
                "name": each.asked.name,
                "vkey": str(each.asked.verifier),
                "url": each.asked.url,
                "size": each.size,
                "cosigned_at": each.cosigned_at,
                "failures": each.failures,
                "problem": each.problem,
                "alarm": each.alarm,
            }
            for each in validators.standings
        ],
    }


def standing_view(standing: Standing | None) -> Json:
    """Part of a version's line and of a block; nulls for a block that stores nothing."""
    if standing is None:
        return {"trace": None, "body_there": None, "served": None, "why": None}
    return {
        "trace": standing.trace,
        "body_there": standing.body_there,
        "served": standing.served,
        "why": standing.why,
    }


def block_view(block: Block, names: Names | None, standing: Standing | None = None) -> Json:
    """`AdminBackend.ledger_show`. `block` is the object as it was hashed, keys in their order."""
    return {
        "height": block.height,
        "leaf": b64(block.leaf),
        "block": json.loads(block.raw),
        "site": names.site if names is not None and not isinstance(names, ErasedNames) else None,
        "url": names.url if isinstance(names, StoredNames | ReceiptNames) else None,
        "selecting": selecting_view(names.selecting) if isinstance(names, StoredNames) else {},
        "value": names.value if isinstance(names, PurgeNames | ScopeNames) else None,
        **standing_view(standing),
    }


def history_view(url: str, versions: Sequence[Standing], erased: int | None = None, near: Sequence[str] = ()) -> Json:
    """`AdminBackend.ledger_history`, in the order given."""
    return {"url": url, "versions": [version_view(standing) for standing in versions], "erased": erased, "near": list(near)}


def erasing_view(url: str, found: Erasing, heights: Sequence[int], left: Sequence[str]) -> Json:
    """`AdminBackend.ledger_erase`."""
    return {
        "url": url,
        "heights": list(heights),
        "versions": found.versions,
        "bodies": len(found.bodies),
        "bytes": found.length,
        "kept": found.kept,
        "others": found.others,
        "dry_run": not heights,
        "left": list(left),
    }


def rows_view(rows: Iterable[RawRow]) -> list[Json]:
    """Of `AdminBackend.ledger_rows`. The names are text: they were encoded here."""
    return [
        {
            "height": row.height,
            "block": b64(row.raw),
            "head": None if row.head is None else b64(row.head),
            "names": None if row.names is None else [column.decode("utf-8", "surrogateescape") for column in row.names],
        }
        for row in rows
    ]


def version_view(standing: Standing) -> Json:
    """One store or refresh block as a line of history."""
    version = standing.version
    return {
        "height": version.height,
        "time": version.time,
        "op": version.op,
        "site": version.site,
        "status": version.status,
        "body": version.body.digest.hex(),
        "length": version.body.length,
        "selecting": selecting_view(version.selecting),
        **standing_view(standing),
    }


def selecting_view(selecting: Selecting) -> dict[str, str | None]:
    """Field name to value; null where the request had no such field."""
    return dict(selecting)


def certificate_view(status: CertificateStatus, now: float) -> Json:
    """One certificate: what is served, and how its keeping goes. Times are Unix seconds."""
    failure, suggestion = status.last_failure, status.suggestion
    return {
        "names": list(status.names),
        "state": status.state.name.lower(),
        "not_after": status.not_after,
        "seconds_left": None if status.not_after is None else round(status.not_after - now),
        "issuer": status.issuer,
        "directory": status.directory,
        "fingerprint": status.fingerprint,
        "last_success": status.last_success,
        "last_failure": failure
        and {"time": failure.time, "directory": failure.directory, "problem": failure.problem, "detail": failure.detail},
        "next_attempt": status.next_attempt,
        "failures": status.failures,
        "suggested": suggestion and {"start": suggestion.start, "end": suggestion.end, "chosen": suggestion.chosen},
        "advice": status.advice,
    }


def b64(data: bytes) -> str:
    """Standard padded base64, as in the blocks."""
    return base64.b64encode(data).decode("ascii")
