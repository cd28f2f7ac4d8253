"""What happens to certificates, told to the operator: the event, and the command that is run for each.

Owns: the kinds of events, their JSON, and the running of the hook command. The command is the operator's own program: it gets the
event on its standard input, has a bounded time, and whatever it does, nothing waits for it.
"""

import asyncio
import json
import logging
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgeproxy.tasks import spawn
from edgeproxy.tls.certificate import Certificate

log = logging.getLogger("edgeproxy.tls.events")

QUEUE: Final = 256
_LINES: Final = 2_000


class Kind(StrEnum):
    """What happened."""

    OBTAINED = "obtained"
    """The first certificate for these names."""
    RENEWED = "renewed"
    IMPORTED = "imported"
    """The operator put one into the vault."""
    FAILED = "failed"
    """An attempt failed; `detail` has the authority's words."""
    DEFERRED = "deferred"
    """The names do not lead here yet, so the first attempt waits a little."""
    EXPIRING = "expiring"
    """Under a tenth of its life is left, and it is still the one that is served."""
    EXPIRED = "expired"
    """It is past its end, and still the one that is served: clients refuse it."""
    DAMAGED = "damaged"
    """A file of the vault cannot be used; an older version, or a new certificate, takes its place."""
    UNSAVED = "unsaved"
    """A new certificate is served but could not be stored; storing is tried again, no authority is asked for it."""
    RESTORED = "restored"
    """A certificate that had vanished from the vault was put back from memory."""


@dataclass(frozen=True, slots=True)
class CertificateEvent:
    """One thing that happened to the certificate of `names`."""

    kind: Kind
    names: tuple[str, ...]
    time: float
    """Unix seconds."""
    detail: str = ""
    certificate: Certificate | None = None
    """The one that is served now."""
    next_attempt: float | None = None
    """Unix seconds."""

    def as_json(self) -> bytes:
        """One JSON object and a line feed. The key is not in it."""
        held = self.certificate
        shown = held and {
            "names": held.names,
            "not_before": held.not_before,
            "not_after": held.not_after,
            "serial": f"{held.serial:x}",
            "issuer": held.issuer,
            "directory": held.directory,
            "fingerprint": held.fingerprint,
        }
        fields = {
            "event": self.kind,
            "names": self.names,
            "time": self.time,
            "detail": self.detail,
            "next_attempt": self.next_attempt,
            "certificate": shown,
        }
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


class HookCommand:
    """The operator's command, run once for each event, one after the other, in the order of the events."""

    def __init__(self, command: Sequence[str], *, seconds: float = 30.0) -> None:
        """`command`: program and arguments; the event's kind and its first name are added. `seconds`: then it is killed."""
        self._command = tuple(command)
        self._seconds = seconds
        self._events: deque[CertificateEvent] = deque()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Events that found the queue full."""
        self.failed = 0
        """Runs that could not start, exited with another status than 0, or were killed."""

    def __repr__(self) -> str:
        return f"<HookCommand {self._command[0]} waiting={len(self._events)} failed={self.failed} dropped={self.dropped}>"

    def notify(self, event: CertificateEvent) -> None:
        """Run the command for `event` soon. Never waits; when `QUEUE` events wait already, it is counted and dropped."""
        if len(self._events) >= QUEUE:
            self.dropped += 1
            return
        self._events.append(event)
        if self._task is None:
            self._task = spawn(self._run(), name="certificate-hook")

    async def drain(self) -> None:
        """Wait until the command was run for all events so far, each within its bounded time."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def stop(self) -> None:
        """Kill what runs and forget what waits."""
        self._events.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            while self._events:
                await self._run_for(self._events.popleft())
        finally:
            self._task = None

    async def _run_for(self, event: CertificateEvent) -> None:
        starting = spawn(self._start(event), name="certificate-hook.start")
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # It may be there already, and have children: its start is waited for, so that all of them can be ended.
            if (started := await starting) is not None:
                await _end(started)
            raise
        if process is None:
            return
        try:
            async with asyncio.timeout(self._seconds):
                said = await _talk(process, event.as_json())
                status = await process.wait()
        except TimeoutError:
            self.failed += 1
            log.error("the certificate hook %s was killed after %s seconds", self._command[0], self._seconds)
        else:
            if status != 0:
                self.failed += 1
                log.error("the certificate hook %s exited with %s: %s", self._command[0], status, said.decode(errors="replace"))
        finally:
            await _end(process)


    async def _start(self, event: CertificateEvent) -> Process | None:
        """The command, started for `event`; None, counted and said, when it cannot be."""
        arguments = (*self._command, event.kind.value, event.names[0] if event.names else "")
        try:
            # A session of its own, so that whatever the command started can be ended with it.
            return await asyncio.create_subprocess_exec(
                *arguments, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, start_new_session=True, close_fds=True
            )
        except OSError as error:
            self.failed += 1
            log.error("the certificate hook %s cannot be started: %s", self._command[0], error.strerror)
            return None


async def _talk(process: Process, data: bytes) -> bytes:
    """Give `data` to the command and take the first bytes of what it complains."""
    assert process.stdin is not None
    assert process.stderr is not None
    with suppress(ConnectionError):  # it may end without reading
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    said = await process.stderr.read(_LINES)
    while await process.stderr.read(65_536):
        pass
    return said


async def _end(process: Process) -> None:
    """End the command with all that it started. A group whose members are all gone is no error."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
