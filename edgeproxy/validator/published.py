"""The blocks of a log, fetched from where it publishes them (C2SP tlog-tiles, entry bundles).

Owns: the requests, and their bounds in bytes and time. Must not believe what comes: who asks hashes it up to a signed root.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator

import aiohttp

from edgeproxy.errors import EdgeError, Fault, ProofRefused
from edgeproxy.ledger.tiles import MAX_ENTRY, WIDTH, Tile, decode_bundle

CONNECT_SECONDS = 3.0
BUNDLE_SECONDS = 10.0
MAX_BUNDLE = WIDTH * (MAX_ENTRY + 2)
AT_ONCE = 4
"""Bundles asked for together."""

_PIECE = 64 << 10


class Unpublished(EdgeError):
    """The log does not publish its blocks, or not yet, or cannot be reached; asking again makes sense."""

    fault = Fault.ORIGIN
    status = 503
    may_retry = True


class Published:
    """One log at `url`, the prefix of its tiles. `tls` None: the system's authorities."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.url = url.rstrip("/")
        self.received = 0
        """Bytes of bundles so far."""
        self._session = session
        self._tls: ssl.SSLContext | bool = True if tls is None else tls

    async def blocks(self, start: int, end: int) -> AsyncGenerator[list[bytes], None]:
        """The blocks [start, end) in order, some at a time. Raises `Unpublished`."""
        # A range and no list: a stranger may claim any size; what is not there is found out when the first of it is asked for.
        bundles = range(start // WIDTH, -(-end // WIDTH))
        for first in range(0, len(bundles), AT_ONCE):
            group = bundles[first : first + AT_ONCE]
            for index, entries in zip(group, await asyncio.gather(*(self._bundle(each, end) for each in group)), strict=True):
                yield entries[max(0, start - index * WIDTH) :]

    async def _bundle(self, index: int, end: int) -> list[bytes]:
        """The blocks of one bundle, up to `end`."""
        width = min(WIDTH, end - index * WIDTH)
        tile = Tile(None, index, width)
        data = await self._get(tile.path)
        if data is None and width < WIDTH:
            # A log may drop what was a part once the whole is there.
            data, tile = await self._get(Tile(None, index).path), Tile(None, index)
        if data is None:
            raise Unpublished("the log does not publish these blocks yet", bundle=index, width=width)
        try:
            return decode_bundle(data, tile.width)[:width]
        except ProofRefused as error:
            raise Unpublished("the log publishes what is no entry bundle", bundle=index, why=error.text) from None

    async def _get(self, path: str) -> bytes | None:
        timeout = aiohttp.ClientTimeout(total=BUNDLE_SECONDS, connect=CONNECT_SECONDS)
        url = f"{self.url}/{path}"
        try:
            async with self._session.get(url, ssl=self._tls, allow_redirects=False, timeout=timeout) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise Unpublished("the log answers with an error", status=response.status)
                data = bytearray()
                # Counted after decompression: a small answer may stand for a large one.
                async for piece in response.content.iter_chunked(_PIECE):
                    data += piece
                    if len(data) > MAX_BUNDLE:
                        raise Unpublished("the log sends more than a bundle can have", most=MAX_BUNDLE)
                self.received += len(data)
                return bytes(data)
        except TimeoutError:
            raise Unpublished("the log does not answer in time", url=self.url) from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Unpublished("the log cannot be reached", url=self.url, why=type(error).__name__) from error
