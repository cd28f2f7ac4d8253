"""An origin that keeps every byte it is sent and reads it in one way only: what two parsers could read differently is a fault.

Owns: that reading (RFC 9112), independent of the edge's own parsers, and the answers to what was read. Must not be lenient: a
request that the edge wrote has one spelling, and everything else is `Ambiguous`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.raw_origin import RawConnection, RawOrigin

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[\x21\x22\x24-\x7e]*|\*) HTTP/1\.1")
_FIELD = re.compile(
    rb"([!#$%&'*+.^`|~0-9A-Za-z-]+): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
)
"""Without the underscore, which some servers take for a hyphen."""
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CHUNK = re.compile(rb"(0|[1-9a-f][0-9a-f]{0,14})\r\n")
_OF_ONE_HOP = frozenset((b"upgrade", b"http2-settings", b"keep-alive", b"te", b"expect", b"proxy-connection", b"trailer"))


class Ambiguous(Exception):
    """Bytes that another parser might read in another way."""


class _Incomplete(Exception):
    """All is well so far; more bytes are needed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One whole request. Field names are in lower case."""

    method: str
    target: str
    body: bytes
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]

    def get(self, name: str) -> str:
        return ", ".join(self.all(name))


def read_strictly(raw: bytes, *, upgrades: bool = False) -> tuple[list[Recorded], bytes]:
    """The whole requests in `raw`, and the bytes of one that is not complete. `upgrades`: they may ask for another protocol.

    Raises Ambiguous.
    """
    requests: list[Recorded] = []
    at = 0
    while at < len(raw):
        try:
            request, at = _read_one(raw, at, _OF_ONE_HOP - {b"upgrade"} if upgrades else _OF_ONE_HOP)
        except _Incomplete:
            return requests, raw[at:]
        requests.append(request)
    return requests, b""


def _read_one(raw: bytes, at: int, forbidden: frozenset[bytes]) -> tuple[Recorded, int]:
    end = raw.find(b"\r\n\r\n", at)
    if end < 0:
        raise _Incomplete
    first, *lines = raw[at:end].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise Ambiguous(f"request line {first!r}")
    fields = [_read_field(text, forbidden) for text in lines]
    length = _length(fields)
    body, at = _read_chunks(raw, end + 4) if length is None else _read_bytes(raw, end + 4, length)
    text = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    return Recorded(line[1].decode(), line[2].decode(), body, text), at


def _read_field(text: bytes, forbidden: frozenset[bytes]) -> tuple[bytes, bytes]:
    field = _FIELD.fullmatch(text)
    if field is None:
        raise Ambiguous(f"field line {text[:200]!r}")
    name = field[1].lower()
    if name in forbidden:
        raise Ambiguous(f"a field of another hop: {text[:200]!r}")
    return name, field[2]


def _length(fields: list[tuple[bytes, bytes]]) -> int | None:
    """Bytes of the body, None when it is chunked: said once, in one way, or not at all."""
    names = [name for name, _ in fields]
    if names.count(b"host") != 1:
        raise Ambiguous("not exactly one Host")
    options = {b"close", b"keep-alive"} | ({b"upgrade"} if b"upgrade" in names else set())
    if any(value.lower() not in options for name, value in fields if name == b"connection"):
        raise Ambiguous("Connection names more than this connection")
    framing = [(name, value) for name, value in fields if name in (b"content-length", b"transfer-encoding")]
    match framing:
        case []:
            return 0
        case [(b"content-length", value)] if _LENGTH.fullmatch(value):
            return int(value)
        case [(b"transfer-encoding", b"chunked")]:
            return None
    raise Ambiguous(f"framing {framing!r}")


def _read_bytes(raw: bytes, at: int, length: int) -> tuple[bytes, int]:
    if len(raw) - at < length:
        raise _Incomplete
    return raw[at : at + length], at + length


def _read_chunks(raw: bytes, at: int) -> tuple[bytes, int]:
    """Sizes as plain as they can be: no extension, no leading zero, no trailer."""
    body = b""
    while True:
        line = _CHUNK.match(raw, at)
        if line is None:
            if len(raw) - at < 20 and b"\n" not in raw[at:]:
                raise _Incomplete
            raise Ambiguous(f"chunk size {raw[at : at + 40]!r}")
        data, at = _read_bytes(raw, line.end(), int(line[1], 16))
        ending, at = _read_bytes(raw, at, 2)
        if ending != b"\r\n":
            raise Ambiguous(f"end of a chunk {ending!r}")
        if not data:
            return body, at
        body += data


Respond = Callable[[Recorded], bytes]


class StrictOrigin(RawOrigin):
    """Answers each request, once it is whole, with what `respond` says; `recorded` keeps them in the order of their ends.

    A connection that turns ambiguous is kept in `faults` and closed.
    """

    def __init__(self, respond: Respond, *, upgrades: bool = False) -> None:
        super().__init__(self._play)
        self._respond = respond
        self._upgrades = upgrades
        self.recorded: list[Recorded] = []
        self.faults: list[Ambiguous] = []
        self.raw: dict[int, bytes] = {}
        """What came over each connection, by its number."""

    @property
    def unfinished(self) -> list[RawConnection]:
        """The connections that carry a part of a request at their end."""
        return [one for one in self.connections if read_strictly(self.raw.get(one.number, b""), upgrades=self._upgrades)[1]]

    async def _play(self, connection: RawConnection) -> None:
        answered = 0
        while data := await _some(connection):
            self.raw[connection.number] = self.raw.get(connection.number, b"") + data
            try:
                requests, _ = read_strictly(self.raw[connection.number], upgrades=self._upgrades)
            except Ambiguous as error:
                self.faults.append(error)
                return
            for request in requests[answered:]:
                self.recorded.append(request)
                await connection.send(self._respond(request))
            answered = len(requests)


async def _some(connection: RawConnection) -> bytes:
    try:
        return await connection.reader.read(65536)
    except ConnectionError:
        return b""
