"""Last words to a client that is not served, and a close that lets them arrive.

Owns: sockets on which the last words are written, until the client has closed or a short time is over.
Must not decide what is said.

A socket that is closed with bytes unread, or that gets more of them later, answers with a reset, and a reset destroys what the
client has not read yet. So what came is read and dropped, our side is closed, and the client's end awaited.
"""

import asyncio
import socket

from edgeproxy.clock import Clock
from edgeproxy.tls.arrivals import Arrival, Room, RoomBounds

BOUNDS = RoomBounds(deadline=2.0, total=512, per_client=64, fair=0.1)
DROPPED_BYTES = 64 * 1024
"""How much more of a client is read only to be dropped; more than any hello, less than an upload."""

_TEXT = b"This port speaks HTTPS, and the request came as plain HTTP. Ask again with https:// URLs.\n"
PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\n\r\n%b" % (len(_TEXT), _TEXT)
)
"""To a client that speaks HTTP without TLS."""


class Farewells:
    """Connections that have been told, and only have to end."""

    def __init__(self, clock: Clock, bounds: RoomBounds = BOUNDS) -> None:
        self._room = Room(bounds, clock, self._close)

    def __len__(self) -> int:
        return len(self._room)

    def part(self, arrival: Arrival, words: bytes) -> None:
        """Send `words` and end the connection, which is owned from now on."""
        arrival.seen = 0
        try:
            ended = self._drop(arrival)
            arrival.socket.send(words)  # to an empty buffer: all or nothing
            arrival.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            arrival.close()
            return
        if ended or not self._room.enter(arrival):
            arrival.close()
            return
        asyncio.get_running_loop().add_reader(arrival.socket, self._on_readable, arrival)

    def close(self) -> None:
        """End all of them now."""
        self._room.empty()

    def _on_readable(self, arrival: Arrival) -> None:
        try:
            ended = self._drop(arrival)
        except OSError:
            ended = True
        if ended:
            self._room.leave(arrival)
            self._close(arrival)

    def _drop(self, arrival: Arrival) -> bool:
        """Read and drop what is there; whether that was all, or too much. Raises OSError."""
        try:
            while data := arrival.socket.recv(DROPPED_BYTES):
                arrival.seen += len(data)
                if arrival.seen > DROPPED_BYTES:
                    return True
        except BlockingIOError:
            return False
        return True

    def _close(self, arrival: Arrival) -> None:
        asyncio.get_running_loop().remove_reader(arrival.socket)
        arrival.close()
