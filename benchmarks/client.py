"""A small HTTP client for preparing and checking a load test; the load itself is wrk's."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Got:
    """One response. Field names are lower case; of repeated ones the last counts."""

    status: int
    fields: dict[str, str]
    body: bytes


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, lines: Sequence[str]) -> Got:
    extra = "".join(f"{line}\r\n" for line in lines)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench.example\r\n{extra}\r\n".encode("ascii"))
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


async def get(port: int, path: str, *lines: str) -> Got:
    """One GET on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        return await asyncio.wait_for(_exchange(reader, writer, path, lines), 30)
    finally:
        writer.close()


async def get_all(port: int, paths: Iterable[str], connections: int = 16) -> int:
    """GET every path once over a few connections; how many answered 200."""
    waiting = iter(paths)

    async def some() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        good = 0
        try:
            for path in waiting:
                good += (await asyncio.wait_for(_exchange(reader, writer, path, ()), 30)).status == 200
        finally:
            writer.close()
        return good

    return sum(await asyncio.gather(*(some() for _ in range(connections))))


async def get_at_once(port: int, path: str, clients: int) -> list[Got]:
    """The same GET from many clients: all connected first, then all asking at once."""
    streams = [await asyncio.open_connection("127.0.0.1", port, limit=1 << 20) for _ in range(clients)]
    try:
        return list(await asyncio.wait_for(asyncio.gather(*(_exchange(*stream, path, ()) for stream in streams)), 60))
    finally:
        for _, writer in streams:
            writer.close()


async def until_ready(port: int, path: str, seconds: float = 20.0) -> None:
    """Return when `path` answers 200; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if (await get(port, path)).status == 200:
                    return
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.05)
