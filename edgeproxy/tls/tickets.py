"""Keys of session tickets: the same in every process, other ones for every site and policy, new ones every twelve hours.

Owns: the secret they are derived from, and its file. Must not know contexts or OpenSSL.

The secret is a chain: the secret of an epoch is a hash of the one before it, so that processes which read the file at different
times come to the same keys without speaking to each other, and whoever steals the file cannot open what was sealed in earlier
epochs (all ticket secrets of TLS 1.2 would otherwise be worth as much as the file, for ever).

OpenSSL holds one set of ticket keys for a context, so tickets of the last epoch are not honoured in the next: their clients make
one full handshake. A ticket lives two hours (OpenSSL's default), so that is at most one client in six, twice a day.
"""

import fcntl
import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from edgeproxy.clock import Clock
from edgeproxy.errors import StoreError
from edgeproxy.storage.durable import create, make_folders, remove, sync_folder, write_synced

log = logging.getLogger("edgeproxy.tls")

EPOCH_SECONDS = 12 * 3600
FILE_NAME = "ticket-secret"

_SECRET_BYTES = 32
_FORM = re.compile(r"edgeproxy-ticket-secret-1 ([0-9]{1,9}) ([0-9a-f]{64})\n")
_LONGEST_GAP = 10 * 365 * 2
"""Epochs (ten years) over which the chain is followed; a file further behind is damaged, or the clock is."""


class TicketKeys:
    """Derives ticket keys. One for each process; they agree when they were opened on the same folder."""

    def __init__(self, secret: bytes, epoch: int, clock: Clock, path: Path | None = None) -> None:
        self._secret = secret
        self._epoch = epoch
        self._clock = clock
        self._path = path

    @classmethod
    def temporary(cls, clock: Clock) -> Self:
        """Keys that end with this process (and those it forks)."""
        return cls(os.urandom(_SECRET_BYTES), _epoch_of(clock), clock)

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Self:
        """Keys from the secret in `folder`, made there (0600) when it is missing, damaged, or readable for others.

        Blocks on the disk, and on another process that is doing the same. Raises StoreError.
        """
        path = folder / FILE_NAME
        now = _epoch_of(clock)
        try:
            make_folders((folder,))
            with _alone_in(folder):
                remove(*folder.glob(f"{FILE_NAME}.*.new"))  # a crash left them, with a secret that must not outlive its epoch
                found = _read(path)
                if found is None or not found[0] <= now <= found[0] + _LONGEST_GAP:
                    found = (now, os.urandom(_SECRET_BYTES))
                    _write(path, *found)
                    sync_folder(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError("the secret of session tickets cannot be kept", path=path, error=reason) from error
        keys = cls(found[1], found[0], clock, path)
        keys.epoch()
        return keys

    def epoch(self) -> int:
        """The present epoch; enters it when it has just begun, and then forgets the secret of the one before, on disk too.

        A clock that goes back stays in the epoch that was reached.
        """
        now = _epoch_of(self._clock)
        if now > self._epoch:
            for _ in range(now - self._epoch):
                self._secret = hashlib.sha256(b"edgeproxy ticket secret, next epoch\0" + self._secret).digest()
            self._epoch = now
            self._save()
        return self._epoch

    def derive(self, scope: str, policy: bytes, length: int) -> bytes:
        """Keys of `length` bytes for the site called `scope` under `policy` in the present epoch (HKDF, RFC 5869)."""
        self.epoch()
        name = scope.encode()
        info = b"edgeproxy ticket keys\0" + len(name).to_bytes(4) + name + policy
        return HKDFExpand(SHA256(), length, info).derive(self._secret)

    def _save(self) -> None:
        """Replace the file, so that the last epoch's secret is gone.

        Others may do the same at the same time, with the same content; one that is late writes an earlier link of the same
        chain. A crash leaves either, and both give the same keys, or a damaged file, which is replaced at the next start. The
        event loop does not wait for the disk here: not synced.
        """
        if self._path is None:
            return
        try:
            _write(self._path, self._epoch, self._secret, synced=False)
        except OSError as error:
            log.warning("the secret of session tickets stays as it was on disk: %s", error.strerror or error)


def _epoch_of(clock: Clock) -> int:
    return int(clock.seconds()) // EPOCH_SECONDS


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[int, bytes] | None:
    """Epoch and secret; None when there is no file that can be trusted."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                log.warning("the secret of session tickets was open to others and is replaced (%s)", path)
                return None
            match = _FORM.fullmatch(file.read(4096))
    except FileNotFoundError:
        return None
    if match is None:
        log.warning("the secret of session tickets was damaged and is replaced (%s)", path)
        return None
    return int(match[1]), bytes.fromhex(match[2])


def _write(path: Path, epoch: int, secret: bytes, *, synced: bool = True) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.new")
    content = f"edgeproxy-ticket-secret-1 {epoch} {secret.hex()}\n".encode()
    try:
        if synced:
            write_synced(temporary, content)
        else:
            with open(create(temporary), "wb") as file:
                file.write(content)
        # A crash before this line leaves the temporary file and the old secret; after it, the new one.
        temporary.replace(path)
    except OSError:
        remove(temporary)
        raise
