"""Bodies on their way to one HTTP/2 client: what its windows and its socket do not let out yet waits here.

Owns: the queues, one for each stream, and the turns among them: 64 KiB each, so that a large download does not starve a page.
Must not encode anything, and must not bound a queue: whoever sends waits for its gate, so that one piece of each is kept.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.http2_framing import Framing
from edgeproxy.wire.http2_frames import FRAME_BYTES

TURN: Final = 4
"""Frames of one stream before others have their turn."""

FLUSH_BYTES: Final = 128 * 1024
"""Framed bytes after which they are handed to the transport, so that it can say that it is full."""


class _Waiting:
    """One stream's queue."""

    __slots__ = ("ended", "gate", "pieces", "sent", "since")

    def __init__(self, gate: WriteGate | None, since: float) -> None:
        self.pieces: deque[bytes | memoryview] = deque()
        self.gate = gate
        self.ended = False
        self.sent = 0
        self.since = since


class Outflow:
    """`flush` hands framed bytes to the transport; `finished` is told of a stream whose last byte left a queue."""

    __slots__ = ("_finished", "_flush", "_framing", "_monotonic", "_waiting", "is_open")

    def __init__(
        self, framing: Framing, flush: Callable[[], None], finished: Callable[[int], None], monotonic: Callable[[], float]
    ) -> None:
        self._framing = framing
        self._flush = flush
        self._finished = finished
        self._monotonic = monotonic
        self._waiting: dict[int, _Waiting] = {}
        self.is_open = True
        """Whether the transport has room; set by the connection."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, stream: int) -> bool:
        return stream in self._waiting

    def send(self, stream: int, data: bytes, *, ended: bool, gate: WriteGate | None = None) -> bool:
        """Send `data`, or as much as there is room for; True when nothing waits. `gate` is closed while something does."""
        waiting = self._waiting.get(stream)
        if waiting is None:
            size = len(data)
            if size <= FRAME_BYTES and self.is_open and self._framing.room(stream) >= size:
                if size or ended:
                    self._framing.data(stream, data, ended=ended)
                    self._flush_much()
                return True
            waiting = self._waiting[stream] = _Waiting(gate, self._monotonic())
        if data:
            waiting.pieces.append(data)
        waiting.ended = ended
        while self._turn(stream, waiting):
            pass
        if stream not in self._waiting:
            return True
        if gate is not None:
            gate.close()
        return False

    def pump(self, stream: int = 0) -> None:
        """There may be room again: for `stream`, or for all."""
        if stream:
            waiting = self._waiting.get(stream)
            while waiting is not None and self._turn(stream, waiting):
                pass
            return
        going = True
        while going and self.is_open:
            going = False
            for number, waiting in tuple(self._waiting.items()):
                going = self._turn(number, waiting) or going

    def drop(self, stream: int) -> None:
        """The stream is over; what waits for it is nobody's any more."""
        self._waiting.pop(stream, None)

    def clear(self) -> None:
        """The connection is over."""
        self._waiting.clear()

    def stuck(self, before: float) -> list[int]:
        """Streams that wait for the client's windows, without one byte sent since `before` (monotonic)."""
        if not self.is_open:
            return []  # it is the socket that is full; the connection watches that
        return [number for number, waiting in self._waiting.items() if waiting.since < before]

    def never_opened(self, before: float) -> int:
        """Streams that wait since `before`, whose client asked and then gave them no window at all."""
        if not self.is_open:
            return 0
        own_room = self._framing.own_room
        waiting = self._waiting.items()
        return sum(not one.sent and one.since < before and own_room(number) <= 0 for number, one in waiting)

    def _turn(self, stream: int, waiting: _Waiting) -> bool:
        """Send some of what waits for `stream`; True when more of it could go at once."""
        before = waiting.sent
        for _ in range(TURN):
            room = min(self._framing.room(stream), FRAME_BYTES) if self.is_open else 0
            if room <= 0 or not waiting.pieces:
                break
            piece = waiting.pieces.popleft()
            if len(piece) > room:
                view = memoryview(piece)
                waiting.pieces.appendleft(view[room:])
                piece = view[:room]
            waiting.sent += len(piece)
            self._framing.data(stream, piece, ended=waiting.ended and not waiting.pieces)
            self._flush_much()
        if not waiting.pieces:
            self._end(stream, waiting)
            return False
        if waiting.sent == before:
            return False
        waiting.since = self._monotonic()
        return True

    def _end(self, stream: int, waiting: _Waiting) -> None:
        """Nothing waits any more for `stream`."""
        if self._waiting.pop(stream, None) is None:
            return
        if waiting.ended and not waiting.sent:
            self._framing.data(stream, b"", ended=True)  # nothing but the end was to be sent
        if waiting.gate is not None:
            waiting.gate.open()
        if waiting.ended:
            self._finished(stream)

    def _flush_much(self) -> None:
        if self._framing.pending >= FLUSH_BYTES:
            self._flush()
