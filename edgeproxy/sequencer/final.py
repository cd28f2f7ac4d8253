"""What is final, and what contradicts it, as files of the data folder.

Owns: DATA/ledger-final, the newest checkpoint with the cosignatures of a quorum, and DATA/ledger-evidence/, notes that this log's
key signed and that contradict this ledger. Must not judge either. Its calls block.
"""

from collections.abc import Iterator
from pathlib import Path

from edgeproxy.errors import StoreError
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.notes import MAX_NOTE
from edgeproxy.storage.durable import FOLDER_MODE, remove, sync_folder, write_synced

FINAL_FILE = "ledger-final"
EVIDENCE_FOLDER = "ledger-evidence"
MOST_EVIDENCE = 16


def read_final(folder: Path) -> bytes | None:
    """The note as it was kept, unverified; None when there is none."""
    return _read(folder / FINAL_FILE)


def final_size(folder: Path) -> int | None:
    """How many blocks the kept note states; None when there is none, or it cannot be read."""
    stated = read_checkpoint(read_final(folder))
    return None if stated is None else stated.size


def keep_final(folder: Path, note: bytes) -> None:
    """Replace it; durable when this returns. Raises StoreError."""
    path = folder / FINAL_FILE
    draft = path.with_name(f"{FINAL_FILE}.new")
    try:
        remove(draft)
        write_synced(draft, note)
        # Crash before the rename: the one before is the newest that anybody was shown.
        draft.rename(path)
        sync_folder(folder)
    except OSError as error:
        raise StoreError("final checkpoint cannot be kept", path=path, why=error.strerror) from error


def keep_evidence(folder: Path, note: bytes) -> Path | None:
    """Keep a contradiction, once and at most so many; None when it is not kept. Raises StoreError."""
    place = folder / EVIDENCE_FOLDER
    path = place / f"{sha256(note).hex()[:32]}.note"
    try:
        place.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if path.exists() or len(list(place.glob("*.note"))) >= MOST_EVIDENCE:
            return None
        sync_folder(folder)
        draft = path.with_suffix(".new")
        remove(draft)
        write_synced(draft, note)
        # Crash before the rename: the one who showed it is asked again. Half a note under this name would stay half.
        draft.rename(path)
        sync_folder(place)
    except OSError as error:
        raise StoreError("evidence cannot be kept", path=path, why=error.strerror) from error
    return path


def read_evidence(folder: Path) -> Iterator[bytes]:
    """What is kept, unverified."""
    for path in sorted((folder / EVIDENCE_FOLDER).glob("*.note"))[:MOST_EVIDENCE]:
        note = _read(path)
        if note is not None:
            yield note


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_NOTE + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_NOTE else None
