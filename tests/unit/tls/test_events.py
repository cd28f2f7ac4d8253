"""The operator's command: what it is told, and that nothing waits for it."""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.tls.events import QUEUE, CertificateEvent, HookCommand, Kind
from tests.support.local_authority import LocalAuthority
from tests.support.time_lapse import until

CLOCK = ManualClock()
CERTIFICATE = LocalAuthority(CLOCK).certificate("www.example.com")
EVENT = CertificateEvent(Kind.FAILED, ("www.example.com",), CLOCK.seconds(), "rateLimited: too many", CERTIFICATE, 5.0)


def script(folder: Path, code: str) -> list[str]:
    path = folder / "hook.py"
    path.write_text(f"import json, os, sys, time\nfrom pathlib import Path\nfolder = Path({str(folder)!r})\n{code}\n")
    return [sys.executable, str(path), "mine"]


async def test_the_command_gets_the_event_as_arguments_and_as_json(tmp_path):
    hook = HookCommand(script(tmp_path, "(folder / 'got').write_text(json.dumps([sys.argv[1:], json.load(sys.stdin)]))"))
    hook.notify(EVENT)
    await hook.drain()
    arguments, told = json.loads((tmp_path / "got").read_text())
    assert arguments == ["mine", "failed", "www.example.com"]
    assert told["event"] == "failed"
    assert told["detail"] == "rateLimited: too many"
    assert told["next_attempt"] == 5.0
    assert told["certificate"]["fingerprint"] == CERTIFICATE.fingerprint
    assert "PRIVATE" not in json.dumps(told)
    assert hook.failed == 0


async def test_events_are_told_one_after_the_other_in_their_order(tmp_path):
    hook = HookCommand(script(tmp_path, "with (folder / 'got').open('a') as file: file.write(sys.argv[2] + '\\n')"))
    kinds = [Kind.FAILED, Kind.OBTAINED, Kind.RENEWED]
    for kind in kinds:
        hook.notify(CertificateEvent(kind, ("a.example",), 0.0))
    await hook.drain()
    assert (tmp_path / "got").read_text().split() == kinds


async def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path):
    code = "child = os.fork()\n(folder / str(os.getpid())).touch()\ntime.sleep(600)"
    hook = HookCommand(script(tmp_path, code), seconds=2.0)
    hook.notify(EVENT)
    await until(lambda: len(pids := [path.name for path in tmp_path.iterdir() if path.name.isdigit()]) == 2 and pids)
    pids = [path.name for path in tmp_path.iterdir() if path.name.isdigit()]
    await hook.drain()
    assert hook.failed == 1

    def is_over(pid: str) -> bool:
        try:
            return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True

    await until(lambda: all(map(is_over, pids)))


async def test_a_command_that_is_stopped_at_any_moment_of_its_start_leaves_no_process(tmp_path):
    """Its last argument tells a process of the command, and each of its children, from all others."""
    command = tmp_path / "hook.sh"
    command.write_text("#!/bin/sh\n(exec sh -c 'sleep 600' \"$3\") & wait\n")
    command.chmod(0o700)
    for turns in range(12):
        name = f"stopped-after-{turns}.test"
        hook = HookCommand([str(command), "mine"])
        hook.notify(CertificateEvent(Kind.FAILED, (name,), 0.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        await hook.stop()
        await until(lambda name=name: not processes_of(name))


def processes_of(name: str) -> list[str]:
    found = []
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if name.encode() in arguments.read_bytes().split(b"\0"):
                found.append(arguments.parent.name)
    return found


@pytest.mark.parametrize("code", ["sys.exit(3)", "sys.stderr.write('x' * 300_000); sys.exit(1)", "os.close(0); sys.exit(1)"])
async def test_a_command_that_fails_is_counted_and_the_next_event_is_told(tmp_path, code):
    hook = HookCommand(script(tmp_path, code))
    hook.notify(EVENT)
    hook.notify(EVENT)
    await hook.drain()
    assert hook.failed == 2


async def test_a_command_that_does_not_exist_is_counted(tmp_path):
    hook = HookCommand([str(tmp_path / "nothing")])
    hook.notify(EVENT)
    await hook.drain()
    assert hook.failed == 1


async def test_more_events_than_the_queue_holds_are_dropped_and_counted(tmp_path):
    hook = HookCommand(script(tmp_path, "time.sleep(600)"))
    for _ in range(QUEUE + 5):
        hook.notify(EVENT)
    assert hook.dropped == 5
    await hook.stop()
    assert "waiting=0" in repr(hook)
