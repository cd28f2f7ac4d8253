"""The framing layer of HTTP/2 (RFC 9113): frames in and out, states of streams, windows, and what a client must not do.

Owns: the order in which frames may come, both directions of flow control, the numbers of streams, and the budget for frames that
do no work. Implements `http2_framing.Framing`. Must not know requests, answers, tasks, time or transports.

State of a stream (section 5.1), as far as a server without push needs it:
  idle         its number is above `last_stream`
  open         in `_streams`, neither side has ended
  half-closed  in `_streams`, `remote_ended` or `local_ended`
  closed       not in `_streams`; `_closed` remembers for the newest ones whether we reset them, because then frames that were
               already on their way are no fault of the client (section 5.4.2)
"""

from collections.abc import Callable
from typing import Final

from edgeproxy.serving.http2_blocks import OpenBlock
from edgeproxy.serving.http2_budget import (
    PRIORITIES_PER_REQUEST,
    RESETS_PER_ANSWER,
    WINDOWS_PER_FRAME,
    Budget,
    Flooded,
    Spent,
)
from edgeproxy.serving.http2_framing import ConnectionFault, FramingEvents, FramingLimits
from edgeproxy.serving.http2_hpack import BlockDecoder
from edgeproxy.wire import http2_frames as frames
from edgeproxy.wire.hpack import NO_TABLE
from edgeproxy.wire.http2_frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADER_BYTES,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    Code,
    Kind,
    Setting,
    read_header,
)

REMEMBERED: Final = 256
"""Closed streams whose end is remembered."""

_RESERVED: Final = 0x7FFF_FFFF


class _Stream:
    __slots__ = ("local_ended", "receive_window", "remote_ended", "send_window", "unacknowledged")

    def __init__(self, send_window: int, receive_window: int, *, remote_ended: bool) -> None:
        self.send_window = send_window
        self.receive_window = receive_window
        self.unacknowledged = 0
        self.remote_ended = remote_ended
        self.local_ended = False


class Http2Engine:
    """One connection's framing, from the preface on. Our SETTINGS are the first that `take` gives."""

    # fmt: off
    __slots__ = (
        "_block", "_budget", "_closed", "_decoder", "_events",
        "_handlers", "_initial_window", "_limits", "_need", "_out", "_preface", "_rest", "_streams", "_table_said",
        "_unacknowledged", "_window_in", "_window_in_size", "_window_out", "last_stream", "pending",
    )
    # fmt: on

    def __init__(self, events: FramingEvents, limits: FramingLimits, budget: Budget) -> None:
        self._events = events
        self._limits = limits
        self._budget = budget
        self._decoder = BlockDecoder(limits.block_bytes)
        self._preface = PREFACE
        self._rest = bytearray()
        self._need = 0
        self._streams: dict[int, _Stream] = {}
        self._closed: dict[int, bool] = {}
        self.last_stream = 0
        self._block: OpenBlock | None = None
        self._initial_window = DEFAULT_WINDOW
        self._window_out = DEFAULT_WINDOW
        self._window_in = self._window_in_size = DEFAULT_WINDOW
        self._unacknowledged = 0
        self._table_said = False
        self._out: list[bytes | memoryview] = []
        self.pending = 0
        settings: Callable[[int, int, bytes], None] = self._on_first_settings
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {Kind.SETTINGS: settings}
        self._send(
            frames.settings_frame(
                (
                    (Setting.MAX_CONCURRENT_STREAMS, limits.streams),
                    (Setting.INITIAL_WINDOW_SIZE, limits.window),
                    (Setting.MAX_HEADER_LIST_SIZE, limits.list_bytes),
                    (Setting.ENABLE_CONNECT_PROTOCOL, 1),
                )
            )
        )

    @property
    def inside_block(self) -> bool:
        """Whether a field list has begun and not ended."""
        return self._block is not None

    # --- in ---

    def receive(self, data: bytes) -> None:
        """Bytes from the client, in any pieces. Raises ConnectionFault."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if self._preface:
            data = self._take_preface(data)
        try:
            at = self._take_frames(data)
        except Flooded as flood:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many: {flood.kind.name.lower()}") from flood
        if at < len(data):
            self._rest += memoryview(data)[at:] if at else data

    def _take_preface(self, data: bytes) -> bytes:
        expected = self._preface[: len(data)]
        if data[: len(expected)] != expected:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "preface is wrong")
        self._preface = self._preface[len(expected) :]
        return data[len(expected) :]

    def _take_frames(self, data: bytes) -> int:
        """Handle the whole frames in `data`; returns where the first incomplete one begins."""
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            high, low, kind, flags, stream = read_header(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "frame is too large")
            after = at + HEADER_BYTES + length
            if after > end:
                self._need = HEADER_BYTES + length
                return at
            if self._block is not None and kind != Kind.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "field block is interrupted")
            handler = self._handlers.get(kind, self._on_unknown)
            handler(stream & _RESERVED, flags, data[at + HEADER_BYTES : after])
            at = after
        self._need = HEADER_BYTES
        return at

    def _on_first_settings(self, stream: int, flags: int, payload: bytes) -> None:
        """Whatever else comes first is no HTTP/2 (section 3.4)."""
        if flags & ACK:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "first frame is not settings")
        self._handlers = {
            Kind.DATA: self._on_data,
            Kind.HEADERS: self._on_headers,
            Kind.PRIORITY: self._on_priority,
            Kind.RST_STREAM: self._on_reset,
            Kind.SETTINGS: self._on_settings,
            Kind.PUSH_PROMISE: self._on_push,
            Kind.PING: self._on_ping,
            Kind.GOAWAY: self._on_goaway,
            Kind.WINDOW_UPDATE: self._on_window,
            Kind.CONTINUATION: self._on_continuation,
            Kind.PRIORITY_UPDATE: self._on_priority_update,
        }
        self._on_settings(stream, flags, payload)

    def _on_data(self, stream: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._window_in -= size
        if self._window_in < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if flags & PADDED:
            payload = _unpadded(payload)
        ended = bool(flags & END_STREAM)
        if not payload and not ended:
            self._budget.spend(Spent.EMPTY)
        known = self._streams.get(stream)
        if known is None:
            self._check_closed(stream)
            self._credit_connection(size)
        elif known.remote_ended:
            self._credit_connection(size)
            self._fault(stream, Code.STREAM_CLOSED)
        elif size > known.receive_window:
            self._credit_connection(size)
            self._fault(stream, Code.FLOW_CONTROL_ERROR)
        else:
            known.receive_window -= size
            if len(payload) < size:
                self.consumed(stream, size - len(payload))
            if ended:
                self._end_remote(stream, known)
            self._events.on_data(stream, payload, ended=ended)

    def _on_headers(self, stream: int, flags: int, payload: bytes) -> None:
        if not stream & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "stream number is not a client's")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "headers frame is too short")
            payload = payload[5:]
        ended = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._on_block(stream, payload, ended=ended)
            return
        if not payload:
            self._budget.spend(Spent.EMPTY)
        self._block = OpenBlock(stream, payload, self._limits.block_bytes, ended=ended)

    def _on_continuation(self, stream: int, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None or stream != block.stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "continuation of nothing")
        if not payload:
            self._budget.spend(Spent.EMPTY)
        block.add(payload)
        if flags & END_HEADERS:
            self._block = None
            self._on_block(stream, block.whole(), ended=block.ended)

    def _on_block(self, stream: int, data: bytes, *, ended: bool) -> None:
        block = self._decoder.decode(data)  # also when nobody wants it: the next one is read with what this one adds
        known = self._streams.get(stream)
        if known is not None:
            if known.remote_ended:
                self._fault(stream, Code.STREAM_CLOSED)
            elif not ended:
                self._fault(stream, Code.PROTOCOL_ERROR)
            else:
                self._end_remote(stream, known)
                self._events.on_trailers(stream, block)
        elif stream > self.last_stream:
            self.last_stream = stream
            self._streams[stream] = _Stream(self._initial_window, self._limits.window, remote_ended=ended)
            self._budget.earn(Spent.PRIORITY, PRIORITIES_PER_REQUEST)
            self._events.on_request(stream, block, ended=ended)
        else:
            self._check_closed(stream)

    def _on_priority(self, stream: int, flags: int, payload: bytes) -> None:
        """Deprecated, and taken no notice of (section 5.3.2)."""
        self._budget.spend(Spent.PRIORITY)
        if not stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "priority of no stream")
        if len(payload) != 5:
            if stream not in self._streams:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "priority frame has a wrong size")
            self._fault(stream, Code.FRAME_SIZE_ERROR)

    def _on_priority_update(self, stream: int, flags: int, payload: bytes) -> None:
        """RFC 9218 section 7.1; taken no notice of."""
        self._budget.spend(Spent.PRIORITY)

    def _on_reset(self, stream: int, flags: int, payload: bytes) -> None:
        self._budget.spend(Spent.RESET)
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "reset frame has a wrong size")
        if not stream or stream > self.last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "reset of an idle stream")
        if stream in self._streams:
            self._close(stream, by_us=False)
            self._events.on_reset(stream, int.from_bytes(payload, "big"), by_client=True)

    def _on_settings(self, stream: int, flags: int, payload: bytes) -> None:
        self._budget.spend(Spent.SETTINGS)
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "settings frame has a wrong size")
        if flags & ACK:
            return
        if len(payload) > 6 * 64:
            self._budget.spend(Spent.SETTINGS, len(payload) / (6 * 64))
        window = self._initial_window
        for number, value in frames.read_settings(payload):
            self._set(number, value)
        self._send(frames.SETTINGS_ACK)
        if self._initial_window > window:
            self._events.on_window(0)  # behind the acknowledgement, which is what opens the windows to the client's mind

    def _set(self, number: int, value: int) -> None:
        match number:
            case Setting.ENABLE_PUSH | Setting.ENABLE_CONNECT_PROTOCOL if value > 1:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "setting is neither 0 nor 1")
            case Setting.INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "initial window is too large")
                self._change_initial_window(value)
            case Setting.MAX_FRAME_SIZE if not FRAME_BYTES <= value < 1 << 24:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "frame size is out of range")
            case _:
                pass  # nothing that we would do otherwise: no table, no push, no larger frames

    def _change_initial_window(self, value: int) -> None:
        """Also for the streams that are open; their windows may become negative (section 6.9.2)."""
        change, self._initial_window = value - self._initial_window, value
        if not change:
            return
        for known in self._streams.values():
            known.send_window += change
            if known.send_window > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "window is too large")

    def _on_push(self, stream: int, flags: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "push by a client")

    def _on_ping(self, stream: int, flags: int, payload: bytes) -> None:
        self._budget.spend(Spent.PING)
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "ping frame has a wrong size")
        if not flags & ACK:
            self._send(frames.ping_answer(payload))

    def _on_goaway(self, stream: int, flags: int, payload: bytes) -> None:
        self._budget.spend(Spent.SETTINGS)
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "goaway of a stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "goaway frame is too short")
        self._events.on_farewell()

    def _on_window(self, stream: int, flags: int, payload: bytes) -> None:
        self._budget.spend(Spent.WINDOW)
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "window frame has a wrong size")
        increment = int.from_bytes(payload, "big") & _RESERVED
        if not stream:
            self._window_out += increment
            if not increment or self._window_out > LARGEST_WINDOW:
                raise ConnectionFault(
                    Code.FLOW_CONTROL_ERROR if increment else Code.PROTOCOL_ERROR, "window of the connection is wrong"
                )
            self._events.on_window(0)
            return
        known = self._streams.get(stream)
        if known is None:
            if stream > self.last_stream:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "window of an idle stream")
        elif not increment:
            self._fault(stream, Code.PROTOCOL_ERROR)
        else:
            known.send_window += increment
            if known.send_window > LARGEST_WINDOW:
                self._fault(stream, Code.FLOW_CONTROL_ERROR)
            else:
                self._events.on_window(stream)

    def _on_unknown(self, stream: int, flags: int, payload: bytes) -> None:
        """A type that we do not know (section 5.5), or any frame but SETTINGS as the first one (section 3.4)."""
        if Kind.DATA not in self._handlers:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "first frame is not settings")
        self._budget.spend(Spent.UNKNOWN)

    # --- states ---

    def _check_closed(self, stream: int) -> None:
        """A frame for a stream that is not open: late, or a fault of the whole connection (section 5.1)."""
        if not stream or stream > self.last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "frame for an idle stream")
        self._budget.spend(Spent.LATE)
        was_reset = self._closed.get(stream)
        if was_reset is None and len(self._closed) < REMEMBERED:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "stream number was passed over")
        if was_reset is False:
            raise ConnectionFault(Code.STREAM_CLOSED, "frame for a stream that has ended")

    def _end_remote(self, stream: int, known: _Stream) -> None:
        known.remote_ended = True
        if known.local_ended:
            self._close(stream, by_us=False)

    def _end_local(self, stream: int, known: _Stream) -> None:
        known.local_ended = True
        self._budget.earn(Spent.RESET, RESETS_PER_ANSWER)
        if known.remote_ended:
            self._close(stream, by_us=False)

    def _close(self, stream: int, *, by_us: bool) -> None:
        del self._streams[stream]
        closed = self._closed
        if len(closed) >= REMEMBERED:
            del closed[next(iter(closed))]
        closed[stream] = by_us

    def _fault(self, stream: int, code: Code) -> None:
        """A stream error (section 5.4.2): the client made us reset it."""
        self._budget.spend(Spent.FAULT)
        self.reset(stream, code)
        self._events.on_reset(stream, code, by_client=False)

    # --- out ---

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        self.pending += len(data)

    def take(self) -> bytes:
        """Everything that has to be sent now."""
        out, self._out = self._out, []
        self.pending = 0
        return b"".join(out)

    def head(self, stream: int, block: bytes, *, ended: bool) -> None:
        """A field list made by `wire.hpack`."""
        if not self._table_said:
            self._table_said = True
            block = NO_TABLE + block
        size = len(block)
        if size <= FRAME_BYTES:
            flags = END_HEADERS | END_STREAM if ended else END_HEADERS
            self._out += (frames.frame_header(size, Kind.HEADERS, flags, stream), block)
            self.pending += size + HEADER_BYTES
        else:
            for piece in frames.headers_frames(stream, block, ended=ended):
                self._send(piece)
        if ended:
            self._end_local(stream, self._streams[stream])

    def room(self, stream: int) -> int:
        """Bytes that both windows let us send on `stream` now."""
        known = self._streams.get(stream)
        return 0 if known is None else min(known.send_window, self._window_out)

    def own_room(self, stream: int) -> int:
        """The same without regard to the window of the connection."""
        known = self._streams.get(stream)
        return 0 if known is None else known.send_window

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """One frame of at most `FRAME_BYTES` bytes, within `room`."""
        size = len(data)
        known = self._streams[stream]
        self._out += (frames.frame_header(size, Kind.DATA, END_STREAM if ended else 0, stream), data)
        self.pending += size + HEADER_BYTES
        known.send_window -= size
        self._window_out -= size
        self._budget.earn(Spent.WINDOW, WINDOWS_PER_FRAME)
        if ended:
            self._end_local(stream, known)

    def consumed(self, stream: int, size: int) -> None:
        """`size` bytes are out of our memory: the client may send as many more."""
        self._credit_connection(size)
        known = self._streams.get(stream)
        if known is None or known.remote_ended:
            return
        known.unacknowledged += size
        if known.unacknowledged * 2 >= self._limits.window:
            self._send(frames.window_frame(stream, known.unacknowledged))
            known.receive_window += known.unacknowledged
            known.unacknowledged = 0

    def _credit_connection(self, size: int) -> None:
        self._unacknowledged += size
        if self._unacknowledged * 2 >= self._window_in_size:
            self._send(frames.window_frame(0, self._unacknowledged))
            self._window_in += self._unacknowledged
            self._unacknowledged = 0

    def widen(self, size: int) -> None:
        """Take `size` more bytes for the whole connection than so far."""
        self._send(frames.window_frame(0, size))
        self._window_in += size
        self._window_in_size += size

    def reset(self, stream: int, code: Code) -> None:
        """End a stream at once."""
        if stream in self._streams:
            self._close(stream, by_us=True)
            self._send(frames.reset_frame(stream, code))

    def blame(self, kind: Spent) -> None:
        """The client made us refuse something."""
        try:
            self._budget.spend(kind)
        except Flooded as flood:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many: {kind.name.lower()}") from flood

    def go_away(self, code: Code, text: str = "", *, last_stream: int | None = None) -> None:
        """Say that streams above `last_stream` (the newest one when None) will not be answered."""
        self._send(frames.goaway_frame(self.last_stream if last_stream is None else last_stream, code, text))


def _unpadded(payload: bytes) -> bytes:
    """Without padding, the length of which is in front (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
