"""An edge's two ports as an authority sees them, answering from `Challenges`: plain asyncio servers on loopback."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from edgeproxy.tls.challenges import Challenges


@contextlib.asynccontextmanager
async def http_edge(challenges: Challenges | None, port: int = 0) -> AsyncIterator[int]:
    """Answers tokens of `challenges`, or everything with a page of somebody else. Gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            token = head.split(b" ")[1].decode().rpartition("/")[2]
            body = challenges.http_answer(token) if challenges is not None else None
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (body or b"<h1>a router</h1>"))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def tls_edge(challenges: Challenges, folder: Path, port: int = 0) -> AsyncIterator[int]:
    """Shows the challenge's certificate for the name that is asked for. Gives its port."""

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_alpn_protocols(["acme-tls/1"])
        return made

    def choose(connection: ssl.SSLObject, sni: str, _: ssl.SSLContext) -> None:
        if found := challenges.alpn_certificate(sni):
            pair = folder / "pair.pem"
            pair.write_bytes(found[1] + found[0])
            chosen = context()
            chosen.load_cert_chain(pair)
            connection.context = chosen

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    served = context()
    served.sni_callback = choose
    server = await asyncio.start_server(nothing, "127.0.0.1", port, ssl=served)
    async with server:
        yield server.sockets[0].getsockname()[1]
