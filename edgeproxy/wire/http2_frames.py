"""The frames of HTTP/2 as bytes (RFC 9113 sections 4 and 6): names of their numbers, and how those that we send are written.

Owns: the format. Must not know in which order frames may come; that is the framing layer's.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

HEADER_BYTES = 9
FRAME_BYTES = 16_384
"""Largest payload that every peer takes, and the largest we ask for (section 4.2). A frame fits into one TLS record, nearly."""

LARGEST_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535

read_header = struct.Struct(">HBBBL").unpack_from
"""Two parts of the length, type, flags, stream with its reserved bit."""

_write_header = struct.Struct(">HBBBL").pack
_setting = struct.Struct(">HL")


class Kind(IntEnum):
    """Types of frames (section 6, RFC 9218)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    PRIORITY_UPDATE = 16


END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Code(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """What a peer may be told about us (section 6.5.2, RFC 8441)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


def frame_header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes in front of a payload of `length` bytes."""
    return _write_header(length >> 8, length & 0xFF, kind, flags, stream)


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join(_setting.pack(number, value) for number, value in settings)
    return frame_header(len(payload), Kind.SETTINGS, 0, 0) + payload


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Numbers and values; `payload` is a multiple of six bytes."""
    return list(_setting.iter_unpack(payload))


SETTINGS_ACK = frame_header(0, Kind.SETTINGS, ACK, 0)


def reset_frame(stream: int, code: int) -> bytes:
    return frame_header(4, Kind.RST_STREAM, 0, stream) + code.to_bytes(4, "big")


def ping_answer(payload: bytes) -> bytes:
    return frame_header(8, Kind.PING, ACK, 0) + payload


def window_frame(stream: int, increment: int) -> bytes:
    return frame_header(4, Kind.WINDOW_UPDATE, 0, stream) + increment.to_bytes(4, "big")


def goaway_frame(last_stream: int, code: int, text: str = "") -> bytes:
    """`text` is for whoever debugs the client."""
    debug = text.encode("ascii", "replace")
    payload = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + debug
    return frame_header(len(payload), Kind.GOAWAY, 0, 0) + payload


def headers_frames(stream: int, block: bytes, *, ended: bool) -> list[bytes]:
    """HEADERS, with CONTINUATION where one frame is too small for the block (section 6.10)."""
    first, rest = block[:FRAME_BYTES], block[FRAME_BYTES:]
    flags = (END_STREAM if ended else 0) | (0 if rest else END_HEADERS)
    out = [frame_header(len(first), Kind.HEADERS, flags, stream), first]
    while rest:
        piece, rest = rest[:FRAME_BYTES], rest[FRAME_BYTES:]
        out += (frame_header(len(piece), Kind.CONTINUATION, 0 if rest else END_HEADERS, stream), piece)
    return out
