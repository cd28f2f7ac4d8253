"""One exchange as the shell sees it, and what the shell gives to a connection.

Owns: the types both sides agree on. HTTP/1 and HTTP/2 implement `Stream`; nothing here may depend on which.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

Answer = bytes | tuple[bytes, ...]
"""A whole response as it goes onto the wire; a tuple is written in order without being joined."""


class ReadyParts(NamedTuple):
    """A whole response for a protocol that frames it itself."""

    block: bytes
    """The head, `:status` first, as `wire.hpack` writes it: the same bytes for every connection."""
    body: bytes


class RefusalParts(NamedTuple):
    """A whole error answer, in values."""

    status: int
    fields: Fields
    body: bytes


@dataclass(slots=True)
class Peer:
    """The other end of a connection; made once for it and shared by its exchanges."""

    address: str
    """IP address without port or brackets, an IPv4-mapped one as IPv4; "unix" for a Unix socket."""
    port: int
    local: tuple[str, int]
    """Our own address and port; (path, 0) for a Unix socket."""
    tls: bool
    log_prefix: bytes
    """`"client":"ADDRESS"`, a piece of a JSON object ready for the access log."""
    server_name: str = ""
    """Host name asked for in the TLS handshake, lower case; "" for none."""
    tls_scope: str = ""
    """Name of the site under whose TLS policy the connection was made; "" without TLS."""


class TunnelSource(Protocol):
    """Raw bytes from the client after an upgrade; the reading half of `asyncio.StreamReader`."""

    async def read(self, n: int = 65536) -> bytes:
        """Up to `n` bytes as soon as there are any; b"" after the client's end. Raises ClientGone."""
        ...


class TunnelSink(Protocol):
    """Raw bytes to the client after an upgrade; the used half of `asyncio.StreamWriter`."""

    def write(self, data: bytes) -> None:
        """Queue `data`. Raises ClientGone."""
        ...

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises ClientGone."""
        ...

    def write_eof(self) -> None:
        """Say that nothing more will be written; reading goes on."""
        ...

    def close(self) -> None:
        """Send what is queued, then close both ways."""
        ...

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        ...


class Stream(Protocol):
    """One request and the way to answer it. Used by one task; every wait may be cancelled."""

    @property
    def request(self) -> Request: ...
    @property
    def peer(self) -> Peer: ...

    @property
    def started(self) -> float:
        """Monotonic seconds at which the whole head had arrived."""
        ...

    @property
    def head_sent(self) -> bool:
        """Whether a final head (or 101) went out."""
        ...

    @property
    def bytes_sent(self) -> int:
        """Body bytes handed over, without framing."""
        ...

    @property
    def body_started(self) -> bool:
        """Whether the body was asked for, so that the request can no longer be repeated from it."""
        ...

    @property
    def trailers(self) -> Fields:
        """Trailer fields of the request; complete once `read` has returned b""."""
        ...

    keep_alive: bool
    """Set it to False before `send_head` to make this the connection's last answer."""
    on_gone: Callable[[], None] | None
    """Called once, from the event loop, when the client goes away before the answer is finished."""

    @property
    def gone(self) -> bool:
        """Whether the client went away before the answer was finished."""
        ...

    async def read(self) -> bytes:
        """Next piece of the request body, b"" at its end. Sends 100 (Continue) first when that is waited for.

        Raises ClientGone; RequestRefused when the body is malformed, too large (413) or stalled (408).
        """
        ...

    def send_interim(self, status: int, fields: Fields) -> None:
        """Send a 1xx response; nothing to HTTP/1.0, which does not know them (RFC 9110 section 15.2)."""
        ...

    async def send_head(self, status: int, fields: Fields, length: int | None) -> None:
        """Send the response head. `fields` are end-to-end ones; framing fields are added here.

        `length`: bytes of the body, None when unknown. Raises ClientGone; ValueError when a field cannot be written.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client's buffer is full. Nothing goes out where no body is allowed.

        Raises ClientGone; EdgeError, with the connection aborted, for more bytes than announced.
        """
        ...

    async def finish(self, trailers: Fields | None = None) -> None:
        """End the message. `trailers` go out only where the framing has room and the client asked (`TE: trailers`).

        Raises ClientGone; EdgeError, with the connection aborted, for fewer bytes than announced.
        """
        ...

    def abort(self) -> None:
        """Break the connection so that the client sees that the message did not end."""
        ...

    def tunnel(self) -> tuple[TunnelSource, TunnelSink]:
        """After `send_head(101, …)`: the bytes both ways, those included that came with the head."""
        ...


class Handler(Protocol):
    """What answers. Called on the event loop."""

    def instant(self, request: Request, peer: Peer) -> Answer | None:
        """A whole ready answer, or None to be asked by `answer`. Never waits.

        Asked only for HTTP/1.1 requests without a body on a connection that stays open, so the answer names no `Connection`.
        """
        ...

    def instant_like(self, known: Request, target: str, peer: Peer) -> Answer | None:
        """`instant` for a request that is `known` but for its target, which is in origin form: saves making a Request.

        It may also differ in incidental fields (`serving.heads`): what depends on those must not be answered here.
        """
        ...

    def instant_parts(self, request: Request, peer: Peer) -> ReadyParts | None:
        """`instant` for a protocol that frames the answer itself. Asked only for requests without a body."""
        ...

    async def answer(self, stream: Stream) -> None:
        """Carry out one exchange to `finish`, or raise. RequestRefused before the head is sent becomes `refuse`'s page."""
        ...

    def refuse(self, error: RequestRefused, peer: Peer) -> bytes:
        """A whole error answer with `Connection: close`, for what could not be parsed or is over a limit."""
        ...

    def refuse_parts(self, error: RequestRefused, peer: Peer) -> RefusalParts:
        """The same in values, for a protocol on which the connection goes on."""
        ...
