"""The origin of the load tests: as little as possible, so that what is measured is the proxy in front of it.

    /b/SIZE?...      SIZE bytes of text, fresh for an hour         /b/SIZE?delay=500   the same after 500 ms
    /z/NUMBER        1 to 20 KB, by the number, fresh for an hour  /n/SIZE/ANYTHING    SIZE bytes, no-store
    /count           requests so far, this one not counted

`python -m benchmarks.origin PORT`
"""

import asyncio
import sys
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qs

import uvloop

ETAG = '"as-it-was"'
_LAST_MODIFIED = "Sat, 01 Nov 2025 00:00:00 GMT"


def object_size(number: int) -> int:
    """Bytes of object `number` of the Zipf mix: 1 to 20 KB."""
    return 1024 + number * 7919 % 19_457


@lru_cache(maxsize=4096)
def text(size: int) -> bytes:
    """`size` bytes that look like a page."""
    lines = (b'<p class="line">%06d is the number of this line of the page.</p>\n' % number for number in range(size // 60 + 1))
    return b"".join(lines)[:size]


@lru_cache(maxsize=4096)
def answer(size: int, cache_control: str, content_type: str = "text/html; charset=utf-8") -> bytes:
    """A whole response, without `Date`: a cache takes the time at which it came (RFC 9110 section 6.6.1)."""
    head = (
        f"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n"
        f"Cache-Control: {cache_control}\r\nETag: {ETAG}\r\nLast-Modified: {_LAST_MODIFIED}\r\n\r\n"
    )
    return head.encode("ascii") + text(size)


class Origin(asyncio.Protocol):
    """Reads heads only: nothing here sends it a body."""

    requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own type, no subclass
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._answer(head.split(b" ", 2)[1].decode("ascii"), is_head=head.startswith(b"HEAD "))

    def _answer(self, target: str, *, is_head: bool) -> None:
        path, _, query = target.partition("?")
        parts = path.split("/")
        if parts[1] == "count":
            body = str(Origin.requests).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            return
        Origin.requests += 1
        if parts[1] == "z":
            response = answer(object_size(int(parts[2])), "max-age=3600")
        elif parts[1] == "n":
            response = answer(int(parts[2]), "no-store")
        else:
            response = answer(int(parts[2]), "max-age=3600")
        if is_head:
            response = response[: response.index(b"\r\n\r\n") + 4]
        delay = int(parse_qs(query)["delay"][0]) / 1000 if "delay=" in query else 0.0
        if delay:
            asyncio.get_running_loop().call_later(delay, self._transport.write, response)
        else:
            self._transport.write(response)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
