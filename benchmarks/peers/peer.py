"""What a server must tell to be compared."""

import subprocess
from pathlib import Path
from typing import Protocol


class Peer(Protocol):
    """One server in front of the origin."""

    @property
    def name(self) -> str:
        """As it stands in tables."""
        ...

    @property
    def binary(self) -> str:
        """What must be on the PATH."""
        ...

    @property
    def package(self) -> str | None:
        """The Debian package it comes in."""
        ...

    def version(self) -> str:
        """For the record of a run."""
        ...

    def command(self, folder: Path, port: int, origin: int) -> list[str]:
        """Write the configuration into `folder` (empty, its own) and give the command that runs in the foreground."""
        ...


def said_by(*command: str) -> str:
    """The first line that `command` prints, on whichever stream."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().partition("\n")[0]
