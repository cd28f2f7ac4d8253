"""What is asked of an asyncio transport beyond reading and writing.

Owns: who the peer is, and how to close with a reset.
"""

import asyncio
import socket
import struct
from json.encoder import encode_basestring_ascii

from edgeproxy.serving.stream import Peer

UNIX_ADDRESS = "unix"
"""`Peer.address` of everybody on a Unix socket."""

NOBODY = Peer("", 0, ("", 0), False, b'"client":""')
"""Before there is a connection."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds


def peer_of(transport: asyncio.Transport) -> Peer:
    """Both ends of a connection. A client that is already gone has an empty address."""
    remote, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return make_peer(remote, local, tls=transport.get_extra_info("ssl_object") is not None)


def make_peer(remote: object, local: object, *, tls: bool) -> Peer:
    """The same from a socket's own `getpeername` and `getsockname`."""
    if not isinstance(local, tuple):
        path = local.decode(errors="replace") if isinstance(local, bytes) else str(local or "")
        return _peer(UNIX_ADDRESS, 0, (path, 0), tls)
    ours = (str(local[0]).removeprefix("::ffff:"), int(local[1]))
    if not isinstance(remote, tuple):
        return _peer("", 0, ours, tls)
    return _peer(str(remote[0]).removeprefix("::ffff:"), int(remote[1]), ours, tls)


def _peer(address: str, port: int, local: tuple[str, int], tls: bool) -> Peer:
    return Peer(address, port, local, tls, b'"client":' + encode_basestring_ascii(address).encode())


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the close a reset: a close-delimited message would look whole otherwise (RFC 9112 section 8)."""
    plain = transport.get_extra_info("socket")
    if plain is not None and plain.family in (socket.AF_INET, socket.AF_INET6):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
