"""The certificates of this edge on disk, shared by all of its processes.

Owns: DATA/tls/certificates, DATA/tls/requests and three files beside them. Must not decide when a certificate is renewed, nor
talk to an authority.

certificates/NAME-HASH/00000007.pem   one version: a line with a checksum, then key and chain as PEM, for other programs too
certificates/NAME-HASH/state.json     what is remembered about this name set (`tls.records`), with a checksum too
requests/NAME-HASH                    name sets that a process without the leader's lock wants to have renewed
failed-validations.json               by name, see `tls.backoff`
changed                               its modification time grows with every change: what followers look at
vault.lock                            held (flock) for the moment of a change, by whoever makes it

Key and chain share one file, so there is no moment at which the pair does not match. A version is never changed: a new one gets
the next number, and three older ones are kept. A version that does not match its checksum, or whose key does not match, is
passed over for the one before it; when none is left, the certificate counts as missing and is obtained like any other.
"""

import asyncio
import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgeproxy.clock import Clock
from edgeproxy.errors import CertificateFault, StartError, StoreError, StoreFull
from edgeproxy.storage.durable import FOLDER_MODE, create, remove, sync_folder, write_all
from edgeproxy.tls.certificate import IMPORTED, Certificate, canonical_names, check_import, parse_certificate
from edgeproxy.tls.snapshot import Snapshot, Version

KEPT: Final = 3
"""Older versions that stay."""
LARGEST: Final = 1024 * 1024
_ROOM_NEEDED: Final = 64 * 1024
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_SEAL: Final = "edgeproxy 1 sha256="
_VERSION: Final = re.compile(r"([0-9]{8})\.pem")


class Step(StrEnum):
    """The steps of one change, told before the next begins, so that tests can end the process at each of them."""

    LOCKED = "locked"
    """A crash here leaves nothing; the kernel frees the lock."""
    FOLDER = "folder made"
    """A crash here leaves an empty folder."""
    CREATED = "temporary file made"
    """A crash here, and until the rename, leaves a temporary file, which the next change in this folder removes."""
    WRITTEN = "written"
    SYNCED = "content durable"
    RENAMED = "renamed"
    """The new version is found from here on. A power cut may still lose the name, and then the older version is found."""
    NAMED = "name durable"
    PRUNED = "old versions removed"
    """A crash before this leaves more versions than needed; the next change removes them."""
    TOLD = "followers told"
    """A crash before this leaves followers with the old version until they look at everything again."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that could not be used."""

    path: Path
    what: str


def slug(names: Iterable[str]) -> str:
    """The folder of a name set: the first name for people, and a hash of all of them that makes it unique."""
    ordered = canonical_names(names)
    digest = hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9.-]", "_", ordered[0].replace("*", "_").replace(":", "-")) if ordered else ""
    return f"{readable[:100]}-{digest}"


class Vault:
    """The vault in one data folder. Reading blocks for a moment (small files); writing runs in a thread."""

    def __init__(self, folder: Path, clock: Clock, *, on_step: Callable[[Step], None] | None = None) -> None:
        self.folder = folder
        self.certificates = folder / "certificates"
        self.damages: dict[Path, Damage] = {}
        """What was found damaged and is still there."""
        self._clock = clock
        self._step = on_step or (lambda step: None)
        self._requests = folder / "requests"
        self._changed = folder / "changed"
        self._read: dict[Path, tuple[tuple[int, int, int], Version]] = {}

    def __repr__(self) -> str:
        return f"<Vault {self.folder} damaged={len(self.damages)}>"

    def open(self) -> None:
        """Make the folders, for their owner only. Raises StartError."""
        try:
            for folder in (self.folder, self.certificates, self._requests):
                folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                if folder.stat().st_mode & 0o077:
                    folder.chmod(FOLDER_MODE)
            self._changed.touch(mode=0o600)
        except OSError as error:
            raise StartError("the vault cannot be used", path=self.folder, error=error.strerror) from error

    # -- certificates ---------------------------------------------------------------------------------------------------------

    def load(self, names: Iterable[str]) -> Certificate | None:
        """The newest good version for exactly this name set; None when there is none."""
        version = self._newest(self.certificates / slug(names))
        return version.certificate if version else None

    def find(self, names: Sequence[str]) -> Certificate | None:
        """The best certificate that covers all of `names`: see `Snapshot.find`."""
        return self.read().find(names, self._clock.seconds())

    def read(self) -> Snapshot:
        """Everything, to be asked many things; files that did not change are not read again."""
        return Snapshot(self._versions())

    def all(self) -> list[Certificate]:
        """The newest good version of every name set."""
        return [version.certificate for version in self._versions()]

    async def store(self, certificate: Certificate) -> None:
        """Keep `certificate` as the newest version of its name set; durable when this returns.

        Raises `StoreFull` or `StoreError`, and then what was there before is as it was; `CertificateFault` when it is one for
        trials and would take the place of a valid one that clients trust. It is finished even when the caller is cancelled.
        """
        await asyncio.to_thread(self._store, certificate)

    async def import_pair(self, name: str, chain: bytes, key: bytes) -> Certificate:
        """Store the operator's own pair (PEM) to be served for `name`, and for whatever else it names.

        Raises `CertificateFault` when it is broken, for other names, expired, or not valid yet; `StoreError`.
        """
        certificate = parse_certificate(chain, key)
        check_import(certificate, name, self._clock.seconds())
        await self.store(certificate)
        return certificate

    async def check_room(self) -> None:
        """Raise what storing would raise, before an authority is bothered for something that could not be kept."""
        await asyncio.to_thread(self._check_room)

    # -- what is remembered ---------------------------------------------------------------------------------------------------

    def load_state(self, names: Iterable[str]) -> bytes | None:
        """What was last saved for this name set; None when it is missing or damaged."""
        return self._load_sealed(self.certificates / slug(names) / "state.json")

    def load_note(self, name: str) -> bytes | None:
        """What was last saved as NAME.json, for all certificates together; None when it is missing or damaged."""
        return self._load_sealed(self.folder / f"{name}.json")

    async def save_note(self, name: str, note: bytes) -> None:
        """Keep `note` as NAME.json; durable when this returns. Raises `StoreFull` or `StoreError`."""
        await asyncio.to_thread(self._save, self.folder, f"{name}.json", _seal(note))

    def _load_sealed(self, path: Path) -> bytes | None:
        try:
            return _unseal(_read(path))
        except FileNotFoundError:
            return None
        except (OSError, CertificateFault) as error:
            self._note_damage(path, error)
            return None

    async def save_state(self, names: Iterable[str], state: bytes) -> None:
        """Keep `state` for this name set; durable when this returns. Raises `StoreFull` or `StoreError`."""
        folder = self.certificates / slug(names)
        await asyncio.to_thread(self._save, folder, "state.json", _seal(state))

    # -- between processes ----------------------------------------------------------------------------------------------------

    def stamp(self) -> int:
        """A number that differs after every change."""
        try:
            return self._changed.stat().st_mtime_ns
        except OSError:
            return 0

    async def request(self, names: Iterable[str]) -> None:
        """Ask whoever leads to renew, or obtain, the certificate of this name set. Raises `StoreError`."""
        ordered = canonical_names(names)
        await asyncio.to_thread(self._save, self._requests, slug(ordered), _seal("\n".join(ordered).encode()))

    def take_requests(self) -> list[tuple[str, ...]]:
        """The name sets that were asked for since the last call, from all processes. For the leader."""
        taken = []
        with suppress(OSError):
            for path in sorted(self._requests.iterdir()):
                if path.name.startswith("."):
                    continue
                with suppress(OSError, CertificateFault, UnicodeDecodeError):
                    taken.append(tuple(_unseal(_read(path)).decode().split("\n")))
                remove(path)
        return taken

    # -- reading --------------------------------------------------------------------------------------------------------------

    def _versions(self) -> Iterator[Version]:
        try:
            folders = sorted(entry.path for entry in os.scandir(self.certificates) if entry.is_dir())
        except OSError as error:
            self._note_damage(self.certificates, error)
            return
        for folder in folders:
            if version := self._newest(Path(folder)):
                yield version

    def _newest(self, folder: Path) -> Version | None:
        for number in reversed(_numbers(folder)):
            if version := self._version(folder / f"{number:08}.pem"):
                return version
        return None

    def _version(self, path: Path) -> Version | None:
        """One version, from memory when the file is the same as when it was read; None when it is damaged."""
        try:
            status = path.stat()
            identity = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known and known[0] == identity:
                return known[1]
            version = _parse(_read(path))
        except FileNotFoundError:
            return None  # pruned by another process since the folder was listed
        except (OSError, CertificateFault) as error:
            self._note_damage(path, error)
            return None
        self._read[path] = (identity, version)
        self.damages.pop(path, None)
        return version

    def _note_damage(self, path: Path, error: Exception) -> None:
        self._read.pop(path, None)
        what = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        self.damages[path] = Damage(path, what)

    # -- writing, in threads --------------------------------------------------------------------------------------------------

    def _store(self, certificate: Certificate) -> None:
        data = _seal(_format(certificate, self._clock.seconds()))
        if _parse(data).certificate != certificate:  # nothing is written that could not be read again
            raise CertificateFault("the certificate does not describe its chain and key", names=", ".join(certificate.names[:10]))
        folder = self.certificates / slug(certificate.names)
        with self._changing(folder):
            self._refuse_trial(certificate, folder)
            numbers = _numbers(folder)
            self._write(folder, f"{numbers[-1] + 1 if numbers else 1:08}.pem", data)
            self._prune(folder)
            self._step(Step.PRUNED)
            self._tell()

    def _refuse_trial(self, certificate: Certificate, folder: Path) -> None:
        newest = self._newest(folder)
        held = newest.certificate if newest else None
        if certificate.is_trial and held and not held.is_trial and held.is_valid(self._clock.seconds()):
            text = "a certificate for trials does not replace a valid one"
            raise CertificateFault(text, trial=certificate.source, held=held.source)

    def _save(self, folder: Path, name: str, data: bytes) -> None:
        with self._changing(folder):
            self._write(folder, name, data)
            if folder == self._requests:
                self._tell()

    def _check_room(self) -> None:
        with self._changing(self.certificates):
            path = self.certificates / ".room"
            remove(path)
            try:
                self._fill(path, bytes(_ROOM_NEEDED))
            finally:
                remove(path)

    @contextmanager
    def _changing(self, folder: Path) -> Iterator[None]:
        """Hold the vault's lock, with `folder` there and free of what a crash left; `OSError` becomes `StoreError`."""
        try:
            descriptor = os.open(self.folder / "vault.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._step(Step.LOCKED)
                if not folder.is_dir():
                    folder.mkdir(mode=FOLDER_MODE)
                    sync_folder(folder.parent)
                self._step(Step.FOLDER)
                # Whoever changes something holds the lock, so a temporary file that is here now is one that nobody will finish.
                remove(*folder.glob(".*.new"))
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a fork in this moment would take a copy of the descriptor with it
                os.close(descriptor)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull("no space left for a certificate", folder=folder.name) from error
            raise StoreError("the vault cannot be written", folder=folder.name, error=error.strerror or str(error)) from error

    def _write(self, folder: Path, name: str, data: bytes) -> None:
        temporary = folder / f".{name}.new"
        self._fill(temporary, data)
        try:
            temporary.rename(folder / name)
        except OSError:
            remove(temporary)
            raise
        self._step(Step.RENAMED)
        sync_folder(folder)
        self._step(Step.NAMED)

    def _fill(self, path: Path, data: bytes) -> None:
        """A new file whose content survives a power cut, under a name nobody looks for yet; nothing is left when it fails."""
        descriptor = create(path)
        try:
            self._step(Step.CREATED)
            write_all(descriptor, data, 0)
            self._step(Step.WRITTEN)
            os.fsync(descriptor)
            self._step(Step.SYNCED)
        except OSError:
            remove(path)
            raise
        finally:
            os.close(descriptor)

    def _prune(self, folder: Path) -> None:
        """Remove what is older than the newest good version and `KEPT` good ones before it. Damaged ones in between stay."""
        good = 0
        for number in reversed(_numbers(folder)):
            path = folder / f"{number:08}.pem"
            if good > KEPT:
                remove(path)
                self._read.pop(path, None)
                self.damages.pop(path, None)
            elif self._version(path):
                good += 1

    def _tell(self) -> None:
        with suppress(OSError):  # followers look at everything from time to time anyway
            now = max(self.stamp() + 1, self._clock.now() * 1_000_000)
            os.utime(self._changed, ns=(now, now))
        self._step(Step.TOLD)


def _numbers(folder: Path) -> list[int]:
    """The versions in `folder`, oldest first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := _VERSION.fullmatch(name)))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise CertificateFault("the file is too long", limit_bytes=LARGEST)
    return data


def _seal(data: bytes) -> bytes:
    return f"{_SEAL}{hashlib.sha256(data).hexdigest()}\n".encode() + data


def _unseal(data: bytes) -> bytes:
    first, _, rest = data.partition(b"\n")
    if first != f"{_SEAL}{hashlib.sha256(rest).hexdigest()}".encode():
        raise CertificateFault("the file does not match its checksum")
    return rest


def _format(certificate: Certificate, stored: float) -> bytes:
    """Lines before the first BEGIN are comments to whoever reads PEM (RFC 7468 section 2)."""
    head = f"directory: {certificate.directory}\nstored: {stored!r}\nnames: {', '.join(certificate.names)}\n"
    return head.encode() + certificate.key + certificate.chain


def _parse(data: bytes) -> Version:
    """What `_seal(_format(...))` made. Raises `CertificateFault`."""
    text = _unseal(data)
    head, begin, rest = text.partition(b"-----BEGIN ")
    fields = dict(line.split(": ", 1) for line in head.decode("utf-8", "replace").splitlines() if ": " in line)
    key, middle, chain = (begin + rest).partition(b"-----BEGIN CERTIFICATE-----")
    try:
        stored = float(fields["stored"])
    except (KeyError, ValueError) as error:
        raise CertificateFault("the file does not say when it was stored") from error
    return Version(parse_certificate(middle + chain, key, directory=fields.get("directory", IMPORTED)), stored)
