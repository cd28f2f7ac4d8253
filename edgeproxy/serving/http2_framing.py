"""The seam between an HTTP/2 connection and its framing layer: what the one asks of the other, both ways.

Owns: that vocabulary, and nothing that runs. Above the seam are requests, answers, time and tasks; below it frames, compression,
the states of streams, windows as numbers, and what a client must not do. `serving.http2_engine` implements it; whatever else does
can take its place, as long as it keeps the promises written here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from edgeproxy.serving.http2_budget import Spent
from edgeproxy.wire.http2 import Line
from edgeproxy.wire.http2_frames import Code


class ConnectionFault(Exception):
    """The client broke the connection's rules, or floods it: GOAWAY with `code`, then the end."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class FramingLimits(NamedTuple):
    """`streams` at once; `window`: bytes of one body that wait for their reader; `list_bytes`: what is said of field lists;
    `block_bytes`: most that is read of one, compressed or not, before the connection ends."""

    streams: int
    window: int
    list_bytes: int
    block_bytes: int


class HeaderBlock:
    """A decoded field list. The same object may come again for the same bytes: `parsed` is room for what was made of it."""

    __slots__ = ("lines", "parsed")

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.parsed: Any = None


class FramingEvents(Protocol):
    """What a framing layer tells its connection, in the order of the bytes, while `receive` runs.

    Every stream begins with `on_request` and ends with exactly one of: `ended` both ways, `on_reset`, or a `reset` by us. Calls
    back into the framing layer are allowed in all of them.
    """

    def on_request(self, stream: int, block: HeaderBlock, *, ended: bool) -> None:
        """A stream was opened. Its fields are decoded, and nothing more is known of them."""
        ...

    def on_data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Bytes of a body, without padding. They count against both windows until `Framing.consumed`."""
        ...

    def on_trailers(self, stream: int, block: HeaderBlock) -> None:
        """A second field list, which ends the stream from the client's side."""
        ...

    def on_reset(self, stream: int, code: int, *, by_client: bool) -> None:
        """A stream is over before its end: the client reset it, or broke it so that it was reset for a fault."""
        ...

    def on_window(self, stream: int) -> None:
        """More may be sent on `stream`; on all of them when it is 0."""
        ...

    def on_farewell(self) -> None:
        """The client will open no more streams (GOAWAY); those that are open go on."""
        ...


class Framing(Protocol):
    """What a connection asks of its framing layer. Nothing here waits or touches a transport: bytes to send are in `take`."""

    @property
    def pending(self) -> int:
        """Bytes that `take` would give."""
        ...

    @property
    def last_stream(self) -> int:
        """Number of the newest stream that the client opened; 0 before the first."""
        ...

    @property
    def inside_block(self) -> bool:
        """Whether a field list has begun and not ended, so that nothing else can come."""
        ...

    def receive(self, data: bytes) -> None:
        """Bytes from the client, in any pieces. Raises ConnectionFault; nothing may be fed after it."""
        ...

    def take(self) -> bytes:
        """Everything that has to be sent now, in one piece."""
        ...

    def head(self, stream: int, block: bytes, *, ended: bool) -> None:
        """A field list made by `wire.hpack`; a final head, an interim one, or trailers. Not for streams that are over."""
        ...

    def room(self, stream: int) -> int:
        """Bytes that both windows let us send on `stream` now; 0 or less for none."""
        ...

    def own_room(self, stream: int) -> int:
        """The same without regard to the window of the connection."""
        ...

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """One frame of at most `FRAME_BYTES` bytes, within `room`; empty only to end the stream."""
        ...

    def consumed(self, stream: int, size: int) -> None:
        """`size` bytes of `on_data` are out of our memory: the client may send as many more. The stream may be over."""
        ...

    def widen(self, size: int) -> None:
        """Take `size` more bytes for the whole connection than so far."""
        ...

    def reset(self, stream: int, code: Code) -> None:
        """End a stream at once. Nothing more comes from it; what is on its way is dropped."""
        ...

    def blame(self, kind: Spent) -> None:
        """The client made us refuse something. Raises ConnectionFault when it does so too often."""
        ...

    def go_away(self, code: Code, text: str = "", *, last_stream: int | None = None) -> None:
        """Say that streams above `last_stream` (the newest one when None) will not be answered."""
        ...
