"""Addresses to listen on, from text to bound sockets.

Owns: the three ways to write an address, and what a failure to bind means to an operator. Must not accept connections.
"""

import errno
import os
import re
import socket
import stat
from dataclasses import dataclass

from edgeproxy.errors import StartError

BACKLOG = 1024
_ANY = ("0.0.0.0", "::")
_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%A-Za-z0-9]+)\]|(?P<host>[^\[\]:/]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """`host` and `port`, or `path` of a Unix socket. An empty host means every address of the machine, IPv4 and IPv6."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port`, `:port`, `[v6]:port` or `unix:/path`. Raises StartError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise _refused(text, "not an absolute path", "write unix:/run/edgeproxy.sock")
        return Address(path=path)
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise _refused(text, "not an address", "write HOST:PORT, [IPV6]:PORT, :PORT or unix:/PATH")
    return Address(match["six"] or match["host"] or "", int(match["port"]))


def bind(address: Address) -> list[socket.socket]:
    """Bound sockets for `address`, not yet listening: one, or one a family for a name or every address.

    Raises StartError with the address, the reason and a hint; then nothing stays open.
    """
    bound: list[socket.socket] = []
    try:
        if address.path:
            bound.append(_bind_unix(address.path))
            return bound
        for family, target in _targets(address):
            try:
                bound.append(_bind_inet(family, target))
            except OSError as error:
                # A machine without IPv6 still has every address of IPv4.
                if address.host or family != socket.AF_INET6 or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
    except OSError as error:
        for opened in bound:
            opened.close()
        raise map_bind_error(str(address), error) from error
    return bound


def _targets(address: Address) -> list[tuple[int, tuple[object, ...]]]:
    hosts = (address.host,) if address.host else _ANY
    found: dict[tuple[object, ...], int] = {}
    for host in hosts:
        for family, _, _, _, target in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            found.setdefault(target, family)
    return [(family, target) for target, family in found.items()]


def _bind_inet(family: int, target: tuple[object, ...]) -> socket.socket:
    # The protocol by name: asyncio turns Nagle off only where it sees TCP written out.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(target)
    except OSError:
        listening.close()
        raise
    return listening


def _bind_unix(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listening.setblocking(False)
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    return listening


def _remove_stale(path: str) -> None:
    """A socket file outlives a killed process; it goes only when nobody answers on it, and only when it is a socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


_MEANINGS: dict[int, tuple[str, str]] = {
    errno.EADDRINUSE: ("address in use", "another program listens there; stop it or choose another port"),
    errno.EACCES: (
        "permission denied",
        "ports below 1024 need the capability CAP_NET_BIND_SERVICE; a socket file needs a writable folder",
    ),
    errno.EPERM: (
        "permission denied",
        "ports below 1024 need the capability CAP_NET_BIND_SERVICE; a socket file needs a writable folder",
    ),
    errno.EADDRNOTAVAIL: ("not an address of this machine", "list them with: ip address"),
    errno.ENOENT: ("no such folder", "make the folder of the socket file"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n, or LimitNOFILE= in the unit)"),
}


def map_bind_error(address: str, error: OSError) -> StartError:
    """What `error` means to an operator."""
    if isinstance(error, socket.gaierror):
        return _refused(address, "host name not known", "check the spelling, or write the IP address")
    reason, hint = _MEANINGS.get(error.errno or 0, (error.strerror or str(error), "see the reason"))
    return _refused(address, reason, hint)


def _refused(address: str, reason: str, hint: str) -> StartError:
    return StartError("cannot listen", address=address, reason=reason, hint=hint)
