"""How long a client may take, and how much it may make the edge keep.

Owns: the numbers and their defaults. Must not act on them; the connection and the registry do.
"""

from dataclasses import dataclass, field

from edgeproxy.wire.http1 import Limits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, all judged by the one sweep a second, so that each is exact to about a second."""

    head: float = 10.0
    """From the first byte of a head to its last, however slowly it trickles; a new connection's first byte counts too."""
    idle: float = 75.0
    """A kept connection without a request."""
    body: float = 30.0
    """Without one more byte of a request body while the edge is ready to take it."""
    write: float = 30.0
    """Without one byte taken by the client while an answer waits for it."""
    tunnel: float = 3600.0
    """Without a byte either way through an upgraded connection."""
    linger: float = 2.0
    """After a last answer, for the client to read it before the connection closes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes and counts. What is above them is refused, or waits in the client's own socket."""

    body_bytes: int | None = None
    """Largest request body; None for no limit. Above it: 413."""
    body_buffer_bytes: int = 256 * 1024
    """De-framed body (or tunnel) bytes kept for a slow reader before the connection stops reading."""
    pipelined_bytes: int = 64 * 1024
    """Requests kept behind a running exchange before the connection stops reading."""
    burst: int = 64
    """Ready answers given to one connection before others have their turn."""
    unread_body_bytes: int = 64 * 1024
    """Body left over after its answer that is read and dropped to keep the connection; above it the connection closes."""
    write_buffer_bytes: int = 128 * 1024
    """Unsent answer bytes above which `send` waits."""
    connections: int = 10_000
    """Open connections; one more is told 503 and closed."""
    connections_per_address: int | None = None
    """The same for one client address; None for no limit. Unix sockets are not counted."""
    streams: int = 128
    """Requests that one HTTP/2 connection may have under way, those included whose client lost interest; more are refused."""
    connection_window_bytes: int = 1024 * 1024
    """Unread bytes of all request bodies of one HTTP/2 connection, once it sends any; of each `body_buffer_bytes`."""
    spare_window_bytes: int = 256 * 1024 * 1024
    """How much all HTTP/2 connections together may take for that; those that come too late have 64 KiB each."""
    memo_entries: int = 4096
    """Request heads whose parse is remembered."""
    memo_bytes: int = 4 * 1024 * 1024
    """Bytes of those heads."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Everything a listener and its connections are told."""

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    bounds: Bounds = field(default_factory=Bounds)
