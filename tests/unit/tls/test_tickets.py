"""Keys of session tickets: who has the same ones, and when they change."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproxy.clock import Instant, ManualClock
from edgeproxy.errors import StoreError
from edgeproxy.tls.tickets import EPOCH_SECONDS, FILE_NAME, TicketKeys

LENGTH = 80


def keys(secret: bytes = b"s" * 32, clock: ManualClock | None = None) -> TicketKeys:
    clock = clock or ManualClock()
    return TicketKeys(secret, int(clock.seconds()) // EPOCH_SECONDS, clock)


def test_the_same_secret_gives_the_same_keys() -> None:
    assert keys().derive("a", b"p", LENGTH) == keys().derive("a", b"p", LENGTH)
    assert len(keys().derive("a", b"p", LENGTH)) == LENGTH
    assert keys().derive("a", b"p", LENGTH) != keys(b"t" * 32).derive("a", b"p", LENGTH)


def test_scope_and_policy_are_told_apart_wherever_one_ends() -> None:
    derived = {keys().derive(scope, policy, LENGTH) for scope, policy in [("a", b"bc"), ("ab", b"c"), ("abc", b""), ("", b"abc")]}
    assert len(derived) == 4


def test_an_epoch_changes_every_byte_that_matters_and_goes_on_the_same_everywhere() -> None:
    clock = ManualClock()
    one = keys(clock=clock)
    early = one.derive("a", b"p", LENGTH)
    clock.advance(EPOCH_SECONDS - clock.seconds() % EPOCH_SECONDS - 1)
    assert one.derive("a", b"p", LENGTH) == early
    clock.advance(1)
    late = one.derive("a", b"p", LENGTH)
    assert late[:16] != early[:16]
    assert late[16:] != early[16:]


def test_a_process_that_slept_comes_to_the_same_keys(tmp_path: Path) -> None:
    clock, sleeper_clock = ManualClock(), ManualClock()
    awake, asleep = TicketKeys.open(tmp_path, clock), TicketKeys.open(tmp_path, sleeper_clock)
    for _ in range(3):
        clock.advance(EPOCH_SECONDS)
        awake.epoch()
    sleeper_clock.advance(3 * EPOCH_SECONDS)
    started_now = TicketKeys.open(tmp_path, clock)
    assert awake.derive("a", b"", LENGTH) == asleep.derive("a", b"", LENGTH) == started_now.derive("a", b"", LENGTH)


def test_the_secret_of_a_past_epoch_is_gone_from_the_disk(tmp_path: Path) -> None:
    clock = ManualClock()
    (tmp_path / f"{FILE_NAME}.1.ab.new").write_text("left by a crash")
    opened = TicketKeys.open(tmp_path, clock)
    before = (tmp_path / FILE_NAME).read_text()
    clock.advance(EPOCH_SECONDS)
    opened.epoch()
    after = (tmp_path / FILE_NAME).read_text()
    assert before.split()[2] not in after
    assert int(after.split()[1]) == int(before.split()[1]) + 1
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_a_clock_that_goes_back_stays_in_the_epoch(tmp_path: Path) -> None:
    clock = ManualClock()
    opened = TicketKeys.open(tmp_path, clock)
    clock.advance(EPOCH_SECONDS)
    reached = opened.epoch()
    derived = opened.derive("a", b"", LENGTH)
    clock.advance(-2 * EPOCH_SECONDS)
    assert opened.epoch() == reached
    assert opened.derive("a", b"", LENGTH) == derived


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    TicketKeys.open(tmp_path / "tls", ManualClock())
    assert stat.S_IMODE((tmp_path / "tls" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content", [b"", b"edgeproxy-ticket-secret-1 1 ab\n", b"\xff\xfe", b"edgeproxy-ticket-secret-2 1 " + b"a" * 64 + b"\n", None]
)
def test_a_damaged_or_open_file_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    clock = ManualClock()
    before = TicketKeys.open(tmp_path, clock).derive("a", b"", LENGTH)
    path = tmp_path / FILE_NAME
    if content is None:
        path.chmod(0o644)
    else:
        path.write_bytes(content)
    after = TicketKeys.open(tmp_path, clock).derive("a", b"", LENGTH)
    assert after != before
    assert TicketKeys.open(tmp_path, clock).derive("a", b"", LENGTH) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_from_the_future_or_the_far_past_is_replaced(tmp_path: Path) -> None:
    TicketKeys.open(tmp_path, ManualClock(Instant(1_900_000_000_000)))
    here = ManualClock()
    after = TicketKeys.open(tmp_path, here).derive("a", b"", LENGTH)
    assert TicketKeys.open(tmp_path, here).derive("a", b"", LENGTH) == after
    (tmp_path / FILE_NAME).write_text(f"edgeproxy-ticket-secret-1 1 {'0' * 64}\n")
    assert TicketKeys.open(tmp_path, here).derive("a", b"", LENGTH) != after


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="secret of session tickets"):
        TicketKeys.open(tmp_path / "file", ManualClock())


def test_a_full_disk_at_the_change_of_epoch_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    opened = TicketKeys.open(tmp_path / "tls", clock)
    (tmp_path / "tls" / FILE_NAME).unlink()
    (tmp_path / "tls").rmdir()
    clock.advance(EPOCH_SECONDS)
    assert len(opened.derive("a", b"", LENGTH)) == LENGTH
    assert "stays as it was on disk" in caplog.text


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edgeproxy.clock import ManualClock;"
        "from edgeproxy.tls.tickets import TicketKeys;"
        "print(TicketKeys.open(Path(sys.argv[1]), ManualClock()).derive('a', b'', 80).hex())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_temporary_keys_differ() -> None:
    one, two = TicketKeys.temporary(ManualClock()), TicketKeys.temporary(ManualClock())
    assert one.derive("a", b"", LENGTH) != two.derive("a", b"", LENGTH)
