"""How many blocks were acknowledged, in a small file beside the database.

Owns: DATA/ledger.sqlite-size. It is written after each commit and never flushed, so after a power cut it may be behind the
database, but never ahead of what was committed: when it is ahead of what can be read, acknowledged blocks were lost. That tells a
damaged log from one that a crash cut off in the middle of a transaction.
"""

import os
from pathlib import Path

from edgeproxy.ledger.digests import sha256

_SUFFIX = "-size"
_ROOM = 64


def _line(size: int) -> bytes:
    text = b"%d" % size
    return (text + b" " + sha256(text).hex()[:16].encode()).ljust(_ROOM - 1) + b"\n"


def read_witness(database: Path) -> int | None:
    """Blocks that were acknowledged, at least; None when nothing tells."""
    try:
        line = database.with_name(database.name + _SUFFIX).read_bytes()
    except OSError:
        return None
    size = line.split(b" ")[0]
    return int(size) if size.isdigit() and len(size) < 17 and _line(int(size)) == line else None


class Witness:
    """The open file. Failing to write it harms nothing."""

    def __init__(self, database: Path) -> None:
        """Raises OSError."""
        path = database.with_name(database.name + _SUFFIX)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, size: int) -> None:
        """`size` blocks are committed. Raises OSError."""
        os.pwrite(self._descriptor, _line(size), 0)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)
