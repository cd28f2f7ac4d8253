"""One HTTP/1 exchange: `stream.Stream` over a connection.

Owns: the order head, body, end; the count of body bytes against what was announced; when 100 (Continue) is sent.
Must not touch the transport or decide about the next request; the connection does.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from edgeproxy.errors import ClientGone, EdgeError
from edgeproxy.serving.body import RequestBody
from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.framing import BodyMode, Framing, frame_response
from edgeproxy.serving.stream import Peer, TunnelSink, TunnelSource
from edgeproxy.wire.chunked import FORBIDDEN_TRAILERS, LAST_CHUNK, encode_last_chunk
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_response_head
from edgeproxy.wire.messages import Request

_CONTINUE = encode_response_head(100, Fields())
_SHARE = 256 * 1024
"""Bytes one exchange may send to a fast client before other connections have their turn."""


class StreamCarrier(Protocol):
    """What an exchange asks of its connection."""

    peer: Peer
    gate: WriteGate

    def write(self, data: bytes) -> None: ...
    def writelines(self, pieces: Sequence[bytes]) -> None: ...
    def bytes_taken(self) -> None: ...
    def keeps_after(self, body: RequestBody, *, continue_due: bool) -> bool: ...
    def answer_over(self, *, keep_alive: bool) -> None: ...
    def break_off(self, *, reset: bool) -> None: ...
    def open_tunnel(self) -> tuple[TunnelSource, TunnelSink]: ...


class Http1Stream:
    """Implements `stream.Stream`; see there for what each method promises."""

    __slots__ = (
        "_carrier",
        "_framing",
        "_since_turn",
        "body",
        "body_started",
        "bytes_sent",
        "continue_due",
        "keep_alive",
        "on_gone",
        "over",
        "peer",
        "request",
        "started",
    )

    def __init__(self, carrier: StreamCarrier, request: Request, body: RequestBody, started: float) -> None:
        self._carrier = carrier
        self._framing: Framing | None = None
        self._since_turn = 0
        self.request = request
        self.peer = carrier.peer
        self.started = started
        self.body = body
        self.body_started = False
        self.bytes_sent = 0
        self.continue_due = request.expects_continue and request.version >= (1, 1)
        self.keep_alive = True
        self.on_gone: Callable[[], None] | None = None
        self.over = False
        """Whether the answer is finished, aborted, or handed to a tunnel; nothing goes out any more."""

    @property
    def head_sent(self) -> bool:
        """Whether a final head (or 101) went out."""
        return self._framing is not None

    @property
    def trailers(self) -> Fields:
        """Trailer fields of the request; complete once `read` has returned b""."""
        return self.body.trailers

    @property
    def gone(self) -> bool:
        """Whether the client went away before the answer was finished."""
        return self._carrier.gate.error is not None

    async def read(self) -> bytes:
        """Next piece of the request body, b"" at its end."""
        self._check_open()
        self.body_started = True
        if self.continue_due:
            self.continue_due = False
            # A client that did not wait needs no go-ahead; after a final head it would be taken for the next answer.
            if not self.head_sent and self.body.received == 0 and not self.body.ended:
                self._carrier.write(_CONTINUE)
        data = await self.body.read()
        if not self.over:
            self._carrier.bytes_taken()
        return data

    def send_interim(self, status: int, fields: Fields) -> None:
        """Send a 1xx response other than 101; nothing to HTTP/1.0."""
        self._check_open()
        if not 100 <= status <= 199 or status == 101 or self.head_sent:
            raise ValueError(f"not an interim response here: {status}")
        if self.request.version >= (1, 1):
            self._carrier.write(encode_response_head(status, fields))

    async def send_head(self, status: int, fields: Fields, length: int | None) -> None:
        """Send the response head with the framing that fits."""
        self._check_open()
        if self.head_sent:
            raise RuntimeError("a second head for one request")
        keep_alive = self.keep_alive and self._carrier.keeps_after(self.body, continue_due=self.continue_due)
        self._framing = frame_response(self.request, status, fields, length, keep_alive=keep_alive)
        self._carrier.write(self._framing.head)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client's buffer is full."""
        self._check_open()
        framing = self._framing
        if framing is None:
            raise RuntimeError("body before its head")
        size = len(data)
        if size == 0 or framing.mode is BodyMode.NONE:
            return
        if framing.mode is BodyMode.LENGTH and self.bytes_sent + size > framing.length:
            self.abort()
            raise EdgeError("response body longer than announced", announced=framing.length)
        self.bytes_sent += size
        if framing.mode is BodyMode.CHUNKED:
            self._carrier.writelines((b"%x\r\n" % size, data, b"\r\n"))
        else:
            self._carrier.write(data)
        await self._give_way(size)

    async def _give_way(self, size: int) -> None:
        gate = self._carrier.gate
        if not gate.is_open:
            self._since_turn = 0
            await gate.passed()
            return
        self._since_turn += size
        if self._since_turn >= _SHARE:
            self._since_turn = 0
            await asyncio.sleep(0)

    async def finish(self, trailers: Fields | None = None) -> None:
        """End the message."""
        self._check_open()
        framing = self._framing
        if framing is None:
            raise RuntimeError("end before the head")
        if framing.mode is BodyMode.LENGTH and self.bytes_sent < framing.length:
            self.abort()
            raise EdgeError("response body shorter than announced", announced=framing.length, sent=self.bytes_sent)
        if framing.mode is BodyMode.CHUNKED:
            self._carrier.write(_last_chunk(trailers) if trailers and framing.with_trailers else LAST_CHUNK)
        self.over = True
        self._carrier.answer_over(keep_alive=framing.keep_alive)

    def abort(self) -> None:
        """Break the connection; with a reset where an ordinary close would look like the end of the message."""
        if not self.over:
            self.over = True
            self._carrier.break_off(reset=self._framing is not None and self._framing.mode is BodyMode.UNTIL_CLOSE)

    def tunnel(self) -> tuple[TunnelSource, TunnelSink]:
        """After a 101: the bytes both ways."""
        self._check_open()
        if not self.head_sent or not self._is_switching():
            raise RuntimeError("a tunnel needs a 101 first")
        if not self.body.ended:
            raise RuntimeError("a tunnel needs the whole request first")
        self.over = True
        return self._carrier.open_tunnel()

    def _is_switching(self) -> bool:
        return self._framing is not None and self._framing.head.startswith(b"HTTP/1.1 101")

    def _check_open(self) -> None:
        self._carrier.gate.check()
        if self.over:
            raise ClientGone("the exchange is over")


def _last_chunk(trailers: Fields) -> bytes:
    """What must not be a trailer is left out: the message is whole without it (RFC 9110 section 6.5.1)."""
    return encode_last_chunk(trailers.without(FORBIDDEN_TRAILERS))
