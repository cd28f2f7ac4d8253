"""What goes on between client and origin while an exchange is under way: the request's body one way, interim responses the other.

Owns: these two. Must not read or send a final response.
"""

from collections.abc import AsyncIterator

from edgeproxy.exchange.exchange import Exchange
from edgeproxy.origin.messages import Interim
from edgeproxy.wire.forwarding import end_to_end
from edgeproxy.wire.messages import ResponseHead


async def body_of(exchange: Exchange) -> AsyncIterator[bytes]:
    """The client's body, piece by piece, as the origin takes it. Raises ClientGone."""
    while piece := await exchange.stream.read():
        yield piece


def interim_to(exchange: Exchange) -> Interim:
    """Hands 1xx responses on to the client of this exchange, while it still waits (RFC 9110 section 15.2)."""
    stream = exchange.stream

    def hand_on(head: ResponseHead) -> None:
        if not stream.head_sent and not stream.gone and head.status != 100:
            stream.send_interim(head.status, end_to_end(head.fields))

    return hand_on
