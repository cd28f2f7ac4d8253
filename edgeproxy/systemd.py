"""What systemd and the edge say to each other: sockets handed over at start, and readiness told back.

Owns: the two small protocols (sd_listen_fds(3), sd_notify(3)). Without systemd both do nothing.
"""

import os
import socket
from typing import NamedTuple

FIRST_SOCKET = 3


class Inherited(NamedTuple):
    """Listening sockets that systemd opened for us, so that a restart refuses nobody."""

    http: list[socket.socket]
    https: list[socket.socket]
    """Those with `FileDescriptorName=https`."""


def inherited_sockets() -> Inherited:
    """What `LISTEN_FDS` and `LISTEN_FDNAMES` say."""
    found = Inherited([], [])
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return found
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for offset in range(int(count)):
        name = names[offset] if offset < len(names) else ""
        (found.https if name == "https" else found.http).append(socket.socket(fileno=FIRST_SOCKET + offset))
    return found


def notify(state: str) -> None:
    """Tell systemd `state` (`READY=1`, `RELOADING=1`, `STOPPING=1`); says nothing when nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sink:
            sink.sendto(state.encode(), address)
    except OSError:
        return  # readiness is a courtesy; the site is served without it
