"""A front door with sites of a test's own, and clients that speak TLS by Python's `ssl`.

Owns: what every test of the front door needs. Clients run in threads, so that they may block.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeproxy.clock import Clock, SystemClock
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.tls.contexts import Contexts, TlsPolicy
from edgeproxy.tls.dispatch import Chooser, Directory, Dispatch, Served
from edgeproxy.tls.front import FrontDoor, FrontSettings
from edgeproxy.tls.handshakes import Handshake
from edgeproxy.tls.openssl import find_openssl
from edgeproxy.tls.tickets import TicketKeys
from tests.support.certificates import TestCertificate, authority, certificate
from tests.support.serving import PATIENCE, RecordingHandler, until

PLAIN_POLICY = TlsPolicy(http2=False)


def site(*names: str, policy: TlsPolicy = PLAIN_POLICY, scope: str = "", served: TestCertificate | None = None) -> Served:
    """A site with a certificate for `names`, called by its first name."""
    return Served(served or certificate(*names), policy, scope or names[0])


def mutual(*, required: bool = True) -> TlsPolicy:
    """A policy that asks for client certificates of the test CA."""
    return TlsPolicy(client_ca=authority().pem, client_auth="required" if required else "optional", http2=False)


@dataclass
class Door:
    """A running front door on 127.0.0.1."""

    front: FrontDoor
    directory: Directory
    handler: RecordingHandler
    handshakes: list[Handshake] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.front.addresses[0].rpartition(":")[2])

    async def fetch(self, name: str | None, **options: Any) -> "Seen":
        """`fetch` from a thread."""
        return await asyncio.to_thread(fetch, self.port, name, **options)

    async def said(self, data: bytes, *, end: bool = False) -> bytes:
        """What a client gets that sends `data` and then reads to the end. Raises ConnectionError for a reset."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()


def tickets_of(secret: bytes, clock: Clock | None = None) -> TicketKeys:
    """Ticket keys that another process with the same secret would have too."""
    clock = clock or SystemClock()
    return TicketKeys(secret, int(clock.seconds()) // (12 * 3600), clock)


@contextlib.asynccontextmanager
async def front_door(
    entries: Mapping[str, Served | None],
    *,
    default: Served | None = None,
    settings: FrontSettings | None = None,
    tickets: TicketKeys | None = None,
    native: bool = True,
    choose: Callable[[Dispatch], Chooser] | None = None,
    handler: RecordingHandler | None = None,
    serving: ServingSettings | None = None,
    address: str = "127.0.0.1:0",
    **dispatch: Any,
) -> AsyncIterator[Door]:
    """A front door for `entries`; without `native` nothing of OpenSSL is used but what `ssl` offers."""
    clock = SystemClock()
    handler = handler or RecordingHandler()
    directory = Directory(entries, default)
    contexts = Contexts(tickets or TicketKeys.temporary(clock), find_openssl(wanted=native))
    dispatcher = Dispatch(directory, contexts, **dispatch)
    connections = Connections(handler, serving or ServingSettings(), clock, scheme="https")
    handshakes: list[Handshake] = []

    def make(handshake: Handshake) -> asyncio.Protocol:
        handshakes.append(handshake)
        return Http1Connection(connections, handshake.peer)

    chooser = choose(dispatcher) if choose is not None else dispatcher
    front = FrontDoor(chooser, make, settings or FrontSettings(), clock, connections=connections)
    await front.start([address])
    try:
        yield Door(front, directory, handler, handshakes)
    finally:
        await front.close()
        await until(lambda: len(connections) == 0 and not front._tasks)


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection as its client saw it."""

    status: int
    body: bytes
    version: str
    cipher: str
    alpn: str | None
    resumed: bool
    session: ssl.SSLSession | None
    serial: int


def client_context(
    *, alpn: tuple[str, ...] = (), maximum: ssl.TLSVersion | None = None, own: TestCertificate | None = None
) -> ssl.SSLContext:
    """A client that trusts the test CA."""
    context = authority().client_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if maximum is not None:
        context.minimum_version = min(maximum, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = maximum
    if own is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "client.pem")
            path.write_bytes(own.key + own.chain)
            context.load_cert_chain(path)
    return context


def fetch(
    port: int,
    name: str | None,
    *,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    target: str = "/ready",
    host: str | None = None,
    address: str = "127.0.0.1",
    check_name: bool = True,
) -> Seen:
    """One verified HTTP/1.1 request over TLS. Raises what `ssl` and sockets raise."""
    context = context or client_context()
    if name is None or not check_name:
        context.check_hostname = False
    with (
        socket.create_connection((address, port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=name, session=session) as secure,
    ):
        secure.sendall(f"GET {target} HTTP/1.1\r\nHost: {host or name or 'a.test'}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := secure.recv(65536):
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        certificate = secure.getpeercert() or {}
        return Seen(
            int(head.split(b" ")[1]),
            body,
            secure.version() or "",
            (secure.cipher() or ("",))[0],
            secure.selected_alpn_protocol(),
            bool(secure.session_reused),
            secure.session,
            int(str(certificate.get("serialNumber", "0")), 16),
        )


def hello_bytes(name: str | None, *, alpn: tuple[str, ...] = (), maximum: ssl.TLSVersion | None = None) -> bytes:
    """The first flight of OpenSSL as a client."""
    context = client_context(alpn=alpn, maximum=maximum)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class BioClient:
    """TLS over a connection whose bytes the test moves itself."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str | None, context: ssl.SSLContext
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.check_hostname = name is not None
        self.secure = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def first_flight(self) -> bytes:
        """The hello, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.secure.do_handshake()
        return self.outgoing.read()

    async def do(self, step: Callable[[], Any]) -> Any:
        """Carry out `step` of `self.secure`, sending and receiving what it needs. Raises what `ssl` raises; EOFError."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    self.writer.write(self.outgoing.read())
                    data = await self.reader.read(65536)
                    if not data:
                        raise EOFError("the server ended the connection") from None
                    self.incoming.write(data)
                finally:
                    if self.outgoing.pending:
                        self.writer.write(self.outgoing.read())

    async def get(self, target: str = "/ready") -> bytes:
        """One request on the connection; the head and body of its answer as they come."""
        self.secure.write(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        answer: bytes = await self.do(lambda: self.secure.read(65536))
        return answer


@contextlib.asynccontextmanager
async def bio_client(port: int, name: str | None, context: ssl.SSLContext | None = None) -> AsyncIterator[BioClient]:
    """A connection on which nothing is sent yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield BioClient(reader, writer, name, context or client_context())
    finally:
        writer.close()
