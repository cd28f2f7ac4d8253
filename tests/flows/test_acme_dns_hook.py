"""The operator's command for DNS-01 challenges: how it is called, and what is said when it fails."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls.acme.dns_hook import DnsHook, record_name, record_value
from tests.support.edge import until

TOLD = """#!/bin/sh
echo "$@ $EDGEPROXY_DNS_ACTION $EDGEPROXY_DNS_NAME $EDGEPROXY_DNS_RECORD $EDGEPROXY_DNS_VALUE" >> "$(dirname "$0")/told"
"""


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_record_name_and_value_are_those_of_the_standard() -> None:
    """RFC 8555 section 8.4."""
    assert record_name("www.a.test") == "_acme-challenge.www.a.test"
    assert record_name("*.a.test") == "_acme-challenge.a.test"
    assert record_value("token.thumbprint") == "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I"


async def test_the_command_is_told_what_to_do_in_its_arguments_and_its_environment(tmp_path: Path) -> None:
    hook = DnsHook([script(tmp_path, TOLD), "--zone", "a.test"])
    await hook.present("*.a.test", "token", "token.thumbprint")
    await hook.present("a.test", "other", "other.thumbprint")
    await hook.withdraw("*.a.test", "token")
    await hook.withdraw("*.a.test", "token")  # there is nothing left to withdraw
    record, value = "_acme-challenge.a.test", record_value("token.thumbprint")
    other = record_value("other.thumbprint")
    assert (tmp_path / "told").read_text().splitlines() == [
        f"--zone a.test present *.a.test {record} {value} present *.a.test {record} {value}",
        f"--zone a.test present a.test {record} {other} present a.test {record} {other}",
        f"--zone a.test withdraw *.a.test {record} {value} withdraw *.a.test {record} {value}",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\nprintf 'no \\033[31msuch\\n zone' >&2; exit 3\n", r"ended with status 3: no \[31msuch zone"),
        ("#!/bin/sh\nexit 1\n", r"ended with status 1"),
        ("#!/bin/sh\nkill -9 $$\n", r"was ended by signal 9"),
        ("#!/bin/sh\nhead -c 3000000 /dev/zero >&2; echo the end >&2; exit 1\n", r"the end"),
        ("#!/no/such/shell\n", r"could not be started"),
    ],
)
async def test_a_failure_is_told_in_the_commands_own_words(tmp_path: Path, text: str, words: str) -> None:
    hook = DnsHook([script(tmp_path, text)])
    with pytest.raises(IssuanceFailed, match=words) as failed:
        await hook.present("a.test", "token", "token.thumbprint")
    assert (failed.value.problem, failed.value.retry) == ("hook", Retry.SOON)
    assert len(failed.value.detail) <= 500


SLOW = """#!/bin/sh
sleep 600 & echo $! > "$(dirname "$0")/child"
echo $$ > "$(dirname "$0")/pid"
wait
"""


def alive(number: str) -> bool:
    try:
        stat = Path(f"/proc/{int(number)}/stat").read_text()
    except (OSError, ValueError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    hook = DnsHook([script(tmp_path, SLOW)], timeout=2.0)
    with pytest.raises(IssuanceFailed, match="took longer than 2 s and was ended"):
        await hook.present("a.test", "token", "token.thumbprint")
    await gone(tmp_path)


async def test_a_cancelled_caller_leaves_no_process(tmp_path: Path) -> None:
    hook = DnsHook([script(tmp_path, SLOW)])
    presenting = asyncio.get_running_loop().create_task(hook.present("a.test", "token", "token.thumbprint"))

    async def started() -> bool | None:
        return (tmp_path / "pid").exists() or None

    await until(started)
    presenting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await presenting
    await gone(tmp_path)


async def test_a_caller_that_is_cancelled_at_any_moment_of_the_start_leaves_no_process(tmp_path: Path) -> None:
    """Its own variable in the environment tells a process of the hook, and each of its children, from all others."""
    for turns in range(12):
        name = f"cancelled-after-{turns}.test"
        hook = DnsHook([script(tmp_path, SLOW)])
        presenting = asyncio.get_running_loop().create_task(hook.present(name, "token", "token.thumbprint"))
        for _ in range(turns):
            await asyncio.sleep(0)
        presenting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await presenting

        async def none_left(name: str = name) -> bool | None:
            return not any(alive(number) for number in processes_of(name)) or None

        await until(none_left)


def processes_of(name: str) -> list[str]:
    mark = f"EDGEPROXY_DNS_NAME={name}".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                found.append(environment.parent.name)
    return found


async def test_a_child_that_stays_behind_holds_nobody_up(tmp_path: Path) -> None:
    text = '#!/bin/sh\nsleep 600 & echo $! > "$(dirname "$0")/child"\n'
    await DnsHook([script(tmp_path, text)]).present("a.test", "token", "token.thumbprint")
    os.kill(int((tmp_path / "child").read_text()), 15)


async def gone(folder: Path) -> None:
    numbers = [(folder / name).read_text() for name in ("pid", "child")]

    async def none_alive() -> bool | None:
        return not any(alive(number) for number in numbers) or None

    await until(none_alive)
