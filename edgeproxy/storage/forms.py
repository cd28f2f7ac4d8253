"""Coded forms of bodies that are kept in identity coding: br, zstd and gzip, made in threads, off the hot path.

Owns: which bodies are worth it, and the work. Must not decide which form a client gets, nor keep any form. The same body always
gives the same bytes, so that a form's validator means what it says on every node.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import brotli
import zstandard

from edgeproxy.caching.model import Digest

log = logging.getLogger("edgeproxy.forms")

SMALLEST = 512
"""Bytes; below this a form saves less than its header lines cost."""

LARGEST = 2 << 20
WORTH_IT = 0.9
"""A form larger than this share of its body is dropped."""

THREADS = 2
MAX_WAITING = 256
MAX_WAITING_BYTES = 64 << 20

BROTLI_QUALITY = 5
ZSTD_LEVEL = 5
GZIP_LEVEL = 6

_TYPES = frozenset(
    (
        "application/geo+json",
        "application/graphql",
        "application/graphql-response+json",
        "application/javascript",
        "application/json",
        "application/ld+json",
        "application/manifest+json",
        "application/rtf",
        "application/sql",
        "application/toml",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/xhtml+xml",
        "application/xml",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/vnd.microsoft.icon",
        "image/x-icon",
    )
)
_STREAMS = frozenset(("text/event-stream",))
_SUFFIXES = ("+json", "+xml", "+yaml")

Forms = dict[str, bytes]
"""Coding to bytes; only codings that are worth it."""

Ready = Callable[[Forms], None]


def is_text_like(content_type: str) -> bool:
    """Whether bodies of this media type (parameters allowed) get smaller by coding them."""
    media = content_type.partition(";")[0].strip().lower()
    return media not in _STREAMS and (media.startswith("text/") or media in _TYPES or media.endswith(_SUFFIXES))


def br(body: bytes) -> bytes:
    """RFC 7932."""
    coded: bytes = brotli.compress(body, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY)
    return coded


def zstd(body: bytes) -> bytes:
    """RFC 8878; one frame with its size, no checksum. The window is the body's size, so below the 8 MB of RFC 9659."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compress(body)


def gzip(body: bytes) -> bytes:
    """RFC 1952; without name and time, so that it depends on nothing but `body`."""
    coder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    return coder.compress(body) + coder.flush()


CODERS: Mapping[str, Callable[[bytes], bytes]] = {"br": br, "zstd": zstd, "gzip": gzip}


def make_forms(body: bytes) -> Forms:
    """All forms of `body` that are at least a tenth smaller than it."""
    limit = int(len(body) * WORTH_IT)
    made = {coding: coder(body) for coding, coder in CODERS.items()}
    return {coding: data for coding, data in made.items() if len(data) <= limit}


class FormMaker:
    """Makes forms in a few threads. A full queue skips: the body then goes out in identity coding, and may be asked for again."""

    def __init__(
        self, threads: int = THREADS, max_waiting: int = MAX_WAITING, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, "forms")
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: dict[Digest, list[Ready]] = {}
        self._is_closed = False
        self.waiting_bytes = 0
        self.made = 0
        self.skipped = 0
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<FormMaker waiting={len(self._waiting)} made={self.made} skipped={self.skipped} dropped={self.dropped}>"

    @property
    def waiting(self) -> int:
        """Bodies whose forms are asked for and not made yet."""
        return len(self._waiting)

    def is_wanted(self, content_type: str, length: int) -> bool:
        """Whether forms of such a body are made at all."""
        return SMALLEST <= length <= LARGEST and is_text_like(content_type)

    def request(self, key: Digest, body: bytes, content_type: str, callback: Ready) -> bool:
        """Have `callback(forms)` called in the event loop when the forms of `body` are made; False when nothing will be.

        `key` names the body: who asks for the same one meanwhile shares the work. `callback` gets {} when no form is worth it.
        """
        if self._is_closed or not self.is_wanted(content_type, len(body)):
            return False
        others = self._waiting.get(key)
        if others is not None:
            others.append(callback)
            return True
        if len(self._waiting) >= self._max_waiting or self.waiting_bytes + len(body) > self._max_waiting_bytes:
            self.skipped += 1
            return False
        self._waiting[key] = [callback]
        self.waiting_bytes += len(body)
        work = asyncio.get_running_loop().run_in_executor(self._pool, make_forms, body)
        work.add_done_callback(partial(self._ready, key, len(body)))
        return True

    def _ready(self, key: Digest, size: int, done: "asyncio.Future[Forms]") -> None:
        callbacks = self._waiting.pop(key)
        self.waiting_bytes -= size
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            # Nothing but memory can fail here; the body goes out as it is.
            log.error("forms of a body could not be made: %r", error)
            self.skipped += 1
            return
        forms = done.result()
        self.made += len(forms)
        self.dropped += len(CODERS) - len(forms)
        for callback in callbacks:
            callback(forms)

    async def close(self) -> None:
        """Make no more; what waits is dropped, what is being made is waited for."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, partial(self._pool.shutdown, wait=True, cancel_futures=True))
