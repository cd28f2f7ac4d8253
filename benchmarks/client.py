"""A small HTTP client for preparing and checking a load test; the load itself is that of `benchmarks.tools`.

With a context it speaks TLS to the benchmark's host, verifies its certificate, and insists on the protocol that it offered.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

from benchmarks.authority import HOST


@dataclass(frozen=True, slots=True)
class Got:
    """One response. Field names are lower case; of repeated ones the last counts."""

    status: int
    fields: dict[str, str]
    body: bytes


async def _open(port: int, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = HOST if tls else None
    return await asyncio.open_connection("127.0.0.1", port, limit=1 << 20, ssl=tls, server_hostname=name)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, lines: Sequence[str]) -> Got:
    extra = "".join(f"{line}\r\n" for line in lines)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{extra}\r\n".encode("ascii"))
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if status == 304:
        return Got(status, fields, b"")
    if "chunked" in fields.get("transfer-encoding", ""):
        return Got(status, fields, await _chunks(reader))
    return Got(status, fields, await reader.readexactly(int(fields["content-length"])))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(pieces)


async def get(port: int, path: str, *lines: str, tls: ssl.SSLContext | None = None) -> Got:
    """One GET on a connection of its own."""
    reader, writer = await _open(port, tls)
    try:
        return await asyncio.wait_for(_exchange(reader, writer, path, lines), 30)
    finally:
        writer.close()


async def get_http2(port: int, path: str, tls: ssl.SSLContext) -> Got:
    """One GET over HTTP/2 on a connection of its own. Raises ConnectionError when it is not spoken, or no whole answer comes."""
    reader, writer = await _open(port, tls)
    try:
        spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        if spoken != "h2":
            raise ConnectionError(f"ALPN settled on {spoken}, not on h2")
        return await asyncio.wait_for(_exchange_http2(reader, writer, path), 30)
    finally:
        writer.close()


async def _exchange_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> Got:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    connection.initiate_connection()
    request = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
    connection.send_headers(1, request, end_stream=True)
    fields: dict[str, str] = {}
    body = b""
    while True:
        writer.write(connection.data_to_send())
        received = await reader.read(65_536)
        if not received:
            raise ConnectionError("the server closed before its answer was whole")
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                fields = {str(name): str(value) for name, value in event.headers or ()}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, h2.events.StreamReset):
                raise ConnectionError(f"the server reset the stream: {event.error_code}")
            elif isinstance(event, h2.events.StreamEnded):
                return Got(int(fields.pop(":status")), fields, body)


async def get_all(port: int, paths: Sequence[str], connections: int = 16, *, tls: ssl.SSLContext | None = None) -> int:
    """GET every path once over a few connections; how many answered 200."""
    waiting = iter(paths)

    async def some() -> int:
        reader, writer = await _open(port, tls)
        good = 0
        try:
            for path in waiting:
                good += (await asyncio.wait_for(_exchange(reader, writer, path, ()), 30)).status == 200
        finally:
            writer.close()
        return good

    return sum(await asyncio.gather(*(some() for _ in range(min(connections, len(paths))))))


async def get_at_once(port: int, path: str, clients: int) -> list[Got]:
    """The same GET from many clients: all connected first, then all asking at once."""
    streams = [await asyncio.open_connection("127.0.0.1", port, limit=1 << 20) for _ in range(clients)]
    try:
        return list(await asyncio.wait_for(asyncio.gather(*(_exchange(*stream, path, ()) for stream in streams)), 60))
    finally:
        for _, writer in streams:
            writer.close()


async def until_ready(port: int, path: str, seconds: float = 20.0, *, tls: ssl.SSLContext | None = None) -> None:
    """Return when `path` answers 200; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if (await get(port, path, tls=tls)).status == 200:
                    return
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.05)
