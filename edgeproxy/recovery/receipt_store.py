"""The two files behind receipts: the key of their tokens, and the receipts that were seen.

Owns: DATA/receipt-key (32 random bytes, mode 0600) and DATA/receipts-seen. Blocking: for threads, or the start.

The second file is a log of 24-byte records, 16 of identity and 8 of time, that is only ever added to; once it has twice as many
as are remembered it is written anew. A torn end (a crash) is cut off when it is read. What is lost with it could be counted
twice; nothing worse hangs on it.
"""

import logging
import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgeproxy.clock import Instant
from edgeproxy.errors import StartError
from edgeproxy.recovery.receipts import TOKEN_MILLISECONDS
from edgeproxy.storage.durable import FILE_MODE, remove, sync_folder, write_failure, write_synced

log = logging.getLogger("edgeproxy.recovery")

KEY_FILE: Final = "receipt-key"
SEEN_FILE: Final = "receipts-seen"
KEY_BYTES: Final = 32
MAX_SEEN: Final = 65_536
"""Receipts remembered; the oldest makes room."""
_RECORD = struct.Struct(">16sQ")


def ensure_receipt_key(folder: Path, random_bytes: Callable[[int], bytes]) -> bytes:
    """The key in `folder`, made when there is none. Raises StartError. Who reads it can make tokens, and no more than that."""
    path = folder / KEY_FILE
    try:
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            draft = path.with_name(f"{KEY_FILE}.new")
            remove(draft)
            # Crash before the rename: a draft. Crash after: a key that no token was made with.
            write_synced(draft, random_bytes(KEY_BYTES))
            draft.rename(path)
            sync_folder(folder)
            kept = path.read_bytes()
        if stat.S_IMODE(path.stat().st_mode) != FILE_MODE:
            path.chmod(FILE_MODE)
    except OSError as error:
        raise StartError("key of receipt tokens cannot be made or read", path=path, why=error.strerror) from error
    if len(kept) != KEY_BYTES:
        raise StartError("key of receipt tokens is damaged: delete the file, a new one is made", path=path)
    return kept


class Seen:
    """Which receipts came already. `remember` is memory alone; `keep` is what makes it last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SEEN_FILE
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._new: list[tuple[bytes, int]] = []
        self._records = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._known

    def load(self, now: Instant) -> None:
        """Read the file; what cannot be read is as if it had not been seen, and said."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.error("receipts that were seen cannot be read: %s: %s", self._path, error)
            return
        whole = len(data) - len(data) % _RECORD.size
        for identity, at in _RECORD.iter_unpack(data[:whole]):
            if now - at <= TOKEN_MILLISECONDS:
                self._known[identity] = at
        # Written anew by the next `keep`: a torn record at the end would shift all after it.
        self._records = whole // _RECORD.size if whole == len(data) else 2 * MAX_SEEN + 1
        self._trim()

    def remember(self, identity: bytes, now: Instant) -> None:
        """This receipt was seen."""
        self._known[identity] = now
        self._new.append((identity, now))
        self._trim()

    def _trim(self) -> None:
        while len(self._known) > MAX_SEEN:
            self._known.popitem(last=False)

    def take_new(self) -> bytes:
        """The records that are not in the file yet, for `keep`."""
        new, self._new = self._new, []
        return b"".join(_RECORD.pack(*each) for each in new)

    def snapshot(self) -> bytes | None:
        """All records, when the file has become too long and is to be written anew."""
        if self._records <= 2 * MAX_SEEN:
            return None
        return b"".join(_RECORD.pack(identity, at) for identity, at in self._known.items())

    def keep(self, new: bytes, all_of_them: bytes | None) -> None:
        """Add records to the file, or replace it. Raises StoreError; one call at a time."""
        try:
            if all_of_them is not None:
                draft = self._path.with_name(f"{SEEN_FILE}.new")
                remove(draft)
                write_synced(draft, all_of_them)
                draft.rename(self._path)
                self._records = len(all_of_them) // _RECORD.size
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            try:
                os.write(descriptor, new)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._records += len(new) // _RECORD.size
        except OSError as error:
            raise write_failure(error, self._path) from error
