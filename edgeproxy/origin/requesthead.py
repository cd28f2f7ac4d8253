"""The head of a request as it goes to an origin: Host and framing are the edge's own, the rest as given (RFC 9112 sections 3
and 6).

Owns: the last look at what leaves the edge, whoever made the values. Must not add any other field: no User-Agent, no Accept,
no Accept-Encoding.
"""

from collections.abc import Iterable

from edgeproxy.errors import RequestRefused
from edgeproxy.origin.messages import OriginRequest
from edgeproxy.wire import http1
from edgeproxy.wire.fields import Fields

_OURS = frozenset({"host", "content-length", "transfer-encoding"})


def encode_request_head(request: OriginRequest, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """Request line, Host, the fields as given, the framing, and the empty line; latin-1, so that obs-text arrives as the same
    bytes.

    `extra` lines (a tracer's) replace fields of the same name. Raises RequestRefused when a part cannot be written
    unambiguously.
    """
    fields = request.fields
    if added := tuple(extra):
        fields = fields.without(frozenset(name.lower() for name, _ in added)).plus(*added)
    lines = fields.lines
    for name, _ in lines:
        if name.lower() in _OURS:
            raise RequestRefused("request fields carry Host or framing of their own", name=name)
    target = request.target
    if not target.startswith("/") and target != "*":
        raise RequestRefused("target is neither a path nor an asterisk", target=target[:100])
    try:
        return http1.encode_request_head(
            request.method, target, Fields((("Host", request.authority), *lines, *_framing(request)))
        )
    except ValueError as error:
        raise RequestRefused("request cannot be written unambiguously", cause=error) from error


def _framing(request: OriginRequest) -> tuple[tuple[str, str], ...]:
    length = request.body_length
    if request.body is None:
        return (("Content-Length", "0"),) if length == 0 else ()
    return (("Transfer-Encoding", "chunked"),) if length is None else (("Content-Length", str(length)),)
