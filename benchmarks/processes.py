"""Processes of a load test: started on one core, watched through /proc, ended by their own id."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Running:
    """One server and its children."""

    def __init__(self, name: str, command: Sequence[str], *, core: int, log: Path) -> None:
        self.name = name
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """The process and everything under it."""
        found, waiting = [], [self._process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            except OSError:
                continue
            found.append(pid)
            waiting += [int(child) for child in children.split()]
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all of them so far."""
        total = 0
        for pid in self.pids():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_bytes(self) -> int:
        """Proportional set size: what is shared between a server's processes counts once."""
        return 1024 * sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in self.pids())

    def wait_until_quiet(self, seconds: float = 30.0) -> None:
        """Wait until it does next to nothing, or `seconds` have passed: its work in the background is not the next scenario's."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.3)
            if self.cpu_seconds() - before <= 0.015:
                return

    def stop(self) -> None:
        """End it: first asked, then told."""
        pids = self.pids()
        if self.is_alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    _kill(pid)
                self._process.wait(10)
        self._log.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kilobytes(pid: int, file: str, label: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(label)), 0)
