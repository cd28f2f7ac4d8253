"""The head of a response over HTTP/2 (RFC 9113 section 8.3.2): which fields it has, and how its body ends.

Owns: Content-Length of what goes to the client, and what a 101 becomes. Pure. The rules are those of `serving.framing`; what
HTTP/1 writes besides (Transfer-Encoding, Connection) does not exist here.
"""

from dataclasses import dataclass

from edgeproxy.errors import RequestRefused
from edgeproxy.serving.framing import OURS, OURS_BUT_LENGTH, BodyMode, body_mode, may_state_length, takes_trailers
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.hpack import encode_fields, encode_status
from edgeproxy.wire.http2 import websocket_accept
from edgeproxy.wire.messages import Request

_SWITCH_FIELDS = OURS | {"sec-websocket-accept"}


@dataclass(frozen=True, slots=True)
class ResponseBlock:
    """A head as a field block. `length` means something for LENGTH only; CHUNKED stands for an end that only the stream tells."""

    block: bytes
    mode: BodyMode
    length: int = 0
    with_trailers: bool = False
    switches: bool = False


def response_block(request: Request, status: int, fields: Fields, length: int | None) -> ResponseBlock:
    """The head of a final response (or of a 101) to `request`.

    Raises ValueError for fields that cannot be written and for a 101 that was not asked for; RequestRefused (502) where an
    ordinary answer would tell the client that its WebSocket is open.
    """
    if status == 101:
        return _switching(request, fields)
    if not 200 <= status <= 999:
        raise ValueError(f"not the status of a final response: {status}")
    if request.upgrade is not None and status < 300:
        raise RequestRefused("origin answered, but did not switch protocols", status=502)
    mode = body_mode(request, status, length)
    lines = list(fields.without(OURS_BUT_LENGTH if may_state_length(request, status, length) else OURS))
    if length is not None and (mode is BodyMode.LENGTH or (request.method == "HEAD" and status not in (204, 304))):
        lines.append(("content-length", str(length)))
    block = encode_status(status) + encode_fields(lines)
    return ResponseBlock(block, mode, length or 0, mode is BodyMode.CHUNKED and takes_trailers(request))


def interim_block(status: int, fields: Fields) -> bytes:
    """The head of a 1xx response other than 101."""
    return encode_status(status) + encode_fields(fields.without(OURS))


def _switching(request: Request, fields: Fields) -> ResponseBlock:
    """The tunnel is open: 200, and none of the fields that made the switch over HTTP/1 (RFC 8441 section 5)."""
    if request.upgrade is None:
        raise ValueError("101 to a request that did not ask for an upgrade")
    if fields.get("sec-websocket-accept") != websocket_accept(request.fields.get("sec-websocket-key") or ""):
        # Over HTTP/1 the client would find out; here nobody does but us (RFC 6455 section 4.1).
        raise RequestRefused("origin does not speak websocket", status=502)
    block = encode_status(200) + encode_fields(fields.without(_SWITCH_FIELDS))
    return ResponseBlock(block, BodyMode.NONE, switches=True)
