"""The files of a static mirror: written whole or not at all, checked after writing, and removed when they are no longer wanted.

Owns: the folder's layout (docs/mirrors.md) and every write in it. Blocking. Must not decide what a mirror has.

  control   blocks/<hex of the URL's digest>.json   bodies/<hex of the SHA-256>   ledger/checkpoint   ledger/tile/…

A file is written beside its name and renamed. It is not forced to the disk: what a power cut leaves torn fails its check at the
next export and is written anew, and no browser takes it meanwhile.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused, StoreError
from edgeproxy.ledger.block_document import MAX_DOCUMENT, check_document
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.storage.durable import write_failure

BLOCKS, BODIES, LEDGER, CONTROL = "blocks", "bodies", "ledger", "control"
_DRAFT: Final = ".new"
_OURS = {
    BLOCKS: re.compile(r"[0-9a-f]{64}\.json(?:\.new)?", re.ASCII).fullmatch,
    BODIES: re.compile(r"[0-9a-f]{64}(?:\.new)?", re.ASCII).fullmatch,
}


class MirrorFolder:
    """One folder that a web server may serve. `written`, `kept` and `removed` count files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.kept = 0
        self.removed = 0
        self.bytes = 0

    def open(self) -> None:
        """Make the folders. Raises StoreError."""
        try:
            for name in (BLOCKS, BODIES, LEDGER):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(error, self.path) from error

    def block_height(self, digest: Digest, log: Verifier) -> int | None:
        """The height of the block that is there for a URL; None when there is none, or it does not prove itself to `log`."""
        data = self._read(self._block(digest), MAX_DOCUMENT)
        try:
            return None if data is None else int(check_document(data, digest, log).height)
        except ProofRefused:
            return None

    def put_block(self, digest: Digest, document: bytes, log: Verifier) -> None:
        """Write a block document, read it back, and prove it as a browser would. Raises StoreError, ProofRefused."""
        path = self._block(digest)
        self._write(path, document)
        check_document(self._read(path, MAX_DOCUMENT) or b"", digest, log)

    def has_body(self, digest: Digest, length: int) -> bool:
        """Whether the body is there, every byte of it."""
        path = self.path / BODIES / digest.hex()
        with suppress(OSError):
            return path.stat().st_size == length and _digest(path) == digest
        return False

    def put_body(self, digest: Digest, length: int, source: Path) -> None:
        """Copy a body, and prove the copy before it gets its name. Raises StoreError; `Corrupt` when `source` is not the body."""
        path = self.path / BODIES / digest.hex()
        draft = path.with_name(path.name + _DRAFT)
        try:
            with source.open("rb") as whole:
                _copy(whole, draft)
        except FileNotFoundError:
            raise Corrupt("a body is missing or unreadable", digest=digest.hex()) from None
        try:
            if draft.stat().st_size != length or _digest(draft) != digest:
                draft.unlink()
                raise Corrupt("body does not match its digest", digest=digest.hex())
            os.replace(draft, path)
        except OSError as error:
            raise write_failure(error, path) from error
        self.written += 1
        self.bytes += length

    def put(self, name: str, data: bytes) -> None:
        """Write another file below the folder, unless it is there as it should be. Raises StoreError."""
        path = self.path / name
        if self._read(path, len(data) + 1) == data:
            self.kept += 1
        else:
            self._write(path, data)

    def has(self, name: str, length: int) -> bool:
        """Whether a file of this length is there; for files that never change."""
        with suppress(OSError):
            return (self.path / name).stat().st_size == length
        return False

    def retain(self, kind: str, names: Iterable[str]) -> None:
        """Remove what the mirror had and should have no longer. Files that are not of an export stay. Raises StoreError."""
        wanted, is_ours = set(names), _OURS[kind]
        try:
            for path in list((self.path / kind).iterdir()):
                if path.name not in wanted and is_ours(path.name) is not None:
                    path.unlink(missing_ok=True)
                    self.removed += 1
        except OSError as error:
            raise StoreError("files of the mirror cannot be removed", path=self.path / kind, why=error.strerror) from error

    def block_name(self, digest: Digest) -> str:
        """The file's name."""
        return f"{digest.hex()}.json"

    def _block(self, digest: Digest) -> Path:
        return self.path / BLOCKS / self.block_name(digest)

    @staticmethod
    def _read(path: Path, most: int) -> bytes | None:
        with suppress(OSError), path.open("rb") as file:
            return file.read(most)
        return None

    def _write(self, path: Path, data: bytes) -> None:
        draft = path.with_name(path.name + _DRAFT)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            os.replace(draft, path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise write_failure(error, path) from error
        self.written += 1
        self.bytes += len(data)


def _copy(whole: BinaryIO, draft: Path) -> None:
    try:
        with draft.open("wb") as file:
            shutil.copyfileobj(whole, file, 1 << 20)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise write_failure(error, draft) from error


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
