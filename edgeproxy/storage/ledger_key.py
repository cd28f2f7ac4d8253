"""The private keys of the ledger's log, each in one small file.

Owns: DATA/ledger-key: made on first use, mode 0600, whole or not there; DATA/ledger-key.ml-dsa the same, where it is asked for.
Must not decide when a key is retired; that is `sequencer.signing`.

The file holds one line, the key as C2SP signed notes write it, with the log's name: so the name stays what it was at first,
whatever the configuration says later. A key that is retired is kept beside it and never signs again.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.mldsa import MldsaSigner, parse_mldsa_signer
from edgeproxy.ledger.note_keys import Signer, parse_signer
from edgeproxy.storage.durable import FILE_MODE, remove, sync_folder, write_synced

T = TypeVar("T")

KEY_FILE = "ledger-key"
NEXT_FILE = "ledger-key.next"
"""The key that a rotation is about to hand over to."""
MLDSA_FILE = "ledger-key.ml-dsa"
"""The second key, of another kind; its public half lies beside it."""
_RETIRED = ".retired-"
_LARGEST = 4096


def read_key(folder: Path, name: str = KEY_FILE) -> Signer | None:
    """The key in `folder`; None when there is none. Raises StartError when it cannot be used, and never quotes it."""
    return _read(folder / name, parse_signer)


def _read(path: Path, parse: Callable[[str], T]) -> T | None:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError("key of the ledger cannot be read", path=path, why=error.strerror) from error
    try:
        return parse(data.decode("utf-8").removesuffix("\n"))
    except (UnicodeDecodeError, ProofRefused) as error:
        why = error.text if isinstance(error, ProofRefused) else "not text"
        hint = "restore it from a backup, or move it away: then a new key begins, which nobody knows yet"
        raise StartError("key of the ledger is damaged", path=path, why=why, hint=hint) from None


def ensure_key(folder: Path, name: str, random_bytes: Callable[[int], bytes]) -> Signer:
    """The key in `folder`, made under `name` when there is none. Raises StartError."""
    kept = read_key(folder)
    if kept is not None:
        _close_to_others(folder / KEY_FILE)
        return kept
    signer = Signer(name, random_bytes(32))
    _write(folder / KEY_FILE, signer)
    return signer


def keep_key(folder: Path, signer: Signer) -> None:
    """Put a key in place that comes from elsewhere: a log goes on here. Raises StartError."""
    _write(folder / KEY_FILE, signer)


def ensure_mldsa_key(folder: Path, name: str, random_bytes: Callable[[int], bytes]) -> MldsaSigner:
    """The ML-DSA-44 key in `folder`, made under the log's name when there is none. Raises StartError."""
    path = folder / MLDSA_FILE
    signer = _read(path, parse_mldsa_signer)
    if signer is None:
        try:
            signer = MldsaSigner(name, random_bytes(32))
        except ProofRefused as error:
            hint = "leave out ledger.ml_dsa"
            raise StartError("ML-DSA-44 key of the ledger cannot be made", why=error.text, hint=hint) from None
        _write(path, signer)
    _close_to_others(path)
    public = path.with_name(f"{MLDSA_FILE}.pub")
    try:
        public.write_text(f"{signer.verifier}\n")
    except OSError as error:
        raise StartError("key of the ledger cannot be written", path=public, why=error.strerror) from error
    return signer


def write_next(folder: Path, signer: Signer) -> None:
    """Keep the key that is about to take over, before anything is signed with it. Raises StartError.

    Crash after: if the block of the rotation was committed, the next start promotes this key, and else it drops it.
    """
    _write(folder / NEXT_FILE, signer)


def drop_next(folder: Path) -> None:
    """Nothing was signed with the next key, and nothing will be."""
    remove(folder / NEXT_FILE)


def promote_next(folder: Path) -> None:
    """The next key signed a committed checkpoint: it is the key from now on. Raises StartError."""
    retire_key(folder)
    try:
        # Crash before: no key, and a next one whose checkpoint is in the ledger; the next start goes on here.
        (folder / NEXT_FILE).rename(folder / KEY_FILE)
        sync_folder(folder)
    except OSError as error:
        raise StartError("key of the ledger cannot be written", path=folder / KEY_FILE, why=error.strerror) from error


def _write(path: Path, signer: Signer | MldsaSigner) -> None:
    draft = path.with_name(f"{path.name}.new")
    try:
        # Crash before the rename: a draft, which the next start removes; nothing was signed with it.
        remove(draft)
        write_synced(draft, signer.private().encode() + b"\n")
        draft.rename(path)
        # Crash here: the name may be lost in a power cut, and with it a key that has signed nothing either.
        sync_folder(path.parent)
    except OSError as error:
        raise StartError("key of the ledger cannot be written", path=path, why=error.strerror) from error


def retire_key(folder: Path, name: str = KEY_FILE) -> Path | None:
    """Move a key aside, so that it never signs again; answers where it is. Raises StartError."""
    path = folder / name
    number = 1
    while (aside := path.with_name(f"{name}{_RETIRED}{number}")).exists():
        number += 1
    try:
        # Crash before: the next start finds the same contradiction. Crash after: it makes a new key.
        path.rename(aside)
        sync_folder(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError("key of the ledger cannot be moved aside", path=path, why=error.strerror) from error
    return aside


def _close_to_others(path: Path) -> None:
    """Whoever reads the key can sign in this log's name."""
    try:
        if stat.S_IMODE(path.stat().st_mode) != FILE_MODE:
            os.chmod(path, FILE_MODE)
    except OSError as error:
        raise StartError("key of the ledger is open to others and cannot be closed", path=path, why=error.strerror) from error
