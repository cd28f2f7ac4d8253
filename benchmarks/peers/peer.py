"""What a server must tell to be compared."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.authority import IdentityFiles


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: a folder of its own (empty), ports of the loopback address, the origin's port, its certificate."""

    folder: Path
    port: int
    tls_port: int
    origin: int
    identity: IdentityFiles


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
        """The Debian package it comes in; None for what a package of the virtual environment brings."""
        ...

    def version(self) -> str:
        """For the record of a run."""
        ...

    def lacks(self, scenario: str) -> str | None:
        """Why it cannot be asked for the scenario of this key, by what it is; None when it can."""
        ...

    def command(self, place: Place) -> list[str]:
        """Prepare the folder (configuration, certificate) and give the command that runs in the foreground."""
        ...


def said_by(*command: str) -> str:
    """The first line that `command` prints, on whichever stream."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().partition("\n")[0]
