"""Validators for tests: processes of our own, and some that lie.

Owns: what the tests of cosigning share. A hand-made one answers what it is told to, under a key of its own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from edgeproxy.ledger.cosigning import parse_request
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine, parse_note
from edgeproxy.validator.folder import add_logs, known_log, make_folder
from edgeproxy.validator.process import ServeSettings, Validator, running
from tests.support.edge import ROOT, Edge
from tests.support.pebble import free_ports
from tests.support.web_app import listening


@dataclass
class ValidatorProcess:
    """`edgeproxy validator serve` on a port that stays the same when it starts again."""

    folder: Path
    name: str
    port: int = field(init=False)
    vkey: str = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    environ: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.vkey = str(make_folder(self.folder, self.name, []).verifier)
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def know(self, vkey: str, url: str) -> None:
        add_logs(self.folder, [known_log(vkey, url)])
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        self.begin()()

    def begin(self) -> Callable[[], None]:
        """Start, and answer what waits until it listens."""
        with self.log.open("ab") as log:
            offset = log.tell()
            command = ("validator", "serve", "--data", str(self.folder), "--listen", f"127.0.0.1:{self.port}", *self.flags)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeproxy", *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environ},
            )
        process = self.process

        def wait() -> None:
            self._wait(process, offset)

        return wait

    def _wait(self, process: "subprocess.Popen[bytes]", offset: int) -> None:
        end = time.monotonic() + 30
        while b"edgeproxy validator " not in self.log.read_bytes()[offset:]:
            is_late = time.monotonic() > end or process.poll() is not None
            assert not is_late, self.log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(20) == 0, self.log.read_text()

    def table(self) -> str:
        """As `[[ledger.validators]]`."""
        return f'[[ledger.validators]]\nvkey = "{self.vkey}"\nurl = "{self.url}"\n'


@dataclass
class LocalValidator:
    """One in the test's own loop."""

    folder: Path
    name: str
    vkey: str
    running: Validator

    @property
    def url(self) -> str:
        return self.running.addresses[0]

    def know(self, vkey: str, url: str) -> None:
        add_logs(self.folder, [known_log(vkey, url)])
        self.running.reload()

    def table(self) -> str:
        return f'[[ledger.validators]]\nvkey = "{self.vkey}"\nurl = "{self.url}"\n'


@asynccontextmanager
async def local_validators(folder: Path, count: int) -> AsyncIterator[list[LocalValidator]]:
    """Validators without processes of their own."""
    async with AsyncExitStack() as closing:
        made = []
        for number in range(count):
            place, name = folder / f"v{number}", f"v{number}.example"
            vkey = str(make_folder(place, name, []).verifier)
            started = await closing.enter_async_context(running(ServeSettings(place, ("127.0.0.1:0",))))
            made.append(LocalValidator(place, name, vkey, started))
        yield made


def configured(validators: Sequence["AnyValidator"], quorum: int, *, more: str = "") -> str:
    """The tables of the ledger for an edge's configuration file."""
    return f'[ledger]\nbatch_delay = "20ms"\nquorum = {quorum}\n{more}' + "".join(each.table() for each in validators)


def introduce(edge: Edge, base: str, validators: Sequence["AnyValidator"]) -> None:
    """Tell validators of a running edge's ledger."""
    for each in validators:
        if not isinstance(each, Liar):
            each.know(str(edge.sequencer.log), f"{base}/.edge/ledger")


Lie = Callable[[web.Request, "Liar"], Awaitable[web.Response]]


@dataclass
class Liar:
    """Somebody with a validator's key who does what `lie` says."""

    lie: Lie
    name: str = "liar.example"
    url: str = ""
    asked: int = 0
    signer: Signer = field(init=False)

    def __post_init__(self) -> None:
        self.signer = Signer(self.name, bytes([66]) * 32, COSIGNATURE)

    def line(self, message: bytes, at: int | None = None, signer: Signer | None = None) -> bytes:
        signer = signer or self.signer
        blob = signer.sign(message, int(time.time()) if at is None else at)
        return str(SignatureLine(self.signer.name, self.signer.key_id, blob)).encode()

    def table(self) -> str:
        return f'[[ledger.validators]]\nvkey = "{self.signer.verifier}"\nurl = "{self.url}"\n'


AnyValidator = ValidatorProcess | LocalValidator | Liar


async def submitted(request: web.Request) -> bytes:
    """The text of the checkpoint that is to be cosigned."""
    return parse_note(parse_request(await request.read()).note).message


async def cosigns_anything(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(body=liar.line(await submitted(request)))


@asynccontextmanager
async def lying(lie: Lie, name: str = "liar.example") -> AsyncIterator[Liar]:
    """A liar that listens."""
    liar = Liar(lie, name)

    async def answer(request: web.Request) -> web.Response:
        liar.asked += 1
        return await liar.lie(request, liar)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with listening(app) as liar.url:
        yield liar
