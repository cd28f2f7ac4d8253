"""The server's side of an HTTP/2 connection (RFC 9113), as an asyncio protocol.

Owns: the transport, the streams that are answered, how many there may be, when reading stops, how the connection ends.
Must not know frames (`http2_framing` is the seam), judge fields (`wire.http2`) or know what is answered; must not keep timers,
the registry's sweep asks it once a second.

As over HTTP/1 there are two ways to an answer. A request without a body for which an answer is ready is answered while its bytes
are read, without a task. Everything else becomes an exchange with a task of its own. Frames of one turn of the loop go out in one
write, at its end (`serving.outbox`).
"""

import asyncio
import logging
from typing import cast

from edgeproxy.errors import ClientGone, RequestRefused, StreamMalformed
from edgeproxy.serving.connections import Admission, Connections
from edgeproxy.serving.deadlines import UnreadWatch
from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.http2_body import Http2Body
from edgeproxy.serving.http2_budget import Budget, Spent
from edgeproxy.serving.http2_engine import Http2Engine
from edgeproxy.serving.http2_framing import ConnectionFault, Framing, FramingLimits, HeaderBlock
from edgeproxy.serving.http2_outflow import Outflow
from edgeproxy.serving.http2_requests import read_request
from edgeproxy.serving.http2_states import TABLE, Event, State
from edgeproxy.serving.http2_stream import Http2Stream
from edgeproxy.serving.http2_sweep import Overdue, is_idle_too_long, judge_stream
from edgeproxy.serving.runner import internal_error, run_exchange
from edgeproxy.serving.stream import Answer, Peer
from edgeproxy.serving.transports import NOBODY, peer_of
from edgeproxy.tasks import spawn
from edgeproxy.wire.hpack import encode_fields, encode_status
from edgeproxy.wire.http2 import parse_trailers
from edgeproxy.wire.http2_frames import DEFAULT_WINDOW, LARGEST_WINDOW, Code
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.serving")

BACKLOG_BYTES = 64 * 1024
"""Answers to PING and the like that are kept for a client that does not read; then we stop reading too."""

DROPPED_BYTES = 256 * 1024
"""What is read and dropped after a last frame; then the rest stays in the client's own socket."""

STARVED_STREAMS = 16
STARVED_SECONDS = 0.5
"""So many answers without any window for so long are an attack (a client that asks for a page opens its windows with it)."""

_DEAF = (State.LINGERING, State.CLOSING, State.CLOSED)
_NO_ANSWER = b""
_HEAD = (b":method", b"HEAD")


class Http2Connection(asyncio.Protocol):
    """One connection from `connection_made` to `connection_lost`. Implements `http2_framing.FramingEvents` for its framing layer,
    `http2_stream.StreamCarrier` for its exchanges, `connections.Connection` for the registry."""

    # fmt: off
    __slots__ = (
        "_backlog", "_block_since", "_dropped", "_farewell", "_framing", "_fresh", "_held", "_instant", "_most", "_outflow",
        "_queued", "_reading", "_running", "_shared", "_since", "_state", "_streams", "_tails", "_touched", "_transport",
        "_unread", "_widened", "peer",
    )
    # fmt: on

    _transport: asyncio.Transport

    def __init__(self, shared: Connections, peer: Peer = NOBODY) -> None:
        bounds, limits = shared.settings.bounds, shared.settings.limits
        self._shared = shared
        self._instant = shared.handler.instant_parts
        self._most = bounds.streams
        block_bytes = 2 * limits.head_bytes
        framing_limits = FramingLimits(bounds.streams, bounds.body_buffer_bytes, limits.head_bytes, block_bytes)
        self._framing: Framing = Http2Engine(self, framing_limits, Budget(shared.clock.monotonic))
        self._outflow = Outflow(self._framing, self._flush, self._tail_sent, shared.clock.monotonic)
        self._streams: dict[int, Http2Stream] = {}
        """Exchanges whose client still wants them."""
        self._held: set[int] = set()
        """Those of them that have to end well before they may begin."""
        self._running: set[Http2Stream] = set()
        """Exchanges with a task, wanted or not: what a client makes us do counts until it is done."""
        self._tails: set[int] = set()
        """Streams whose whole answer is in the outflow."""
        self._state = State.OPEN
        self._farewell = False
        self._fresh = True
        self._queued = False
        self._reading = True
        self._touched = False
        self._backlog = self._dropped = self._widened = 0
        self._block_since: float | None = None
        self._since = shared.clock.monotonic()
        self._unread = UnreadWatch(self._since)
        self.peer = peer

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the registry; over its limits, say so and close."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._shared.settings.bounds.write_buffer_bytes)
        if self.peer is NOBODY:
            self.peer = peer_of(self._transport)
        admission = self._shared.admit(self)
        secured = self._transport.get_extra_info("ssl_object")
        if admission is Admission.DROPPED or (secured is not None and secured.selected_alpn_protocol() != "h2"):
            self._break_off()
        elif admission is Admission.TOLD:
            self._fail(ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many connections"))
        else:
            self._flush()
            if self._shared.draining:
                self.drain()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._state in _DEAF:
            self._drop_input(len(data))
            return
        try:
            self._framing.receive(data)
        except ConnectionFault as fault:
            self._fail(fault)
        except Exception:  # a bug in framing ends this connection only
            log.exception("HTTP/2 framing failed")
            self._fail(ConnectionFault(Code.INTERNAL_ERROR, "internal error"))
        else:
            if self._framing.pending:
                self._flush_soon()

    def eof_received(self) -> bool:
        """TLS knows no half-closed connection; its transport closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; whoever waits for the client is told."""
        self._move(Event.LOST)
        self._shared.windows.give_back(self._widened)
        self._shared.forget(self)
        self._lose_all(ClientGone("client connection closed"))

    def pause_writing(self) -> None:
        """The client has to read before it gets more."""
        self._outflow.is_open = False

    def resume_writing(self) -> None:
        """The client has read."""
        self._outflow.is_open = True
        self._backlog = 0
        if self._state not in _DEAF:
            self._read(True)
            self._outflow.pump()
            self._flush_soon()

    # --- what the framing layer tells ---

    def on_request(self, number: int, block: HeaderBlock, *, ended: bool) -> None:
        """A stream was opened."""
        self._touched = True
        if self._state in _DEAF:
            self._framing.reset(number, Code.REFUSED_STREAM)  # it was behind what ended the connection, in the same bytes
            return
        if self._state is State.LEAVING or self._load() >= self._most:
            self._framing.reset(number, Code.REFUSED_STREAM)
            self._framing.blame(Spent.REFUSED)
            return
        try:
            request = read_request(block, self._shared, ended=ended)
        except StreamMalformed:
            self._framing.reset(number, Code.PROTOCOL_ERROR)
            self._framing.blame(Spent.FAULT)
            return
        except RequestRefused as error:
            self._refuse(number, error, with_body=_HEAD not in block.lines)
            self._framing.blame(Spent.FAULT)
            return
        if not ended or not self._answered(number, request):
            self._begin(number, request, ended=ended)

    def on_data(self, number: int, data: bytes, *, ended: bool) -> None:
        """Bytes of a body."""
        stream = self._streams.get(number)
        if stream is None:
            self._framing.consumed(number, len(data))
            return
        if not self._widened:
            self._widen()
        try:
            stream.body.feed(data, ended=ended)
        except StreamMalformed as error:
            self._framing.consumed(number, len(data))
            self._malformed(number, error)
            return
        if stream.body.failed:
            self._framing.consumed(number, len(data))
        self._begin_held(stream)

    def on_trailers(self, number: int, block: HeaderBlock) -> None:
        """A second field list, which ends the stream from the client's side."""
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            stream.body.end(parse_trailers(block.lines))
        except StreamMalformed as error:
            self._malformed(number, error)
            return
        self._begin_held(stream)

    def on_reset(self, number: int, code: int, *, by_client: bool) -> None:
        """A stream is over before its end."""
        self._drop(number, ClientGone("client reset the stream" if by_client else "client broke the stream", code=code))

    def on_window(self, number: int) -> None:
        """More may be sent on a stream, or on all when it is 0."""
        if len(self._outflow):
            self._outflow.pump(number)

    def on_farewell(self) -> None:
        """The client will open no more streams."""
        self._farewell = True
        self._check_empty()

    # --- requests ---

    def _load(self) -> int:
        return len(self._running) + len(self._held) + len(self._tails)

    def _answered(self, number: int, request: Request) -> bool:
        """Whether a ready answer went out. `request` has no body."""
        try:
            parts = self._instant(request, self.peer)
        except Exception:  # a bug in answering ends this stream only
            log.exception("ready answer failed")
            self._refuse(number, internal_error())
            return True
        if parts is None:
            return False
        block, body = parts
        self._framing.head(number, block, ended=not body)
        if body and not self._outflow.send(number, body, ended=True):
            self._tails.add(number)
        return True

    def _begin(self, number: int, request: Request, *, ended: bool) -> None:
        limit = self._shared.settings.bounds.body_bytes
        if limit is not None and request.body_length > limit:
            self._refuse(number, RequestRefused("request body too large", status=413, limit=limit))
            return
        is_tunnel = request.upgrade is not None
        body = Http2Body(-1 if is_tunnel else request.body_length, None if is_tunnel else limit, ended=ended)
        stream = Http2Stream(self, number, request, body, self._shared.clock.monotonic())
        self._streams[number] = stream
        if request.body_length or ended or is_tunnel:
            self._start(stream)
        else:
            self._held.add(number)  # a body of no bytes: whether that is so, its end will tell

    def _begin_held(self, stream: Http2Stream) -> None:
        if stream.number in self._held and stream.body.ended:
            self._held.discard(stream.number)
            self._start(stream)

    def _start(self, stream: Http2Stream) -> None:
        self._running.add(stream)
        stream.task = spawn(self._run(stream), name="exchange")

    async def _run(self, stream: Http2Stream) -> None:
        try:
            await run_exchange(self._shared.handler, stream, self._give_up)
        finally:
            self._running.discard(stream)
            if stream.tunnelled:
                self.break_off(stream)  # unless it was closed in good order
            self._check_empty()

    def _give_up(self, stream: Http2Stream, error: RequestRefused) -> None:
        """The exchange ended without an answer: the client gets a page instead."""
        if self._streams.pop(stream.number, None) is None:
            return
        self._framing.consumed(stream.number, stream.body.drop())
        self._refuse(stream.number, error, with_body=stream.request.method != "HEAD")
        self._flush_soon()

    def _refuse(self, number: int, error: RequestRefused, *, with_body: bool = True) -> None:
        """Answer with an error page; the connection goes on."""
        parts = self._shared.handler.refuse_parts(error, self.peer)
        body = parts.body if with_body else b""
        fields = parts.fields.plus(("content-length", str(len(parts.body))))
        self._framing.head(number, encode_status(parts.status) + encode_fields(fields), ended=not body)
        if not body or self._outflow.send(number, body, ended=True):
            self._framing.reset(number, Code.NO_ERROR)
        else:
            self._tails.add(number)

    def _widen(self) -> None:
        """The first body of this connection: let more than the protocol's 64 KiB be on its way."""
        wanted = self._shared.settings.bounds.connection_window_bytes - DEFAULT_WINDOW
        self._widened = self._shared.windows.take(wanted) if wanted > 0 else 0
        if self._widened:
            self._framing.widen(self._widened)

    def _malformed(self, number: int, error: StreamMalformed) -> None:
        self._framing.reset(number, Code.PROTOCOL_ERROR)
        self._drop(number, ClientGone("client broke the stream", reason=error.text))
        self._framing.blame(Spent.FAULT)

    def _drop(self, number: int, gone: ClientGone) -> None:
        """Nobody waits for this stream any more."""
        self._outflow.drop(number)
        self._tails.discard(number)
        self._held.discard(number)
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._framing.consumed(number, stream.body.drop())
            stream.lost(gone)
        self._check_empty()

    def _tail_sent(self, number: int) -> None:
        """From the outflow: the last of what waited for this stream is out."""
        if number not in self._streams:
            self._tails.discard(number)
            self._framing.reset(number, Code.NO_ERROR)  # in case its request never ended (RFC 9113 section 8.1)
            self._check_empty()

    # --- what exchanges ask (`http2_stream.StreamCarrier`) ---

    def send_head(self, number: int, block: bytes, *, ended: bool) -> None:
        """A field list to the client."""
        self._framing.head(number, block, ended=ended)
        self._flush_soon()

    def send_body(self, number: int, data: bytes, *, ended: bool, gate: WriteGate) -> bool:
        """Bytes to the client; False when some of them wait, and `gate` is closed until they do not."""
        sent = self._outflow.send(number, data, ended=ended, gate=gate)
        self._flush_soon()
        return sent

    def consumed(self, number: int, size: int) -> None:
        """The reader took bytes of a body: the client may send as many more."""
        if size and self._state is not State.CLOSED:
            self._framing.consumed(number, size)
            if self._framing.pending:
                self._flush_soon()

    def answer_over(self, stream: Http2Stream, *, keep_alive: bool) -> None:
        """The answer is written, or waits in the outflow; what is left of the request is not wanted (RFC 9113 section 8.1)."""
        if self._streams.pop(stream.number, None) is None:
            return
        self._framing.consumed(stream.number, stream.body.drop())
        if stream.number in self._outflow:
            self._tails.add(stream.number)
        else:
            self._framing.reset(stream.number, Code.NO_ERROR)
        if stream.tunnelled:
            stream.body.fail(ClientGone("the tunnel is closed"))
        if not keep_alive:
            self.drain()
        self._flush_soon()

    def break_off(self, stream: Http2Stream) -> None:
        """End a stream so that the client sees that the message did not end."""
        if stream.number in self._streams:
            self._framing.reset(stream.number, Code.INTERNAL_ERROR)
            self._drop(stream.number, ClientGone("stream broken off"))
            self._flush_soon()

    # --- out ---

    def _flush_soon(self) -> None:
        """At the end of this turn of the loop, with whatever else is to be sent then."""
        if not self._queued and self._framing.pending and self._state is not State.CLOSED:
            self._queued = True
            self._shared.outbox.put(self, _NO_ANSWER)

    def write_ready(self, answer: Answer) -> None:
        """From the outbox: the turn is over."""
        self._queued = False
        self._flush()

    def _flush(self) -> None:
        """Hand over everything that is framed."""
        data = self._framing.take()
        if not data or self._state in (State.CLOSING, State.CLOSED):
            return
        if not self._outflow.is_open:
            self._backlog += len(data)
            if self._backlog > BACKLOG_BYTES:
                self._read(False)
        self._transport.write(data)

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _drop_input(self, size: int) -> None:
        self._dropped += size
        if self._dropped > DROPPED_BYTES:
            self._read(False)

    # --- the end ---

    def _fail(self, fault: ConnectionFault) -> None:
        """The client broke the rules: say which, and linger so that it can read that."""
        if self._state in _DEAF:
            return
        log.debug("HTTP/2 connection of %s ended: %s (%s)", self.peer.address, fault.text, fault.code.name)
        self._framing.go_away(fault.code, fault.text)
        self._flush()
        self._move(Event.FAULT)
        self._lose_all(ClientGone("client broke the connection", reason=fault.text))

    def drain(self) -> None:
        """From the registry: no new requests; those that run are finished."""
        was = self._state
        self._move(Event.DRAIN)
        if was is State.OPEN:
            self._framing.go_away(Code.NO_ERROR, last_stream=LARGEST_WINDOW)
            self._flush()
            self._check_empty()

    def _settle(self) -> None:
        """Name the last stream that will be answered."""
        self._move(Event.SETTLE)
        self._framing.go_away(Code.NO_ERROR)
        self._flush()

    def _check_empty(self) -> None:
        """Nothing runs: the time of being idle begins, or the connection ends if it is to."""
        if self._state in _DEAF or self._load():
            return
        self._touched = True
        if self._state in (State.DRAINING, State.LEAVING) or self._farewell:
            if self._state is not State.LEAVING:
                self._settle()
            self._close()

    def _close(self) -> None:
        """Send what is written, then close."""
        self._flush()
        if self._state not in (State.CLOSING, State.CLOSED):
            self._move(Event.CLOSE)
            self._transport.close()

    def _break_off(self) -> None:
        if self._state is not State.CLOSED:
            self._move(Event.CLOSE)
            self._transport.abort()

    def _lose_all(self, gone: ClientGone) -> None:
        self._outflow.clear()
        self._tails.clear()
        self._held.clear()
        streams = tuple(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.body.drop()
            stream.lost(gone)

    def kill(self) -> None:
        """From the registry: end now, whatever runs."""
        self._break_off()
        for stream in tuple(self._running):
            if stream.task is not None:
                stream.task.cancel()

    # --- time (one sweep a second) ---

    def sweep(self, now: float) -> None:
        """From the registry: end what is overdue at `now`, monotonic seconds."""
        if self._state is State.CLOSED:
            return
        timeouts = self._shared.settings.timeouts
        if self._unread.is_stuck(self._transport.get_write_buffer_size(), now, timeouts.write):
            self._break_off()
        elif self._state is State.LINGERING:
            if now - self._since > timeouts.linger:
                self._close()
        elif self._state is not State.CLOSING:
            self._sweep_connection(now)
            if self._state not in _DEAF:
                self._sweep_streams(now)
            self._flush_soon()

    def _sweep_connection(self, now: float) -> None:
        timeouts = self._shared.settings.timeouts
        if self._state is State.DRAINING:
            self._settle()
        if not self._framing.inside_block:
            self._block_since = None
        elif self._block_since is None:
            self._block_since = now
        elif now - self._block_since > timeouts.head:
            self._fail(ConnectionFault(Code.ENHANCE_YOUR_CALM, "field block took too long"))
            return
        if self._outflow.never_opened(now - STARVED_SECONDS) >= STARVED_STREAMS:
            self._fail(ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many answers without a window"))
            return
        if self._touched or self._load():
            self._fresh = self._fresh and not self._framing.last_stream
            self._touched, self._since = False, now
        elif is_idle_too_long(now - self._since, timeouts, fresh=self._fresh):
            self._settle()
            self._close()

    def _sweep_streams(self, now: float) -> None:
        timeouts = self._shared.settings.timeouts
        for stream in tuple(self._streams.values()):
            match judge_stream(stream, now, timeouts):
                case Overdue.BODY:
                    error = RequestRefused("request body stalled", status=408)
                    stream.body.fail(error)
                    if stream.number in self._held:
                        self._held.discard(stream.number)
                        self._give_up(stream, error)
                case Overdue.TUNNEL:
                    self.break_off(stream)
        for number in self._outflow.stuck(now - timeouts.write):
            self._framing.reset(number, Code.CANCEL)
            self._drop(number, ClientGone("client takes no more of the answer"))

    # --- what follows from the state ---

    @property
    def state_name(self) -> str:
        """For metrics; the names that HTTP/1 has too mean the same."""
        if self._state in _DEAF:
            return self._state.name.lower()
        return "exchange" if self._load() else "idle"

    def _move(self, event: Event) -> None:
        state = TABLE[self._state][event]
        if state is not self._state:
            self._state = state
            self._since = self._shared.clock.monotonic()
