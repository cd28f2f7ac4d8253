"""SIGKILL at each step of storing, a full disk, several processes on one vault: it stays usable, and nobody asks without need."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock, SystemClock
from edgeproxy.errors import StoreFull
from edgeproxy.tls.leader import Leadership
from edgeproxy.tls.vault import KEPT, Step, Vault
from tests.support.keepers import Lab
from tests.support.local_authority import LocalAuthority
from tests.support.time_lapse import until

NAME = "www.example.com"
DEADLINE = 60.0


class Child:
    """A process of `tests.support.vault_process`, and what it said."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "tests.support.vault_process", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        self.said: list[str] = []
        self._rest = b""

    def wait_for(self, word: str, times: int = 1) -> str:
        """The line that begins with `word` for the `times`-th time."""
        end = time.monotonic() + DEADLINE
        while len(found := [line for line in self.said if line.split()[0] == word]) < times:
            assert self.process.stdout is not None
            assert time.monotonic() < end, f"never said {word}: {self.said}"
            if not select.select([self.process.stdout], [], [], 0.5)[0]:
                continue
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, f"ended without {word}: {self.said}"
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.said += [line.decode() for line in lines]
        return found[times - 1]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read().decode().splitlines()
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def new(*arguments: object) -> Child:
        children.append(Child(*arguments))
        return children[-1]

    yield new
    for child in children:
        if child.process.poll() is None:
            child.kill()


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Seven certificates for the same names, to be stored one after the other."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    authority = LocalAuthority(SystemClock())
    for number in range(7):
        issued = authority.sign((NAME,))
        (folder / f"{number}.pem").write_bytes(issued.key + issued.chain)
    return folder


@pytest.mark.parametrize("count", [1, 4, 11])
@pytest.mark.parametrize("step", [step.name for step in Step])
async def test_killed_at_each_step_it_has_the_old_or_the_new_version_and_goes_on(tmp_path, start, pairs, step, count):
    folder = tmp_path / "tls"
    child = start("write", folder, pairs, step, count)
    child.close()
    acknowledged = [line.split()[1] for line in child.said if line.startswith("stored")]
    vault = Vault(folder, SystemClock())
    vault.open()
    found = vault.load((NAME,))
    fingerprints = [LocalAuthority.fingerprint(pair.read_bytes()) for pair in sorted(pairs.iterdir())]
    last = acknowledged[-1] if acknowledged else None
    assert (found.fingerprint if found else None) in (last, *fingerprints[len(acknowledged) :][:1])
    assert vault.damages == {}
    # the next start stores as if nothing had happened, and clears what was left
    again = start("write", folder, pairs, "none", 1)
    again.close()
    assert [line.split()[1] for line in again.said if line.startswith("stored")] == fingerprints
    assert Vault(folder, SystemClock()).load((NAME,)).fingerprint == fingerprints[-1]
    left = sorted(path.name for path in next(vault.certificates.iterdir()).iterdir())
    assert len(left) == 1 + KEPT + 1, left
    assert not any(name.startswith(".") for name in left)


async def test_a_half_written_temporary_file_is_cleared_by_the_next_change(tmp_path, pairs):
    vault = Vault(tmp_path / "tls", SystemClock())
    vault.open()
    certificate = LocalAuthority(SystemClock()).certificate(NAME)
    await vault.store(certificate)
    folder = next(vault.certificates.iterdir())
    (folder / ".00000002.pem.new").write_bytes(b"half")
    assert vault.load((NAME,)) == certificate
    await vault.store(certificate)
    assert sorted(path.name for path in folder.iterdir()) == ["00000001.pem", "00000002.pem"]


# -- a full disk ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0 and "CI" not in os.environ:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    assert mounted.returncode == 0, mounted.stderr
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all of the space that is left."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return path
    return path


async def test_a_full_disk_leaves_what_was_there_and_says_so(small_disk):
    clock = ManualClock()
    authority = LocalAuthority(clock)
    vault = Vault(small_disk / "tls", clock)
    vault.open()
    old, new = authority.certificate(NAME), authority.certificate(NAME)
    await vault.store(old)
    filling = fill(small_disk)
    for attempt in (vault.store(new), vault.check_room(), vault.save_state((NAME,), b"x" * 9000), vault.store(new)):
        with pytest.raises(StoreFull):
            await attempt
    assert vault.load((NAME,)) == old
    assert [path.name for path in next(vault.certificates.iterdir()).iterdir()] == ["00000001.pem"]
    filling.unlink()
    await vault.store(new)
    assert vault.load((NAME,)) == new


async def test_with_a_full_disk_no_authority_is_asked_and_with_room_again_one_is(small_disk):
    lab = Lab(small_disk / "tls", [])
    authority = LocalAuthority(lab.clock)
    lab = Lab(small_disk / "tls", [authority], lab.lapse)
    lab.vault.open()
    filling = fill(small_disk)
    await lab.start(NAME)
    await lab.pass_time(1800)
    assert authority.orders == []
    assert {event.kind for event in lab.events} == {"failed"}
    assert lab.keeper.status()[0].last_failure.problem == "storage"
    filling.unlink()
    await lab.pass_time(61)
    assert len(authority.orders) == 1
    await lab.stop()


async def test_a_disk_that_fills_during_the_order_costs_no_second_one(small_disk):
    lab = Lab(small_disk / "tls", [])
    authority = LocalAuthority(lab.clock)
    fillings: list[Path] = []

    async def fill_up() -> None:
        fillings.append(fill(small_disk))

    authority.delay = fill_up
    lab = Lab(small_disk / "tls", [authority], lab.lapse, scan_seconds=60.0, watch_seconds=60.0)
    await lab.start(NAME)
    assert lab.kinds() == ["unsaved", "obtained"]
    assert lab.keeper.serving()[NAME] == authority.issued[0], "it serves, although it could not be stored"
    await lab.pass_time(600)
    assert lab.vault.load((NAME,)) is None
    fillings[0].unlink()
    await lab.pass_time(120)
    assert lab.vault.load((NAME,)) == authority.issued[0]
    assert len(authority.orders) == 1
    await lab.stop()


# -- several processes ---------------------------------------------------------------------------------------------------------


def test_two_processes_on_one_vault_make_one_order_and_serve_the_same(tmp_path, start):
    counter = tmp_path / "orders"
    one, other = (start("keep", tmp_path / "tls", counter, NAME, 0.3) for _ in range(2))
    assert one.wait_for("serves") == other.wait_for("serves")
    assert counter.read_text().splitlines() == [NAME]
    assert len([child for child in (one, other) if "leads" in child.said]) == 1


def test_when_the_leader_is_killed_in_the_middle_of_an_order_the_other_takes_over(tmp_path, start):
    counter = tmp_path / "orders"
    leader = start("keep", tmp_path / "tls", counter, NAME, 3600)
    leader.wait_for("leads")
    follower = start("keep", tmp_path / "tls", counter, NAME, 0)
    follower.wait_for("started")
    end = time.monotonic() + DEADLINE
    while not counter.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "leads" not in follower.said
    leader.kill()
    follower.wait_for("leads")
    follower.wait_for("serves")
    assert counter.read_text().splitlines() == [NAME, NAME]


def test_when_the_leader_is_killed_after_its_order_the_other_asks_for_nothing(tmp_path, start):
    counter = tmp_path / "orders"
    leader = start("keep", tmp_path / "tls", counter, NAME, 0)
    leader.wait_for("serves")
    follower = start("keep", tmp_path / "tls", counter, NAME, 0)
    served = follower.wait_for("serves")
    leader.kill()
    follower.wait_for("leads")
    late = start("keep", tmp_path / "tls", counter, NAME, 0)
    assert late.wait_for("serves") == served
    assert counter.read_text().splitlines() == [NAME]


async def test_a_follower_is_heard_by_the_leader(tmp_path):
    lead = Lab(tmp_path / "tls", [])
    authority = LocalAuthority(lead.clock)
    lead = Lab(tmp_path / "tls", [authority], lead.lapse, scan_seconds=1.0, watch_seconds=1.0)
    follow = Lab(tmp_path / "tls", [authority], lead.lapse, scan_seconds=1.0, watch_seconds=1.0)
    await lead.start(NAME)
    follow.want(NAME)
    await follow.keeper.start()
    assert not follow.keeper.leads
    await follow.keeper.renew_now(NAME)
    wanted = asyncio.ensure_future(follow.keeper.obtain("new.example.org"))
    end = time.monotonic() + DEADLINE
    while not wanted.done():  # the two see each other's files, in threads of their own: how long that takes nobody knows
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
        await lead.pass_time(1)
    found = await wanted
    assert found in authority.issued
    assert found.names == ("new.example.org",)
    # The two wishes may be carried out in either order.
    assert sorted(names for _, names, _ in authority.orders) == sorted([(NAME,), (NAME,), ("new.example.org",)])
    await until(lambda: follow.keeper.serving()[NAME] == lead.keeper.serving()[NAME])
    assert follow.events == []
    assert follow.keeper.status()[0].last_success == lead.keeper.status()[0].last_success
    await lead.stop()
    await until(lambda: follow.keeper.leads)
    await follow.stop()


# -- the lock ------------------------------------------------------------------------------------------------------------------


async def test_one_leader_and_the_next_at_once(tmp_path):
    one, other, third = (Leadership(tmp_path) for _ in range(3))
    await one.take()
    assert one.is_held
    assert not other.try_take()
    waiting = asyncio.ensure_future(other.take())
    abandoned = asyncio.ensure_future(third.take())
    await asyncio.sleep(0)
    abandoned.cancel()
    await asyncio.wait((abandoned,))
    assert not waiting.done()
    one.release()
    await asyncio.wait_for(waiting, DEADLINE)
    assert other.is_held
    other.release()
    await asyncio.wait_for(one.take(), DEADLINE)
    one.release()


async def test_a_lock_whose_file_was_removed_is_not_held(tmp_path):
    one, other = Leadership(tmp_path), Leadership(tmp_path)
    assert one.try_take()
    (tmp_path / "leader.lock").unlink()
    assert not one.is_held
    assert other.try_take()
    assert not one.try_take()
    other.release()


def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_died(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from edgeproxy.tls.leader import Leadership\n"
        "lead = Leadership(Path(sys.argv[1])); assert lead.try_take(); child = os.fork()\n"
        "if not child: print(os.getpid(), flush=True); time.sleep(600)\n"
        "else: time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    lead = Leadership(tmp_path)
    assert not lead.try_take()
    parent.kill()
    parent.wait(DEADLINE)
    assert lead.try_take()
    os.kill(child, signal.SIGKILL)
    parent.stdout.close()
    lead.release()
