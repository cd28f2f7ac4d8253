"""What is asked of an origin and what comes back, as values; and where an origin is and how long it may take.

Owns: the types of this driver's interface. Must not open a connection, read a byte or know aiohttp.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from edgeproxy.clock import Instant
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import ResponseHead

Interim = Callable[[ResponseHead], None]
"""Told of each 1xx response before the final one (RFC 9110 section 15.2). What it raises ends the fetch."""

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """One server that answers for a site: where it is, and how its TLS certificate is judged.

    `url` is the address as configured: `http://host[:port]`, `https://host[:port]` or `unix:/path.sock` (HTTP without TLS).
    `server_name` is sent as SNI and looked for in the certificate; None means the host of `url`. The `Host` field is the
    request's own (`OriginRequest.authority`).
    """

    url: str
    tls_verify: bool = True
    ca_file: Path | None = None
    """PEM file of the authorities trusted for this origin, instead of the system's."""
    server_name: str | None = None

    def __post_init__(self) -> None:
        _ = self.address

    @property
    def scheme(self) -> Literal["http", "https", "unix"]:
        """How the origin is reached."""
        match self.url.partition(":")[0].lower():
            case "http":
                return "http"
            case "https":
                return "https"
            case "unix":
                return "unix"
        raise ValueError(f"an origin is http://, https:// or unix:/path, not {self.url!r}")

    @property
    def address(self) -> tuple[str, int]:
        """Host (IPv6 without brackets) and port; (path, 0) for a Unix socket. Raises ValueError when `url` does not say."""
        if self.scheme == "unix":
            path = self.url.partition(":")[2]
            path = path[2:] if path.startswith("//") else path
            if not path.startswith("/"):
                raise ValueError(f"a unix origin needs an absolute path, not {self.url!r}")
            return path, 0
        parts = urlsplit(self.url)
        if not parts.hostname or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"an origin is a scheme, a host and a port and nothing else, not {self.url!r}")
        return parts.hostname, parts.port or DEFAULT_PORTS[self.scheme]

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """How long an origin may take and how much it may send before it is given up. Durations in seconds, sizes in bytes."""

    connect_timeout: float = 5.0
    """For one connection: a free place in the pool, name lookup, TCP and TLS handshake together."""
    head_timeout: float = 30.0
    """From the end of the request (or the last 1xx response) to the end of the response head."""
    body_timeout: float = 60.0
    """Longest silence while the body is being read, and longest time that the origin takes nothing of a request body."""
    keepalive_timeout: float = 30.0
    """How long a connection stays open unused. Less than common servers allow (60 to 75), so that the edge closes first."""
    connections: int = 512
    """Most connections to one origin at once."""
    head_bytes: int = 65_536
    field_count: int = 256
    retries: int = 1
    """Further tries on a fresh connection when a pooled one was dead and the request is repeatable."""
    interim_count: int = 64
    """Most 1xx responses before the final one."""


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """One request as it goes to the origin.

    `target` goes out byte for byte (origin-form or "*"). `authority` is the whole value of `Host`. `fields` are end-to-end
    fields without Host, Content-Length, Transfer-Encoding and Expect; names keep their case, repeated lines stay apart, text
    is latin-1 decoded bytes. `body_length` is bytes, or None for a chunked body; it means nothing without a `body`, but 0
    without a body sends `Content-Length: 0`. `repeatable`: sending it twice does no harm (RFC 9110 section 9.2.2), so a retry
    is allowed while nothing of `body` was taken.
    """

    method: str
    target: str
    authority: str
    fields: Fields = field(default_factory=Fields)
    body: AsyncIterator[bytes] | None = None
    body_length: int | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """What tracing hooks are told of one try, as their `trace_request_ctx`: which origin, and its number from 1."""

    origin: str
    number: int


class Body(Protocol):
    """Where the bytes of a response come from."""

    async def read(self) -> bytes:
        """The next piece, b"" at the end. Raises OriginTruncated, OriginTimeout or OriginMalformed."""
        ...

    async def close(self) -> None:
        """Give the connection back when the response was read to its end, else end it."""
        ...

    @property
    def trailers(self) -> Fields:
        """Trailer fields, complete once `read` returned b""."""
        ...

    @property
    def is_sound(self) -> bool:
        """Whether the message ended where its head says, as far as is known now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class OriginResponse:
    """A response whose head is here and whose framing was judged; the body follows by `read`. Must be closed.

    `fields` are as received, hop-by-hop fields included, except that repeated equal Content-Length values are one line.
    `body_length` is what the framing says: bytes (0 for HEAD, 204 and 304 whatever Content-Length says), or None when only
    its end will tell. `request_time` and `response_time` are those of RFC 9111 section 4.2.3, of the try that succeeded;
    `tries` counts the attempts.
    """

    status: int
    fields: Fields
    body_length: int | None
    delimited_by_close: bool
    """The body ends where the connection does, so a truncated one cannot be told from a whole one (RFC 9112 section 8)."""
    origin: Origin
    request_time: Instant
    response_time: Instant
    body: Body
    tries: int = 1

    @property
    def head(self) -> ResponseHead:
        """Status and fields, for the core."""
        return ResponseHead(self.status, self.fields)

    @property
    def trailers(self) -> Fields:
        """Trailer fields (RFC 9110 section 6.5), complete once `read` returned b""."""
        return self.body.trailers

    @property
    def is_sound(self) -> bool:
        """False when bytes came behind the message, or a 204 announced a body: there is one reading, but no reason to trust it
        for longer than this answer. Ask once `read` returned b"". What comes later than that cannot be known."""
        return self.body.is_sound

    async def read(self) -> bytes:
        """The next piece of the body as soon as there is one, b"" at its end.

        Raises OriginTruncated, OriginTimeout (silence) or OriginMalformed (bad chunks); pieces that came before are delivered
        first.
        """
        return await self.body.read()

    async def close(self) -> None:
        """Reuse the connection if the body was read to its end, else close it. Twice does nothing."""
        await self.body.close()
