"""The access log: one JSON object a line for each exchange.

Owns: the form of a line, and the way to its target. A line costs the event loop one append; a thread writes. What the target
cannot take is dropped and counted: a full disk, a closed pipe or a slow reader never reaches an exchange.
Must not trust anything in a line: method, URL and user data are escaped to printable ASCII, so that nobody forges a line or
speaks to a terminal.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from edgeproxy.clock import Clock, Instant
from edgeproxy.telemetry.log_writer import LogWriter

TICK_SECONDS: Final = 0.2
HAND_OVER_LINES: Final = 2048
"""About half a mebibyte of lines: what the loop holds before the writing thread gets it, when that comes before the tick."""
_PIECES: Final = 3 * HAND_OVER_LINES


@dataclass(frozen=True, slots=True)
class Entry:
    """One exchange that was not a hot hit. `url` is absolute; `bytes` counts the body; times are milliseconds.

    `cache` is the reason (`caching.model.Reason`), `block` the height of the block that was sent, `trace` 32 hex digits or "",
    `origin_ms` the time until the origin's response head, None when it was not asked.
    """

    client: str
    site: str
    method: str
    url: str
    status: int
    bytes: int
    duration_ms: float
    cache: str
    block: int | None = None
    trace: str = ""
    origin_ms: float | None = None


def log_prefix(client: str) -> bytes:
    """What stands in every line of one connection, a member without commas around it; `Peer.log_prefix`."""
    return f'"client":{_text(client)}'.encode()


def hit_suffix(*, site: str, method: str, url: str, status: int, length: int, cache: str, block: int | None) -> bytes:
    """What stands in every line of a hit on one stored response, made once for it; its duration is not measured, so 0."""
    return _rest(Entry("", site, method, url, status, length, 0, cache, block))


class AccessLog:
    """A log that is off."""

    __slots__ = ()

    enabled: bool = False

    @property
    def lost(self) -> int:
        """Lines dropped since the start."""
        return 0

    def hit(self, prefix: bytes, ready_suffix: bytes) -> None:
        """One line for a hit out of memory: `log_prefix(client)` and `hit_suffix(...)`. Its time is that of the last tick."""

    def write(self, entry: Entry) -> None:
        """One line for any other exchange, with the time of now."""

    def start(self) -> None:
        """Begin to write; needs the running loop."""

    def reopen(self) -> None:
        """Open the file anew by its name, after what was logged so far is written; for log rotation. Returns at once."""

    async def stop(self) -> None:
        """Write out what is left, for at most two seconds."""


class WrittenLog(AccessLog):
    """A log with a target. Lines are kept until the next tick or until there are `HAND_OVER_LINES` of them, in three pieces each:
    joined together with all others they are copied once."""

    __slots__ = ("_clock", "_pieces", "_stamp", "_tick", "_writer")

    enabled = True

    def __init__(self, writer: LogWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._pieces: list[bytes] = []
        self._stamp = stamp(clock.now())
        self._tick: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> int:
        return self._writer.lost

    def hit(self, prefix: bytes, ready_suffix: bytes) -> None:
        pieces = self._pieces
        pieces += (self._stamp, prefix, ready_suffix)
        if len(pieces) >= _PIECES:
            self._hand_over()

    def write(self, entry: Entry) -> None:
        self._pieces += (stamp(self._clock.now()), log_prefix(entry.client), _rest(entry))
        if len(self._pieces) >= _PIECES:
            self._hand_over()

    def start(self) -> None:
        self._writer.start()
        self._ticked()

    def _ticked(self) -> None:
        self._stamp = stamp(self._clock.now())
        if self._pieces:
            self._hand_over()
        self._tick = asyncio.get_running_loop().call_later(TICK_SECONDS, self._ticked)

    def _hand_over(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._writer.put(b"".join(pieces), len(pieces) // 3)

    def reopen(self) -> None:
        if self._pieces:
            self._hand_over()
        self._writer.reopen()

    async def stop(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        if self._pieces:
            self._hand_over()
        await asyncio.to_thread(self._writer.stop)


def open_access_log(target: str, clock: Clock) -> AccessLog:
    """`target`: "off", "stdout", or the path of a file that lines are appended to. Raises StartError when it cannot be opened."""
    return AccessLog() if target == "off" else WrittenLog(LogWriter.open(target), clock)


def stamp(now: Instant) -> bytes:
    """The begin of a line: RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(now, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f'{{"time":"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z",'.encode()


def _rest(entry: Entry) -> bytes:
    """All members after `client`, in a fixed order; what does not apply is null, so that every line has the same columns."""
    fields = {
        "site": entry.site,
        "method": entry.method,
        "url": entry.url,
        "status": entry.status,
        "bytes": entry.bytes,
        "duration_ms": round(entry.duration_ms, 3),
        "cache": entry.cache,
        "block": entry.block,
        "trace": entry.trace,
        "origin_ms": None if entry.origin_ms is None else round(entry.origin_ms, 3),
    }
    return b"," + _compact(fields)[1:].encode() + b"\n"


# ensure_ascii escapes everything outside of space..~, so control characters, DEL, C1 and line separators among it
_compact: Callable[[object], str] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_text = _compact
