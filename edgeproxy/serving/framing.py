"""How a response is delimited on an HTTP/1 connection (RFC 9112 section 6, RFC 9110 sections 8.6 and 15).

Owns: the fields Content-Length, Transfer-Encoding, Connection and Upgrade of what goes to the client. Pure.
"""

from dataclasses import dataclass
from enum import Enum, auto

from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_response_head
from edgeproxy.wire.messages import Request


class BodyMode(Enum):
    """How the end of a response body is known."""

    NONE = auto()
    """There is no body: HEAD, 1xx, 204, 304."""
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Framing:
    """A response head ready for the wire, and what has to follow it. `length` means something for LENGTH only."""

    head: bytes
    mode: BodyMode
    length: int
    keep_alive: bool
    with_trailers: bool = False


# Set here and nowhere else; what a handler passes under these names is dropped.
OURS = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length"))
OURS_BUT_LENGTH = OURS - {"content-length"}


def frame_response(request: Request, status: int, fields: Fields, length: int | None, *, keep_alive: bool) -> Framing:
    """Choose the framing of a final response (or 101) to `request`, and write its head.

    Raises ValueError for a field that cannot be written, and for a 101 to a request that did not ask for it.
    """
    if status == 101:
        return _switching(request, fields)
    if not 200 <= status <= 999:
        raise ValueError(f"not the status of a final response: {status}")
    mode = body_mode(request, status, length)
    keep_alive = keep_alive and request.keep_alive and mode is not BodyMode.UNTIL_CLOSE
    lines = list(fields.without(OURS_BUT_LENGTH if may_state_length(request, status, length) else OURS))
    if mode is BodyMode.CHUNKED:
        lines.append(("Transfer-Encoding", "chunked"))
    elif length is not None and (mode is BodyMode.LENGTH or (request.method == "HEAD" and status not in (204, 304))):
        lines.append(("Content-Length", str(length)))
    if not keep_alive:
        lines.append(("Connection", "close"))
    elif request.version < (1, 1):
        lines.append(("Connection", "keep-alive"))
    head = encode_response_head(status, Fields(lines))
    return Framing(head, mode, length or 0, keep_alive, mode is BodyMode.CHUNKED and takes_trailers(request))


def _switching(request: Request, fields: Fields) -> Framing:
    """A 101 has no body and no framing; what follows is the new protocol (RFC 9110 section 15.2.2)."""
    protocol = fields.get("upgrade") or request.upgrade
    if request.upgrade is None or protocol is None or request.version < (1, 1):
        raise ValueError("101 to a request that did not ask for an upgrade")
    lines = (*fields.without(OURS), ("Connection", "Upgrade"), ("Upgrade", protocol))
    return Framing(encode_response_head(101, Fields(lines)), BodyMode.NONE, 0, keep_alive=False)


def body_mode(request: Request, status: int, length: int | None) -> BodyMode:
    """How the end of the body of this final response is known."""
    if request.method == "HEAD" or status in (204, 304):
        return BodyMode.NONE
    if length is not None:
        return BodyMode.LENGTH
    return BodyMode.CHUNKED if request.version >= (1, 1) else BodyMode.UNTIL_CLOSE


def may_state_length(request: Request, status: int, length: int | None) -> bool:
    """A handler's own Content-Length tells what a GET would have had (RFC 9110 section 8.6)."""
    return status == 304 or (request.method == "HEAD" and status != 204 and length is None)


def takes_trailers(request: Request) -> bool:
    """Whether the client wants trailers; else they may be thrown away on the way (RFC 9110 section 6.5.1)."""
    return any(part.strip().lower() == "trailers" for part in (request.fields.get("te") or "").split(","))
