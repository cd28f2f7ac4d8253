"""The server's side of an HTTP/1 connection (RFC 9112), as an asyncio protocol; states and events are in `serving.states`.

Owns: the transport, the order of exchanges, when reading stops and goes on, when and how the connection ends.
Must not parse heads, frame responses or know what is answered; must not keep timers, the registry's sweep asks it once a second.

Two ways to an answer. A head that is already known by its bytes, on an idle connection, is answered inside `data_received`
without a task. Everything else becomes an exchange with a task of its own; requests behind it wait for its end.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving.body import RequestBody
from edgeproxy.serving.connections import Admission, Connections, log
from edgeproxy.serving.deadlines import Overdue, UnreadWatch, overdue, progress_counts
from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.heads import HeadBuffer, is_simple
from edgeproxy.serving.http1_stream import Http1Stream
from edgeproxy.serving.runner import internal_error, run_exchange
from edgeproxy.serving.states import TABLE, Event, State
from edgeproxy.serving.stream import Answer, Peer, TunnelSink, TunnelSource
from edgeproxy.serving.transports import NOBODY, peer_of, reset_on_close
from edgeproxy.serving.tunnel import ClientSink, ClientSource
from edgeproxy.tasks import spawn
from edgeproxy.wire.http1 import parse_request_head
from edgeproxy.wire.messages import Request

_BETWEEN = (State.IDLE, State.HEAD, State.QUEUED)
_ENDING = (State.LINGERING, State.CLOSING, State.CLOSED)


class Http1Connection(asyncio.Protocol):
    """One connection from `connection_made` to `connection_lost`."""

    # fmt: off
    __slots__ = (
        "_body", "_buffer", "_eof", "_fresh", "_instant", "_instant_like", "_kin", "_known", "_last", "_memo", "_outbox",
        "_queued", "_reading", "_ready", "_scheduled", "_shared", "_since", "_source", "_state", "_stream", "_task", "_touched",
        "_transport", "_unread", "_write", "_writelines", "gate", "peer",
    )
    # fmt: on

    _transport: asyncio.Transport

    def __init__(self, shared: Connections, peer: Peer = NOBODY) -> None:
        self._shared = shared
        self._instant = shared.handler.instant
        self._instant_like = shared.handler.instant_like
        self._memo = shared.memo
        self._known = shared.memo.recent.get
        self._kin = shared.memo.kin
        self._outbox = shared.outbox
        self._queued = False
        """Whether the outbox holds an answer of this connection."""
        self._state = State.IDLE
        self._ready = False
        """Whether the hot path may be taken: IDLE, the client reads, and this is not to be the last answer."""
        self._buffer = HeadBuffer(shared.settings.limits)
        self._body: RequestBody | None = None
        self._stream: Http1Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._source: ClientSource | None = None
        self._last = False
        self._eof = False
        self._fresh = True
        self._reading = True
        self._scheduled = False
        self._touched = False
        """Whether bytes moved since the last sweep; saves asking a clock for each."""
        self._since = shared.clock.monotonic()
        self._unread = UnreadWatch(self._since)
        self.gate = WriteGate()
        self.peer = peer
        """NOBODY until there is a connection, unless whoever accepted it knew more."""

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the registry; over its limits, say so and close."""
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        self._writelines = self._transport.writelines
        self._transport.set_write_buffer_limits(high=self._shared.settings.bounds.write_buffer_bytes)
        if self.peer is NOBODY:
            self.peer = peer_of(self._transport)
        self._last = self._shared.draining
        match self._shared.admit(self):
            case Admission.SERVED:
                self._judge_ready()
            case Admission.TOLD:
                self._refuse(RequestRefused("too many connections", status=503))
            case Admission.DROPPED:
                self.break_off(reset=False)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client. The first branch is the hot path: a known head, a ready answer, one write."""
        self._touched = True
        if self._ready:
            try:
                request = self._known(data)
                answer = self._instant(request, self.peer) if request is not None else self._instant_kin(data)
            except Exception:  # a bug in answering ends this connection only
                log.exception("ready answer failed")
                self._refuse(internal_error())
                return
            if answer is not None:
                self._queued = True
                self._outbox.put(self, answer)
                return
            if request is not None:
                self._begin(request)
                return
        self._receive(data)

    def write_ready(self, answer: Answer) -> None:
        """From the outbox: a ready answer goes out now."""
        self._queued = False
        if self._state is State.CLOSED:
            return
        if isinstance(answer, bytes):
            self._write(answer)
        else:
            self._writelines(answer)

    def _flush_ready(self) -> None:
        """Before anything else is written or the connection ends: what was answered earlier goes first."""
        if self._queued:
            self._outbox.flush()

    def _instant_kin(self, data: bytes) -> Answer | None:
        """A ready answer for a head that is known but for its target."""
        kin = self._kin(data)
        if kin is None:
            return None
        known, target = kin
        answer = self._instant_like(known, target, self.peer)
        if answer is not None:
            self._memo.offer_kin(data, known, target)
        return answer

    def eof_received(self) -> bool:
        """The client will send no more; what it asked for in full is still answered (RFC 9112 section 9.6)."""
        self._eof = True
        if self._state is State.EXCHANGE:
            if self._body is not None and not self._body.ended:
                self._body.fail(ClientGone("client ended before its request"))
        elif self._state is State.TUNNEL:
            if self._source is not None:
                self._source.feed_eof()
        elif self._state is not State.QUEUED:
            self._close()
        return not self.peer.tls  # TLS knows no half-closed connection; its transport closes

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; whoever waits for the client is told."""
        self._move(Event.LOST)
        self._shared.forget(self)
        self._tell_gone(ClientGone("client connection closed"))
        stream, self._stream = self._stream, None
        if stream is not None and not stream.over and stream.on_gone is not None:
            stream.on_gone()

    def _tell_gone(self, gone: ClientGone) -> None:
        self.gate.fail(gone)
        if self._body is not None:
            self._body.fail(gone)
        if self._source is not None:
            self._source.fail(gone)

    def pause_writing(self) -> None:
        """The client has to read before it gets more."""
        self.gate.close()
        self._judge_ready()
        self._judge_reading()

    def resume_writing(self) -> None:
        """The client has read."""
        self.gate.open()
        self._judge_ready()
        self._judge_reading()
        if self._state is State.QUEUED:
            self._advance_soon()

    # --- heads ---

    def _receive(self, data: bytes) -> None:
        self._flush_ready()
        match self._state:
            case State.IDLE | State.HEAD:
                self._buffer.data += data
                self._advance()
            case State.EXCHANGE | State.SKIPPING:
                self._feed_body(data)
            case State.QUEUED:
                self._buffer.data += data
                self._judge_reading()
            case State.TUNNEL:
                if self._source is not None:
                    self._source.feed(data)
                self._judge_reading()
            case _:
                pass  # nobody will read it; taken off the socket so that closing does not reset the connection

    def _advance(self) -> None:
        """Answer or begin what is in the buffer, in order, as far as it may go now."""
        self._scheduled = False
        if self._state not in _BETWEEN:
            return
        answers: list[bytes] = []
        begun: Request | None = None
        waits = False
        refusal: RequestRefused | None = None
        try:
            begun, waits = self._take_turns(answers)
        except RequestRefused as error:
            refusal = error
        except Exception:  # a bug in answering ends this connection only, after the answers that are ready
            log.exception("ready answer failed")
            refusal = internal_error()
        if answers:
            self._transport.writelines(answers)
        if refusal is not None:
            self._refuse(refusal)
        elif begun is not None:
            self._begin(begun)
        else:
            self._rest(waits)

    def _take_turns(self, answers: list[bytes]) -> tuple[Request | None, bool]:
        """Collect ready answers until a request needs a task (first value), or the turn is over (second value)."""
        bounds = self._shared.settings.bounds
        size = 0
        for _ in range(bounds.burst):
            if not self.gate.is_open or size > bounds.write_buffer_bytes:
                return None, True
            head = self._buffer.take()
            if head is None:
                return None, False
            if self._state is State.HEAD:
                self._move(Event.QUEUE)  # the next head gets its own time
            request = self._parse(head)
            answer = None if self._last or not is_simple(request) else self._instant(request, self.peer)
            if answer is None:
                return request, False
            pieces = (answer,) if isinstance(answer, bytes) else answer
            answers.extend(pieces)
            size += sum(map(len, pieces))
        return None, True

    def _parse(self, head: bytes) -> Request:
        shared = self._shared
        request = shared.memo.find(head)
        if request is None:
            request = parse_request_head(head, shared.settings.limits, scheme=shared.scheme)
            if is_simple(request):
                shared.memo.offer(head, request)
        return request

    def _rest(self, waits: bool) -> None:
        """Nothing more can be done now: wait for the rest of a head, for a turn, or for the next request."""
        if waits and len(self._buffer):
            self._move(Event.QUEUE)
            if self.gate.is_open:
                self._advance_soon()
        elif self._eof or (self._last and not len(self._buffer)):
            self._close()  # a part of a head that cannot be completed asks nothing
        else:
            self._move(Event.PART if len(self._buffer) else Event.EMPTY)
        self._judge_reading()

    def _advance_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._advance)

    # --- exchanges ---

    def _begin(self, request: Request) -> None:
        self._flush_ready()
        bounds = self._shared.settings.bounds
        if bounds.body_bytes is not None and request.body_length > bounds.body_bytes:
            self._refuse(RequestRefused("request body too large", status=413, limit=bounds.body_bytes))
            return
        self._move(Event.BEGIN)
        self._body = RequestBody(request.body_length, bounds.body_bytes)
        self._stream = Http1Stream(self, request, self._body, self._since)
        if not self._body.ended and len(self._buffer):
            self._feed_body(self._buffer.take_all())
        self._task = spawn(self._run(self._stream), name="exchange")
        if self._eof and not self._body.ended:
            self._body.fail(ClientGone("client ended before its request"))
        self._judge_reading()

    async def _run(self, stream: Http1Stream) -> None:
        try:
            await run_exchange(self._shared.handler, stream, self._give_up)
        finally:
            if self._state is State.TUNNEL and stream is self._stream:
                self._close()

    def _give_up(self, stream: Http1Stream, error: RequestRefused) -> None:
        if stream is self._stream:
            self._refuse(error)

    def _feed_body(self, data: bytes) -> None:
        """Bytes while an exchange runs: of its body, then of the requests behind it."""
        body = self._body
        if body is not None and not body.ended:
            if body.failed:
                return  # where the next request starts nobody knows
            try:
                data = body.feed(data)
            except RequestRefused:  # the reader is told
                self._last = True
                if self._state is State.SKIPPING:
                    self._linger()
                return
            if self._state is State.SKIPPING:
                self._skip(body, data)
                return
        self._buffer.data += data
        self._judge_reading()

    def _skip(self, body: RequestBody, rest: bytes) -> None:
        """The answer is over: drop a short rest of the body, then go on behind it."""
        if body.ended:
            self._buffer.data += rest
            self._move(Event.QUEUE)
            self._advance()
        elif body.dropped > self._shared.settings.bounds.unread_body_bytes:
            self._linger()

    # --- what the exchange asks of its connection (`http1_stream.StreamCarrier`) ---

    def write(self, data: bytes) -> None:
        """Bytes to the client."""
        self._touched = True
        self._transport.write(data)

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Bytes to the client, in pieces."""
        self._touched = True
        self._transport.writelines(pieces)

    def bytes_taken(self) -> None:
        """The reader took bytes: there may be room for more."""
        self._judge_reading()

    def keeps_after(self, body: RequestBody, *, continue_due: bool) -> bool:
        """Whether another request can follow the answer whose head is about to be written."""
        if self._last or (self._eof and not len(self._buffer)):
            return False
        return self._can_skip(body, continue_due=continue_due)

    def _can_skip(self, body: RequestBody, *, continue_due: bool) -> bool:
        """A client that still waits for 100 (Continue) may send the body or not: where its next request starts nobody knows."""
        if body.ended:
            return True
        return not continue_due and (body.remaining or 0) <= self._shared.settings.bounds.unread_body_bytes

    def answer_over(self, *, keep_alive: bool) -> None:
        """The answer is written: go on with the next request, or end the connection."""
        body, stream = self._body, self._stream
        if body is None or stream is None or self.is_closing():
            return
        self._stream = self._task = None
        if self._eof and not len(self._buffer):
            self._close()
        elif self._last or not keep_alive or body.failed or not self._can_skip(body, continue_due=stream.continue_due):
            self._end_cleanly(body)
        elif not body.ended:
            body.discard()
            self._move(Event.EARLY)
            self._judge_reading()
        else:
            self._move(Event.QUEUE)
            self._advance()

    def _end_cleanly(self, body: RequestBody) -> None:
        """Close; but a socket closed with unread bytes resets, and a reset may overtake the answer (RFC 9112 section 9.6)."""
        if body.ended and not len(self._buffer) and self._reading:
            self._close()
        else:
            self._linger()

    def break_off(self, *, reset: bool) -> None:
        """End at once, so that the client sees that the message did not end."""
        self._flush_ready()
        if self._state is State.CLOSED:
            return
        if reset:
            reset_on_close(self._transport)
        self._move(Event.CLOSE)
        self._tell_gone(ClientGone("connection broken off"))
        self._transport.abort()

    # --- tunnel (`tunnel.TunnelCarrier`) ---

    def open_tunnel(self) -> tuple[TunnelSource, TunnelSink]:
        """Hand the bytes both ways to the handler, first those that came behind the head."""
        self._move(Event.UPGRADE)
        source = self._source = ClientSource(self)
        source.feed(self._buffer.take_all())
        if self._eof:
            source.feed_eof()
        self._judge_reading()
        return source, ClientSink(self)

    def end_tunnel_output(self) -> None:
        """Half-close towards the client."""
        if self._state is State.TUNNEL and self._transport.can_write_eof():
            self._transport.write_eof()

    def close_tunnel(self) -> None:
        """Send what is queued and close."""
        if self._state is State.TUNNEL:
            self._close()

    def is_closing(self) -> bool:
        """Whether nothing more will be read or written."""
        return self._state in _ENDING

    # --- the end ---

    def _refuse(self, error: RequestRefused) -> None:
        """Answer with an error page as the last thing on this connection."""
        self._flush_ready()
        if self.is_closing():
            return
        self._transport.write(self._shared.handler.refuse(error, self.peer))
        self._linger()

    def _linger(self) -> None:
        """No next request: half-close, and drop what comes until the client closes or its time is over."""
        self._flush_ready()
        if self._eof or not self._transport.can_write_eof():
            self._close()
            return
        self._move(Event.LAST)
        self._buffer.clear()
        self._transport.write_eof()
        self._judge_reading()

    def _close(self) -> None:
        """Send what is written, then close."""
        self._flush_ready()
        if self._state is not State.CLOSED:
            self._move(Event.CLOSE)
            self._transport.close()

    def drain(self) -> None:
        """From the registry: this connection's next answer is its last; without a request it closes now."""
        self._last = True
        self._judge_ready()
        if self._state is State.IDLE:
            self._close()

    def kill(self) -> None:
        """From the registry: end now, whatever runs."""
        task = self._task
        if self._state is not State.CLOSED:
            self.break_off(reset=False)
        if task is not None:
            task.cancel()

    # --- time (one sweep a second) ---

    def sweep(self, now: float) -> None:
        """From the registry: end what is overdue at `now`, monotonic seconds."""
        if self._state is State.CLOSED:
            return
        timeouts = self._shared.settings.timeouts
        if self._unread.is_stuck(self._transport.get_write_buffer_size(), now, timeouts.write):
            self.break_off(reset=False)
            return
        if self._touched:
            self._fresh = False
        if (self._touched or not self._reading) and progress_counts(self._state):
            self._since = now
        self._touched = False
        match overdue(self._state, now - self._since, timeouts, fresh=self._fresh, body_due=self._is_body_due()):
            case Overdue.REQUEST | Overdue.FAREWELL:
                self._close()
            case Overdue.HEAD:
                self._refuse(RequestRefused("request head took too long", status=408))
            case Overdue.BODY if self._body is not None:
                self._last = True
                self._body.fail(RequestRefused("request body stalled", status=408))
            case Overdue.UNREAD_BODY:
                self._linger()
            case Overdue.TUNNEL:
                self.break_off(reset=False)

    def _is_body_due(self) -> bool:
        body, stream = self._body, self._stream
        if body is None or stream is None:
            return False
        return not body.ended and not body.failed and not stream.continue_due

    # --- what follows from the state ---

    @property
    def state_name(self) -> str:
        """For metrics."""
        return self._state.name.lower()

    def _move(self, event: Event) -> None:
        state = TABLE[self._state][event]
        if state is not self._state:
            self._state = state
            self._since = self._shared.clock.monotonic()
            self._judge_ready()

    def _judge_ready(self) -> None:
        self._ready = self._state is State.IDLE and self.gate.is_open and not self._last

    def _judge_reading(self) -> None:
        """Read while there is room for what is read; the rest waits in the client's own socket."""
        wanted = self._has_room()
        if wanted is not self._reading and not self._eof and self._state not in (State.CLOSING, State.CLOSED):
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _has_room(self) -> bool:
        bounds = self._shared.settings.bounds
        match self._state:
            case State.IDLE | State.HEAD:
                return self.gate.is_open
            case State.EXCHANGE if self._body is not None and not self._body.ended:
                return self._body.waiting < bounds.body_buffer_bytes
            case State.QUEUED | State.EXCHANGE:
                return len(self._buffer) < bounds.pipelined_bytes
            case State.TUNNEL if self._source is not None:
                return self._source.waiting < bounds.body_buffer_bytes
            case _:
                return True
