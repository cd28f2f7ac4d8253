"""Programs that tests start: with a log, waited for, and ended by their own process id."""

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 20.0


@contextmanager
def started(
    command: Sequence[str], log: Path, *, ready: Callable[[], bool], environ: Mapping[str, str], deadline: float = 30.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the end of the block; the block begins when `ready` says so."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environ, cwd=log.parent)
    try:
        end = time.monotonic() + deadline
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command[0]} did not start: {log.read_text(errors='replace')[-4_000:]}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@dataclass
class SiteProcess:
    """A site as a process of its own, which can be killed with SIGKILL and come back on its port. Use as a context manager, so
    that none is left behind.

    `module` is run with that port (0: any free one) and what `start` is given, and says on stdout where it listens.
    """

    module: ClassVar[str]
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> None:
        """Start, and wait until it listens."""
        command = [sys.executable, "-m", self.module, str(self.port), *arguments]
        process = self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], STARTS_WITHIN)[0], "the origin did not start"
        self.port = int(process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None
