"""A field block in several frames: HEADERS, then CONTINUATION until its end (RFC 9113 sections 4.3 and 6.10).

Owns: the pieces, in order, and how large and how many they may become. Must not decode them.
"""

from typing import Final

from edgeproxy.serving.http2_framing import ConnectionFault
from edgeproxy.wire.http2_frames import Code

BLOCK_FRAMES: Final = 32
"""HEADERS with its CONTINUATIONs; a block of the largest size that is taken needs five."""


class OpenBlock:
    """A block that has begun on `stream`. `ended`: its stream ends with it. `limit`: bytes of all its pieces."""

    __slots__ = ("_limit", "_pieces", "_size", "ended", "stream")

    def __init__(self, stream: int, first: bytes, limit: int, *, ended: bool) -> None:
        self.stream = stream
        self.ended = ended
        self._limit = limit
        self._pieces = [first]
        self._size = len(first)

    def add(self, piece: bytes) -> None:
        """The next piece. Raises ConnectionFault when they become too large or too many, before anything of them is decoded."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._limit or len(self._pieces) > BLOCK_FRAMES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "field block is too large")

    def whole(self) -> bytes:
        """All pieces as one."""
        return b"".join(self._pieces)
