"""What a handshake is for its protocol, and the alert at the end of one that fails.

Owns: `Handshake`, and the repair of a gap in asyncio and uvloop: both drop what OpenSSL has written when a handshake fails, so
the client sees a connection that breaks instead of the reason (no common version, no client certificate, …).
"""

import ssl
from dataclasses import dataclass

from edgeproxy.serving.stream import Peer


@dataclass(frozen=True, slots=True)
class Handshake:
    """What is known when the handshake begins; the protocol is made from it."""

    server_name: str
    """Host name that the client asked for, as in ClientHello; "" for none."""
    alpn: str
    """The protocol that will be agreed on ("h2", "http/1.1"), "" for none; `selected_alpn_protocol()` has the last word."""
    scope: str
    """Name of the site whose context was chosen."""
    peer: Peer
    """The connection's two ends, with server name and scope filled in."""


class AlertingObject(ssl.SSLObject):
    """The server's end of a connection, which lets its last alert out.

    A handshake that fails with an alert to send asks for more bytes first: the loop then writes what is there. The failure comes
    with the client's next bytes; its end, or the handshake's deadline, are failures of their own.
    """

    incoming: ssl.MemoryBIO | None = None
    outgoing: ssl.MemoryBIO | None = None
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """As in `ssl.SSLObject`, but for the delay of a failure."""
        if self._failure is not None:
            raise self._failure
        if self.incoming is not None and not self.incoming.pending and not self.incoming.eof:
            # The loop asks once before it has read anything, and OpenSSL takes long to say so.
            raise ssl.SSLWantReadError("the client speaks first")
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.outgoing is None or not self.outgoing.pending:
                raise
            self._failure = error
            raise ssl.SSLWantReadError("the alert goes out first") from error
