"""The data folder of a validator: its key, and the logs that it validates.

Owns: DATA/validator-key (mode 0600) and DATA/logs. Must not know what was cosigned; that is `validator.state`.

`logs` is a C2SP policy file with lines `log <verifier key> <url>`: written by `validator init` and `validator add`, or by hand.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.config.values import Unfit, parse_http_url
from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.note_keys import COSIGNATURE, ED25519, Signer, Verifier, parse_signer, parse_verifier
from edgeproxy.ledger.policy import MAX_POLICY, parse_policy
from edgeproxy.storage.durable import FOLDER_MODE, remove, sync_folder, write_synced
from edgeproxy.validator.state import STATE_FILE, create_state

KEY_FILE = "validator-key"
LOGS_FILE = "logs"
LOCK_FILE = "lock"

_LARGEST_KEY = 4096
_HEAD = "# Logs that this validator cosigns: log <verifier key> <url of its tiles>\nquorum none\n"


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log, and where it publishes its tiles."""

    verifier: Verifier
    url: str


def known_log(vkey: str, url: str) -> KnownLog:
    """What two words of an operator mean. Raises StartError."""
    try:
        verifier = parse_verifier(vkey)
        if verifier.kind != ED25519:
            raise ProofRefused("key of a log is not of the type that signs notes")
        return KnownLog(verifier, parse_http_url(url))
    except ProofRefused as error:
        raise StartError("log is not named by a verifier key", why=error.text, key=vkey) from None
    except Unfit as unfit:
        raise StartError(f"address of a log {unfit.problem}", url=url, allowed=unfit.allowed) from None


def make_folder(
    folder: Path, name: str, logs: Sequence[KnownLog], random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Signer:
    """A new validator called `name`. Raises StartError, also where there is one."""
    try:
        signer = Signer(name, random_bytes(32), COSIGNATURE)
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if (folder / KEY_FILE).exists() or (folder / STATE_FILE).exists():
            raise StartError("there is a validator in this folder already", folder=folder, hint="choose another with --data")
        # Crash before the key: a state of a key that nobody has; made anew by hand, since nothing is known of it.
        create_state(folder, str(signer.verifier))
        _replace(folder / LOGS_FILE, _text(logs))
        _replace(folder / KEY_FILE, signer.private() + "\n")
    except ProofRefused as error:
        raise StartError("name of the validator cannot be that of a key", name=name, why=error.text) from None
    except OSError as error:
        raise StartError("data folder cannot be written", path=folder, why=error.strerror) from error
    return signer


def read_signer(folder: Path) -> Signer:
    """The key of the validator. Raises StartError, and never quotes it."""
    path = folder / KEY_FILE
    try:
        with path.open("rb") as file:
            signer = parse_signer(file.read(_LARGEST_KEY).decode("utf-8").removesuffix("\n"))
    except FileNotFoundError:
        raise StartError("there is no validator in this folder", folder=folder, hint="edgeproxy validator init") from None
    except OSError as error:
        raise StartError("key of the validator cannot be read", path=path, why=error.strerror) from error
    except (UnicodeDecodeError, ProofRefused):
        raise StartError("key of the validator is damaged", path=path) from None
    if signer.verifier.kind != COSIGNATURE:
        raise StartError("key of the validator is not one that cosigns", path=path)
    return signer


def read_known(folder: Path) -> list[KnownLog]:
    """The logs to validate. Raises StartError."""
    path = folder / LOGS_FILE
    try:
        with path.open("rb") as file:
            policy = parse_policy(file.read(MAX_POLICY + 1))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StartError("list of logs cannot be read", path=path, why=error.strerror) from error
    except ProofRefused as error:
        raise StartError("list of logs is not understood", path=path, why=str(error)) from None
    missing = [origin for origin in policy.logs if origin not in policy.urls]
    if missing:
        raise StartError("log has no url, and its blocks cannot be looked at without", path=path, log=missing[0])
    return [known_log(str(verifier), policy.urls[origin]) for origin, verifier in policy.logs.items()]


def add_logs(folder: Path, logs: Sequence[KnownLog]) -> list[KnownLog]:
    """Validate these too; one that is known takes the new key and address. All of them. Raises StartError."""
    read_signer(folder)
    known = {each.verifier.name: each for each in read_known(folder)}
    known.update({each.verifier.name: each for each in logs})
    try:
        _replace(folder / LOGS_FILE, _text(list(known.values())))
    except OSError as error:
        raise StartError("data folder cannot be written", path=folder, why=error.strerror) from error
    return list(known.values())


def lock(folder: Path) -> int:
    """Make this process the only validator of the folder; a descriptor to keep open. Raises StartError."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError("data folder cannot be written", path=folder, why=error.strerror) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartError("data folder is in use by another process", folder=folder) from None
    return descriptor


def _text(logs: Sequence[KnownLog]) -> str:
    """The file. Raises StartError for logs that no policy can name together."""
    text = _HEAD + "".join(f"log {each.verifier} {each.url}\n" for each in logs)
    try:
        parse_policy(text.encode())
    except ProofRefused as error:
        raise StartError("these logs cannot be validated together", why=str(error)) from None
    return text


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    remove(draft)
    write_synced(draft, text.encode())
    draft.rename(path)
    sync_folder(path.parent)
