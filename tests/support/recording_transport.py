"""A transport that only records: no sockets, every byte and every pause seen.

Owns: that record, for tests of connections.
"""

import asyncio
from collections.abc import Iterable
from typing import Any


class RecordingTransport(asyncio.Transport):
    """Keeps what is written, in the pieces it was written in."""

    def __init__(self) -> None:
        super().__init__({"peername": ("::ffff:192.0.2.7", 5), "sockname": ("127.0.0.1", 80)})
        self.writes: list[bytes] = []
        self.reading = True
        self.closed = False
        self.half_closed = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        assert not self.half_closed
        self.writes.append(bytes(data))

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.half_closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True
