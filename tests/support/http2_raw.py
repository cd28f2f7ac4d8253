"""Reads raw HTTP/2 frames as a client would get them, for tests without sockets.

Owns: that reading, independent of the edge's own framing; blocks are decoded by the library `hpack`.
"""

from dataclasses import dataclass, field

from hpack import Decoder


@dataclass
class Seen:
    """All that a server said, in order."""

    frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    """(type, flags, stream, payload)"""
    heads: dict[int, list[list[tuple[bytes, bytes]]]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    goaways: list[tuple[int, int]] = field(default_factory=list)
    """(code, last stream)"""

    def status(self, stream: int) -> int:
        return int(dict(self.heads[stream][0])[b":status"]) if stream in self.heads else 0


def read(raw: bytes) -> Seen:
    """The whole frames in `raw`; what is left over is a fault."""
    seen, decoder, at = Seen(), Decoder(), 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 3], "big")
        kind, flags = raw[at + 3], raw[at + 4]
        stream = int.from_bytes(raw[at + 5 : at + 9], "big")
        payload = raw[at + 9 : at + 9 + size]
        assert len(payload) == size
        assert size <= 16384
        at += 9 + size
        seen.frames.append((kind, flags, stream, payload))
        match kind:
            case 0:
                assert stream not in seen.ended
                seen.bodies[stream] = seen.bodies.get(stream, b"") + payload
            case 1:
                assert stream not in seen.ended
                assert flags & 4
                lines = [(bytes(name), bytes(value)) for name, value in decoder.decode(payload, raw=True)]
                seen.heads.setdefault(stream, []).append(lines)
            case 3:
                assert stream not in seen.resets
                seen.resets[stream] = int.from_bytes(payload, "big")
            case 7:
                seen.goaways.append((int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big")))
        if kind in (0, 1) and flags & 1:
            seen.ended.add(stream)
    return seen
