"""Field lists from all HTTP/2 connections of a listener to requests, each list judged once.

Owns: the memo in front of `wire.http2`. What is remembered is the parse and nothing else: an answer is looked up every time.
"""

from base64 import b64encode
from secrets import token_bytes

from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http2_framing import HeaderBlock
from edgeproxy.wire.http2 import parse_request
from edgeproxy.wire.messages import Request


def read_request(block: HeaderBlock, shared: Connections, *, ended: bool) -> Request:
    """The request that `block` is; `ended`: no body follows. Raises StreamMalformed, RequestRefused as `wire.http2`.

    Remembered where the list alone says everything: on the block, which the decoder gives out again for the same bytes of the
    same connection, and under its fields for all connections.
    """
    if not ended:
        return _parse(block, shared, ended=False)
    if block.parsed is not None:
        known: Request = block.parsed
        return known
    key = b"\n".join([part for line in block.lines for part in line])
    if key.count(b"\n") != len(block.lines) * 2 - 1:
        # A line end inside a field would make one list look like another. The parse refuses it.
        return _parse(block, shared, ended=True)
    request = shared.http2_memo.find(key)
    if request is None:
        request = _parse(block, shared, ended=True)
        shared.http2_memo.offer(key, request)
    block.parsed = request
    return request


def _parse(block: HeaderBlock, shared: Connections, *, ended: bool) -> Request:
    key = b64encode(token_bytes(16)).decode()  # the nonce of RFC 6455 section 4.1, which RFC 8441 leaves out
    return parse_request(block.lines, shared.settings.limits, ended=ended, scheme=shared.scheme, websocket_key=key)
