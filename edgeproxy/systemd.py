"""What systemd and the edge say to each other: sockets handed over at start, and readiness told back.

Owns: the two small protocols (sd_listen_fds(3), sd_notify(3)). Without systemd both do nothing.
"""

import os
import socket

FIRST_SOCKET = 3


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that systemd opened for us (`LISTEN_FDS`), so that a restart refuses nobody."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isdigit():
        return []
    return [socket.socket(fileno=FIRST_SOCKET + offset) for offset in range(int(count))]


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
