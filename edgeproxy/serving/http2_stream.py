"""One HTTP/2 exchange: `stream.Stream` over one stream of a connection, and the tunnel that it may become.

Owns: the order head, body, end; the count of body bytes against what was announced; when 100 (Continue) is sent; what is given
back to the client's windows. Must not touch the transport or other streams; the connection does.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from edgeproxy.errors import ClientGone, EdgeError
from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.framing import BodyMode
from edgeproxy.serving.http2_body import Http2Body
from edgeproxy.serving.http2_response import ResponseBlock, interim_block, response_block
from edgeproxy.serving.stream import Peer, TunnelSink, TunnelSource
from edgeproxy.wire.chunked import FORBIDDEN_TRAILERS
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.hpack import encode_fields
from edgeproxy.wire.http2 import response_lines
from edgeproxy.wire.messages import Request

_CONTINUE = interim_block(100, Fields())
_SHARE = 256 * 1024
"""Bytes one exchange may send to a fast client before other exchanges have their turn."""


class StreamCarrier(Protocol):
    """What an exchange asks of its connection."""

    peer: Peer

    def send_head(self, number: int, block: bytes, *, ended: bool) -> None: ...
    def send_body(self, number: int, data: bytes, *, ended: bool, gate: WriteGate) -> bool: ...
    def consumed(self, number: int, size: int) -> None: ...
    def answer_over(self, stream: "Http2Stream", *, keep_alive: bool) -> None: ...
    def break_off(self, stream: "Http2Stream") -> None: ...


class Http2Stream:
    """Implements `stream.Stream`; see there for what each method promises."""

    __slots__ = (
        "_carrier",
        "_ended",
        "_head",
        "_since_turn",
        "body",
        "body_started",
        "bytes_sent",
        "continue_due",
        "gate",
        "keep_alive",
        "number",
        "on_gone",
        "over",
        "peer",
        "progress",
        "progress_since",
        "request",
        "started",
        "task",
        "tunnelled",
    )

    def __init__(self, carrier: StreamCarrier, number: int, request: Request, body: Http2Body, started: float) -> None:
        self._carrier = carrier
        self._head: ResponseBlock | None = None
        self._ended = False
        self._since_turn = 0
        self.number = number
        self.request = request
        self.peer = carrier.peer
        self.started = started
        self.body = body
        self.body_started = False
        self.bytes_sent = 0
        self.continue_due = request.expects_continue
        self.keep_alive = True
        self.on_gone: Callable[[], None] | None = None
        self.gate = WriteGate()
        self.over = False
        """Whether the answer is finished, aborted, or handed to a tunnel."""
        self.task: asyncio.Task[None] | None = None
        """What answers; None while the stream waits for its end before it may be answered."""
        self.tunnelled = False
        self.progress = 0
        """Bytes that had moved when the sweep last looked, and since when it is as many; the connection's."""
        self.progress_since = started

    @property
    def head_sent(self) -> bool:
        """Whether a final head went out."""
        return self._head is not None

    @property
    def trailers(self) -> Fields:
        """Trailer fields of the request; complete once `read` has returned b""."""
        return self.body.trailers

    @property
    def gone(self) -> bool:
        """Whether the client went away before the answer was finished."""
        return self.gate.error is not None

    async def read(self) -> bytes:
        """Next piece of the request body, b"" at its end."""
        self._check_open()
        self.body_started = True
        if self.continue_due:
            self.continue_due = False
            if not self.head_sent and self.body.received == 0 and not self.body.ended:
                self._carrier.send_head(self.number, _CONTINUE, ended=False)
        data = await self.body.read()
        self._carrier.consumed(self.number, len(data))
        return data

    def send_interim(self, status: int, fields: Fields) -> None:
        """Send a 1xx response other than 101."""
        self._check_open()
        if not 100 <= status <= 199 or status == 101 or self.head_sent:
            raise ValueError(f"not an interim response here: {status}")
        self._carrier.send_head(self.number, interim_block(status, fields), ended=False)

    async def send_head(self, status: int, fields: Fields, length: int | None) -> None:
        """Send the response head."""
        self._check_open()
        if self.head_sent:
            raise RuntimeError("a second head for one request")
        head = response_block(self.request, status, fields, length)
        self._head = head
        self._ended = not head.switches and (head.mode is BodyMode.NONE or (head.mode is BodyMode.LENGTH and not head.length))
        self._carrier.send_head(self.number, head.block, ended=self._ended)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client's windows or its socket are full."""
        self._check_open()
        head = self._head
        if head is None:
            raise RuntimeError("body before its head")
        size = len(data)
        if size == 0 or head.mode is BodyMode.NONE:
            return
        counted = head.mode is BodyMode.LENGTH
        if counted and self.bytes_sent + size > head.length:
            self.abort()
            raise EdgeError("response body longer than announced", announced=head.length)
        self.bytes_sent += size
        self._ended = counted and self.bytes_sent == head.length
        if not self._carrier.send_body(self.number, data, ended=self._ended, gate=self.gate):
            self._since_turn = 0
            await self.gate.passed()
            return
        self._since_turn += size
        if self._since_turn >= _SHARE:
            self._since_turn = 0
            await asyncio.sleep(0)

    async def finish(self, trailers: Fields | None = None) -> None:
        """End the message."""
        self._check_open()
        head = self._head
        if head is None:
            raise RuntimeError("end before the head")
        if head.mode is BodyMode.LENGTH and self.bytes_sent < head.length:
            self.abort()
            raise EdgeError("response body shorter than announced", announced=head.length, sent=self.bytes_sent)
        if not self._ended:
            lines = response_lines((trailers or Fields()).without(FORBIDDEN_TRAILERS)) if head.with_trailers else []
            if lines:
                self._carrier.send_head(self.number, encode_fields(lines), ended=True)
            else:
                self._carrier.send_body(self.number, b"", ended=True, gate=self.gate)
        self.over = True
        self._carrier.answer_over(self, keep_alive=self.keep_alive)

    def abort(self) -> None:
        """Reset the stream, so that the client sees that the message did not end; the connection goes on."""
        if not self.over:
            self.over = True
            self._carrier.break_off(self)

    def lost(self, error: ClientGone) -> None:
        """From the connection: the client does not want it any more, or is gone."""
        self.gate.fail(error)
        self.body.fail(error)
        if not self.over and self.on_gone is not None:
            self.on_gone()

    def tunnel(self) -> tuple[TunnelSource, TunnelSink]:
        """After a 101: the bytes both ways, as DATA (RFC 8441 section 5)."""
        self._check_open()
        if self._head is None or not self._head.switches:
            raise RuntimeError("a tunnel needs a 101 first")
        self.over = self.tunnelled = True
        return _Source(self._carrier, self), _Sink(self._carrier, self)

    def _check_open(self) -> None:
        self.gate.check()
        if self.over:
            raise ClientGone("the exchange is over")


class _Source:
    """Bytes from the client. Implements `stream.TunnelSource`."""

    __slots__ = ("_carrier", "_stream")

    def __init__(self, carrier: StreamCarrier, stream: Http2Stream) -> None:
        self._carrier = carrier
        self._stream = stream

    async def read(self, n: int = 65536) -> bytes:
        """Up to `n` bytes as soon as there are any; b"" after the client's end. Raises ClientGone."""
        data = await self._stream.body.read(n)
        self._carrier.consumed(self._stream.number, len(data))
        return data


class _Sink:
    """Bytes to the client. Implements `stream.TunnelSink`."""

    __slots__ = ("_carrier", "_ended", "_stream")

    def __init__(self, carrier: StreamCarrier, stream: Http2Stream) -> None:
        self._carrier = carrier
        self._stream = stream
        self._ended = False

    def write(self, data: bytes) -> None:
        """Queue `data`. Raises ClientGone; ValueError after `write_eof`."""
        if self._ended:
            raise ValueError("write after the end of the tunnel")
        self._stream.gate.check()
        if data:
            self._stream.bytes_sent += len(data)
            self._carrier.send_body(self._stream.number, data, ended=False, gate=self._stream.gate)

    async def drain(self) -> None:
        """Wait until the client has taken what was written. Raises ClientGone."""
        await self._stream.gate.passed()

    def write_eof(self) -> None:
        """Say that nothing more will be written; reading goes on."""
        if not self._ended:
            self._ended = True
            if not self._stream.gone:
                self._carrier.send_body(self._stream.number, b"", ended=True, gate=self._stream.gate)

    def close(self) -> None:
        """Send what is queued, then close both ways."""
        self.write_eof()
        self._carrier.answer_over(self._stream, keep_alive=True)

    def is_closing(self) -> bool:
        """Whether the stream is closed or about to be."""
        return self._ended or self._stream.gone
