"""Programs that tests start: with a log, waited for, and ended by their own process id."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


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
