"""Where bodies lie: DATA/bodies/ab/<64 hex>, the hashes of a large one's chunks beside it, temporary files in DATA/bodies/tmp.

Owns: paths and the scan at start. Blocking; must not know which bodies are wanted.
"""

import itertools
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.caching.model import Digest
from edgeproxy.storage.durable import make_folders, remove, sync_folder

CHUNKS_SUFFIX = ".chunks"


@dataclass(slots=True)
class Found:
    """What a scan found: durable bodies with their bytes on disk (hashes of chunks included), and leftovers removed."""

    sizes: dict[Digest, int] = field(default_factory=dict)
    removed: int = 0
    quarantined: int = 0


def chunks_path(path: Path) -> Path:
    """Where the hashes of the chunks of the body at `path` lie."""
    return path.with_name(path.name + CHUNKS_SUFFIX)


class Shards:
    """The 256 folders of one data folder."""

    __slots__ = ("_number", "folder", "quarantine", "temporary")

    def __init__(self, data: Path) -> None:
        self.folder = data / "bodies"
        self.temporary = self.folder / "tmp"
        self.quarantine = data / "quarantine"
        self._number = itertools.count()

    def path(self, digest: Digest) -> Path:
        """The final name of a body."""
        name = digest.hex()
        return self.folder / name[:2] / name

    def temporary_path(self) -> Path:
        """A name that nobody else gets."""
        return self.temporary / f"{os.getpid()}-{next(self._number)}"

    def open(self) -> Found:
        """Make the folders durable, remove leftovers of a crash, and list what is there. Raises OSError."""
        shards = [self.folder / f"{number:02x}" for number in range(256)]
        make_folders((self.folder.parent, self.folder, self.temporary, self.quarantine, *shards))
        # The shards exist for good from here on, so that storing a body never has to make one durable.
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        # A crash while a body was written leaves it here: no block names it.
        leftovers = list(self.temporary.iterdir())
        remove(*leftovers)
        found = Found(removed=len(leftovers))
        for shard in shards:
            _scan(shard, found)
        found.quarantined = sum(1 for path in self.quarantine.iterdir() if path.suffix != CHUNKS_SUFFIX)
        return found

    def unlink(self, path: Path) -> bool:
        """Remove a body; False when it was not there. Raises OSError."""
        there = path.exists()
        # Crash between the two: hashes without a body, removed at start.
        path.unlink(missing_ok=True)
        chunks_path(path).unlink(missing_ok=True)
        return there

    def set_aside(self, path: Path) -> bool:
        """Move a body to the quarantine; False when it was not there. Raises OSError."""
        there = path.exists()
        # Crash between the two: hashes without a body, removed at start.
        for source in (path, chunks_path(path)):
            with suppress(FileNotFoundError):
                source.rename(self.quarantine / source.name)
        return there


def _scan(shard: Path, found: Found) -> None:
    chunks: dict[Digest, int] = {}
    with os.scandir(shard) as entries:
        for entry in entries:
            is_chunks = entry.name.endswith(CHUNKS_SUFFIX)
            digest = _digest(entry.name.removesuffix(CHUNKS_SUFFIX))
            if digest is None:
                continue  # not ours: somebody put it there, and may want it back
            (chunks if is_chunks else found.sizes)[digest] = entry.stat(follow_symlinks=False).st_size
    for digest, size in chunks.items():
        if digest in found.sizes:
            found.sizes[digest] += size
        else:
            # Left by a crash between the two renames of a large body, or between the two removals.
            remove(shard / (digest.hex() + CHUNKS_SUFFIX))
            found.removed += 1


def _digest(name: str) -> Digest | None:
    if len(name) != 64 or name != name.lower():
        return None
    try:
        return Digest(bytes.fromhex(name))
    except ValueError:
        return None
