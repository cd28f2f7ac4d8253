"""The two files by which a command finds a running edge: DATA/admin-token and DATA/admin.json.

Owns: their format, mode and life. The token is secret to the user who runs the edge; whoever reads it may purge and reload.
"""

import contextlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.errors import StartError

TOKEN_FILE = "admin-token"
ADDRESS_FILE = "admin.json"
_FEWEST_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Running:
    """What DATA/admin.json says: where the admin side listens ("HOST:PORT"), and the process."""

    address: str
    pid: int


def ensure_token(data: Path) -> str:
    """The token of `data`, made on first use. Readable by its owner only, also when it was once left open to others.

    Raises `StartError` when the folder cannot be written or the file holds no usable token.
    """
    path = data / TOKEN_FILE
    try:
        if not path.exists():
            _make_token(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError("admin token cannot be made or read", path=path, reason=_reason(error)) from error
    if len(token) < _FEWEST_CHARACTERS:
        raise StartError("admin token is too short: delete the file, a new one is made at the next start", path=path)
    return token


def _make_token(path: Path) -> None:
    """A crash leaves either no token or a whole one; of two edges that start at once, one makes it and both read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_token(data: Path) -> str | None:
    """The token of `data`; None when there is none. Raises `PermissionError` when another user owns it."""
    try:
        return (data / TOKEN_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def announce(data: Path, running: Running) -> None:
    """Write DATA/admin.json whole or not at all. Raises `StartError`."""
    path = data / ADDRESS_FILE
    draft = path.with_name(f"{ADDRESS_FILE}.new")
    try:
        draft.write_text(json.dumps({"address": running.address, "pid": running.pid}) + "\n", encoding="ascii")
        draft.replace(path)
    except OSError as error:
        raise StartError("data folder is not writable", path=path, reason=_reason(error)) from error


def withdraw(data: Path, pid: int) -> None:
    """Remove DATA/admin.json if it is still that of `pid`."""
    running = find(data)
    if running is not None and running.pid == pid:
        with contextlib.suppress(OSError):
            (data / ADDRESS_FILE).unlink()


def find(data: Path) -> Running | None:
    """What DATA/admin.json says; None when it is missing or damaged. The process may be gone all the same.

    Raises `PermissionError` where the folder is closed to this user: that says nothing about an edge.
    """
    try:
        found = json.loads((data / ADDRESS_FILE).read_text(encoding="utf-8"))
        return Running(address=str(found["address"]), pid=int(found["pid"]))
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reason(error: Exception) -> str:
    return (error.strerror or "unknown").lower() if isinstance(error, OSError) else "not text"
