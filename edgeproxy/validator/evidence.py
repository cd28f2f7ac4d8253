"""What a log signed and should not have: kept on disk, whole, as it came.

Owns: DATA/evidence. Must not judge; bounded in number, so that nobody can fill a disk with it.

For each case two files: NAME.request, the bytes that were submitted, and NAME.json, what was wrong and what was known. A name is
KIND-LOG-SIZE-HASH. `fork` is for what is a contradiction by itself, and the first of a log stay; `conflict` is for requests that
did not go on from what was cosigned, which may be the sender's fault, and the newest stay.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from edgeproxy.errors import StoreError
from edgeproxy.ledger.digests import sha256
from edgeproxy.storage.durable import FOLDER_MODE, remove, sync_folder, write_synced

log = logging.getLogger("edgeproxy.validator")

EVIDENCE_FOLDER = "evidence"
MOST_FORKS = 64
MOST_CONFLICTS = 32


class Evidence:
    """The cases of one data folder. Its calls block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / EVIDENCE_FOLDER

    def keep(self, origin: str, size: int, request: bytes, why: Mapping[str, object], *, fork: bool) -> Path | None:
        """Keep a request, durable when this returns; None when it is there already, or there are too many. Raises StoreError."""
        kind = "fork" if fork else "conflict"
        start = f"{kind}-{sha256(origin.encode()).hex()[:16]}-"
        path = self.folder / f"{start}{size}-{sha256(request).hex()[:16]}.request"
        about = path.with_suffix(".json")
        try:
            self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            kept = sorted(self.folder.glob(f"{start}*.json"), key=lambda each: each.stat().st_mtime_ns)
            if about.exists():
                return None
            if fork and len(kept) >= MOST_FORKS:
                log.warning("a further contradiction of %s is not kept: there are %d already", origin, len(kept))
                return None
            for old in kept[: max(0, len(kept) - MOST_CONFLICTS + 1)] if not fork else ():
                remove(old, old.with_suffix(".request"))
            # Crash in between: a request without its description, which is written over the next time.
            remove(path)
            write_synced(path, request)
            write_synced(about, json.dumps({"origin": origin, "size": size, **why}, indent=1).encode() + b"\n")
            sync_folder(self.folder)
        except OSError as error:
            raise StoreError("evidence cannot be kept", path=path, why=error.strerror) from error
        return path

    def count(self) -> dict[str, int]:
        """How many cases of each kind are there."""
        found = {"fork": 0, "conflict": 0}
        for path in self.folder.glob("*.json"):
            kind = path.name.partition("-")[0]
            if kind in found:
                found[kind] += 1
        return found
