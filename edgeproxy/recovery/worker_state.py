"""What outlives a restart of the orders to service workers: DATA/service-worker.json.

Owns: the file's form, and that it is replaced whole or not at all. Must not decide anything. Blocking: for threads, or the start.

A file that is missing or damaged is as if nothing had been ordered; the serial cannot go back all the same, since a new one is
never below the clock's seconds (`service_workers`).
"""

import contextlib
import logging
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgeproxy.clock import Instant
from edgeproxy.ledger.control import Mode, Quorum
from edgeproxy.storage.durable import remove, sync_folder, write_failure, write_synced

log = logging.getLogger("edgeproxy.recovery")

STATE_FILE = "service-worker.json"
MAX_STATE = 4 << 20
"""Bytes."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the configuration and the operator want of one site's service workers, as it goes into control documents."""

    hosts: tuple[str, ...]
    mode: Mode
    percent: int
    max_stale: int
    mirrors: tuple[str, ...] = ()
    tag_fields: tuple[str, ...] = ()
    """Response fields with the tags that a purge can name: an export decides by them what may still be served."""
    ignore_query: tuple[str, ...] = ()
    """Query parameters that do not make another page."""
    override: bool = False
    """Copies are used against what the origin says of that (`site.recovery.override`)."""
    validators: Quorum | None = None


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `overrides`: site to mode, "" for all sites. `own`: host to when its own service worker was seen last.

    `keys` are verifier keys of the log, the present one first, each with the moment since which it is the present one no more.
    """

    v: Literal[1] = 1
    serial: _Count = 0
    issued: Instant = Instant(0)
    overrides: dict[str, Mode] = {}
    own: dict[str, Instant] = {}
    keys: tuple[tuple[str, Instant], ...] = ()
    orders: dict[str, Orders] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Kept)


def load_state(folder: Path) -> Kept:
    """What the file says; nothing at all when it is missing, damaged, or of another version (which is logged)."""
    path = folder / STATE_FILE
    try:
        with path.open("rb") as file:
            return _decoder.decode(file.read(MAX_STATE))
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("orders to service workers cannot be read, the configuration alone counts: %s: %s", path, error)
        return Kept()


def save_state(folder: Path, kept: Kept) -> None:
    """Replace the file, durably. Raises StoreError."""
    path = folder / STATE_FILE
    draft = path.with_name(f"{STATE_FILE}.new")
    try:
        remove(draft)
        write_synced(draft, _encoder.encode(kept) + b"\n")
        draft.rename(path)
        # Crash before: the old orders. Crash here, in a power cut: the old ones, or the new ones.
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise write_failure(error, path) from error
