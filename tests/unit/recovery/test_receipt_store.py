"""The key of tokens, and what was seen, over a crash and a restart."""

import os
from pathlib import Path

import pytest

from edgeproxy.clock import Instant
from edgeproxy.errors import StartError
from edgeproxy.recovery import receipt_store
from edgeproxy.recovery.receipt_store import Seen, ensure_receipt_key
from edgeproxy.recovery.receipts import TOKEN_MILLISECONDS

NOW = Instant(1_764_000_000_000)


def identity(number: int) -> bytes:
    return number.to_bytes(16, "big")


def kept(folder: Path, now: int = NOW) -> Seen:
    seen = Seen(folder)
    seen.load(Instant(now))
    return seen


def keep(seen: Seen) -> None:
    everything = seen.snapshot()
    seen.keep(seen.take_new(), everything)


def test_the_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    key = ensure_receipt_key(tmp_path, os.urandom)
    path = tmp_path / "receipt-key"
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    path.chmod(0o644)
    assert ensure_receipt_key(tmp_path, os.urandom) == key
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(StartError, match="damaged"):
        ensure_receipt_key(tmp_path, os.urandom)


def test_what_was_seen_is_known_after_a_restart_until_it_is_too_old_to_be_taken(tmp_path: Path) -> None:
    seen = kept(tmp_path)
    for number in range(3):
        seen.remember(identity(number), NOW)
    keep(seen)
    seen.remember(identity(3), NOW)
    keep(seen)
    again = kept(tmp_path)
    assert all(identity(number) in again for number in range(4))
    assert identity(4) not in again
    assert len(kept(tmp_path, NOW + TOKEN_MILLISECONDS + 1)) == 0


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    seen = kept(tmp_path)
    for number in range(2):
        seen.remember(identity(number), NOW)
    keep(seen)
    path = tmp_path / "receipts-seen"
    path.write_bytes(path.read_bytes()[:-5])
    torn = kept(tmp_path)
    assert identity(0) in torn
    assert identity(1) not in torn
    torn.remember(identity(2), NOW)
    keep(torn)
    again = kept(tmp_path)
    assert identity(0) in again
    assert identity(2) in again
    assert path.stat().st_size == 48


def test_memory_and_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_store, "MAX_SEEN", 4)
    seen = kept(tmp_path)
    for number in range(30):
        seen.remember(identity(number), NOW)
        keep(seen)
        assert (tmp_path / "receipts-seen").stat().st_size <= 24 * 10
    assert len(seen) == 4
    assert identity(29) in kept(tmp_path)
