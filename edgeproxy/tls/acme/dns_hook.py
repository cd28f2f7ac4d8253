"""DNS-01 by a command of the operator's (RFC 8555 section 8.4): it makes and removes TXT records where it knows how to.

Owns: how the command is called, for how long, and what is said when it fails. Knows no DNS provider, and does not look whether
the record has arrived: the command returns when it has.

The command is called as

    COMMAND... present|withdraw NAME RECORD VALUE

and finds the same in EDGEPROXY_DNS_ACTION, EDGEPROXY_DNS_NAME, EDGEPROXY_DNS_RECORD and EDGEPROXY_DNS_VALUE. NAME is the name of
the certificate (`*.example.org`), RECORD the name of the TXT record (`_acme-challenge.example.org`). One record name may need
several values at once, for a name and its wildcard: `present` adds a value, `withdraw` removes this value only.
"""

import asyncio
import hashlib
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from josepy.b64 import b64encode

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tasks import spawn
from edgeproxy.tls.acme.problems import clean, own_failure

RECORD_LABEL = "_acme-challenge"
_STDERR_KEPT = 4_096
_WORDS = 350
_GRACE = 5.0
_LAST_WORDS = 1.0


def record_name(name: str) -> str:
    """The name of the TXT record that proves control of `name`; a wildcard shares the one of its parent."""
    return f"{RECORD_LABEL}.{name.removeprefix('*.')}"


def record_value(key_authorization: str) -> str:
    """What the TXT record has to say."""
    return b64encode(hashlib.sha256(key_authorization.encode("ascii")).digest()).decode("ascii")


class DnsHook:
    """The presenter of DNS-01 challenges that runs `command` (an argument list; no shell), for at most `timeout` seconds each."""

    def __init__(self, command: Sequence[str], timeout: float = 300.0) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self._values: dict[tuple[str, str], str] = {}

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        """Raises IssuanceFailed "hook", with the exit status and the end of what the command said on stderr."""
        value = record_value(key_authorization)
        self._values[name, token] = value
        await self._run("present", name, value)

    async def withdraw(self, name: str, token: str) -> None:
        """As `present`; does nothing for what was never presented."""
        value = self._values.pop((name, token), None)
        if value is not None:
            await self._run("withdraw", name, value)

    async def _run(self, action: str, name: str, value: str) -> None:
        with _Stderr() as stderr:
            starting = spawn(self._start(action, name, value, stderr.theirs), name="dns-hook")
            try:
                process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # It may be there already, and have children: its start is waited for, so that all of them can be ended.
                if not isinstance(started := await starting, IssuanceFailed):
                    await _end(started)
                raise
            if isinstance(process, IssuanceFailed):
                raise process
            try:
                await stderr.listen()
                async with asyncio.timeout(self._timeout):
                    status = await process.wait()
            except TimeoutError as error:
                raise self._failure(action, name, f"took longer than {self._timeout:g} s and was ended") from error
            finally:
                await _end(process)
            if status != 0:
                how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
                said = await stderr.last_words()
                raise self._failure(action, name, f"{how}: {said}" if said else how)

    async def _start(self, action: str, name: str, value: str, stderr: int) -> asyncio.subprocess.Process | IssuanceFailed:
        """The process, or why there is none."""
        record = record_name(name)
        environment = {
            "EDGEPROXY_DNS_ACTION": action,
            "EDGEPROXY_DNS_NAME": name,
            "EDGEPROXY_DNS_RECORD": record,
            "EDGEPROXY_DNS_VALUE": value,
        }
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                action,
                name,
                record,
                value,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # so that its children can be ended with it
            )
        except (OSError, ValueError) as error:
            return self._failure(action, name, f"could not be started: {error}")

    def _failure(self, action: str, name: str, what: str) -> IssuanceFailed:
        return own_failure("hook", f"the DNS hook ({self._command[0]} {action} {name}) {what}")


class _Stderr(asyncio.Protocol):
    """A pipe for what a process says, of which the end is kept; read on and on, so that the process never waits for us.

    A pipe of our own, because one of asyncio's stays open as long as any child of the process holds its other end.
    """

    def __init__(self) -> None:
        ours, self.theirs = os.pipe()
        self._ours = os.fdopen(ours, "rb", buffering=0)
        self._kept = b""
        self._ended = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_theirs()
        if self._transport is not None:
            self._transport.close()
        else:
            self._ours.close()  # as a file, not as a number: a listening that was broken off has closed it already

    async def listen(self) -> None:
        self._close_theirs()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, self._ours)

    async def last_words(self) -> str:
        """What was said last, cleaned. A child that outlives the command may hold the pipe open; nobody waits for that one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._ended.wait()
        return clean(self._kept.decode("utf-8", "replace")[-_WORDS:])

    def data_received(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-_STDERR_KEPT:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()

    def _close_theirs(self) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that is still there, with its children, and wait until it is gone."""
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
            return
