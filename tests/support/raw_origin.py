"""An origin made of a bare socket: says exactly the bytes it is told to, and keeps those it got. TCP, TLS or a Unix socket;
port 0 on 127.0.0.1."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

CERTS = Path(__file__).parent / "certs"
"""An authority and a certificate for origin.test alone, valid for a century; their keys protect nothing."""

AUTHORITY = CERTS / "authority.pem"


class RawConnection:
    """One accepted connection. `number` counts from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.heads: list[bytes] = []
        self.ended = asyncio.Event()
        """Set when `serve` returned for this connection."""

    async def read_head(self) -> bytes:
        """The next request head with its empty line; b"" when the client closed first."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.heads.append(head)
        return head

    async def send(self, data: bytes) -> None:
        """Write and wait for the client to take it; a client that is gone is no error."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def closed_by_client(self) -> bytes:
        """Wait until the client closes or resets; what it sent until then."""
        try:
            return await self.reader.read(-1)
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Serve = Callable[[RawConnection], Awaitable[None]]


class RawOrigin:
    """`async with RawOrigin(serve) as origin`: `serve` runs for each connection, which is closed when it returns."""

    def __init__(self, serve: Serve, *, tls: ssl.SSLContext | None = None, unix: Path | None = None, port: int = 0) -> None:
        self._serve = serve
        self._tls = tls
        self._unix = unix
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.connections: list[RawConnection] = []

    @property
    def url(self) -> str:
        if self._unix is not None:
            return f"unix:{self._unix}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def heads(self) -> list[bytes]:
        """All request heads, by connection."""
        return [head for connection in self.connections for head in connection.heads]

    async def __aenter__(self) -> Self:
        if self._unix is not None:
            self._server = await asyncio.start_unix_server(self._accepted, str(self._unix))
        else:
            self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            with contextlib.suppress(AttributeError):  # asyncio's transport has no loop any more once the connection is lost
                connection.writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RawConnection(len(self.connections) + 1, reader, writer)
        self.connections.append(connection)
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: RawConnection) -> None:
        try:
            await self._serve(connection)
        finally:
            connection.ended.set()
            connection.writer.close()


def answer(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole, correct answer."""
    return b"".join(
        (b"HTTP/1.1 ", status, b"\r\n", *(field + b"\r\n" for field in fields), b"Content-Length: %d\r\n\r\n" % len(body), body)
    )


def always(data: bytes) -> Serve:
    """Serve `data` for each request, keeping the connection."""

    async def serve(connection: RawConnection) -> None:
        while await connection.read_head():
            await connection.send(data)

    return serve


def in_turn(*answers: bytes) -> Serve:
    """Serve `answers` one for each request, over all connections; then close."""
    left = list(answers)

    async def serve(connection: RawConnection) -> None:
        while left and await connection.read_head():
            await connection.send(left.pop(0))

    return serve


def free_port() -> int:
    """A port that nobody listens on, for now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def reads_then_closes(connection: RawConnection) -> None:
    """One good answer; the next request on the same connection is read and never answered, as when an idle time-out is on
    its way."""
    if await connection.read_head():
        await connection.send(answer(b"ok"))
        await connection.read_head()


class TlsServer:
    """A TLS context that keeps the names clients asked for."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(CERTS / "origin_test.pem")
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.context.sni_callback = lambda _sock, name, _context: self.names.append(name)
