"""HTTP/2 for tests: a listener over TLS, and a client on the library `h2`, which is not ours.

Owns: the client's side of a connection, strict where the library is, and raw frames for what the library would never send.
"""

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from edgeproxy.clock import Clock, SystemClock
from edgeproxy.serving.http2 import Http2Connection
from edgeproxy.serving.listener import Listener
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler, Stream
from tests.support.serving import PATIENCE, RecordingHandler, until

CERTIFICATE = Path(__file__).parent / "certs" / "origin_test.pem"

Line = tuple[bytes, bytes]


def server_context() -> ssl.SSLContext:
    """TLS that offers h2 and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.set_alpn_protocols(["h2"])
    return context


def client_context(*protocols: str) -> ssl.SSLContext:
    """A client that checks nothing but speaks `protocols` (h2 when none are named)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols) or ["h2"])
    return context


@dataclass
class Got:
    """What came on one stream, so far."""

    lines: list[Line] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    size: int = 0
    """Bytes of the body, also where they were not kept."""
    trailers: list[Line] = field(default_factory=list)
    interim: list[list[Line]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(dict(self.lines)[b":status"]) if self.lines else 0

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.lines if key == name.encode()]

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """One connection. Reads on its own; `settled` waits for whatever is to be seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, takes: bool = True) -> None:
        self.reader = reader
        self.writer = writer
        self.takes = takes
        """Whether windows are opened as data comes."""
        self.keeps = True
        """Whether bodies are kept, or only counted."""
        # Malformed requests have to get out, and what the edge sends is judged.
        config = h2.config.H2Configuration(
            client_side=True, header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.streams: dict[int, Got] = {}
        self.goaways: list[tuple[int, int]] = []
        """(code, last stream)"""
        self.acknowledged = False
        self.closed = False
        self.raw = bytearray()
        self.seen: list[tuple[int, int, int, bytes]] = []
        """Frames as they came: type, flags, stream, the first bytes of the payload."""
        self._news = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def start(self, settings: dict[int, int] | None = None) -> None:
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values={2: 0, **(settings or {})})
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if not self.writer.is_closing():
            self.writer.write(self.h2.data_to_send())

    def send(self, raw: bytes) -> None:
        """Bytes past the library."""
        self.writer.write(raw)

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(65536):
                self._take(data)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            self.closed = True
            self._news.set()

    def _take(self, data: bytes) -> None:
        # Past a GOAWAY the library takes nothing more, where the protocol goes on: it is read by hand and kept from it.
        for frame in self._frames(data):
            kind, payload = frame[3], frame[9:]
            self.seen.append((kind, frame[4], int.from_bytes(frame[5:9], "big"), payload[:16]))
            if kind == 7:
                self.goaways.append((int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big")))
                continue
            if self.broken:
                continue
            try:
                events = self.h2.receive_data(frame)
            except h2.exceptions.ProtocolError as error:
                if not self.goaways:
                    raise AssertionError(f"the library does not take this: {self.seen[-1]}") from error
                continue
            for event in events:
                self._note(event)
        with contextlib.suppress(ConnectionError):
            self.flush()
        self._news.set()

    broken = False
    """Whether the test speaks in raw frames only, so that the library has no part in it; then look at `seen`."""

    def _frames(self, data: bytes) -> list[bytes]:
        self.raw += data
        out = []
        while len(self.raw) >= 9 and len(self.raw) >= 9 + (size := int.from_bytes(self.raw[:3], "big")):
            out.append(bytes(self.raw[: 9 + size]))
            del self.raw[: 9 + size]
        return out

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._of(event.stream_id).lines = list(event.headers)
            case h2.events.InformationalResponseReceived():
                self._of(event.stream_id).interim.append(list(event.headers))
            case h2.events.TrailersReceived():
                self._of(event.stream_id).trailers = list(event.headers)
            case h2.events.DataReceived():
                got = self._of(event.stream_id)
                got.size += len(event.data)
                if self.keeps:
                    got.body += event.data
                if self.takes:
                    with contextlib.suppress(h2.exceptions.ProtocolError):
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._of(event.stream_id).ended = True
            case h2.events.StreamReset():
                got = self._of(event.stream_id)
                if got.reset is None and event.remote_reset:
                    got.reset = int(event.error_code)
            case h2.events.SettingsAcknowledged():
                self.acknowledged = True

    def _of(self, stream: int) -> Got:
        return self.streams.setdefault(stream, Got())

    def request(self, lines: Iterable[Line], *, ended: bool = True) -> int:
        """Open a stream; returns its number."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = Got()
        self.h2.send_headers(stream, list(lines), end_stream=ended)
        self.flush()
        return stream

    def get(self, path: str, *more: Line, method: str = "GET") -> int:
        return self.request((*head(path, method=method), *more))

    async def got(self, stream: int) -> Got:
        """The answer, once it is over; in whatever way."""
        await self.settled(lambda: self.streams[stream].over or self.closed)
        return self.streams[stream]

    async def ask(self, path: str, *more: Line, method: str = "GET") -> Got:
        return await self.got(self.get(path, *more, method=method))

    async def upload(self, stream: int, data: bytes, *, ended: bool = True) -> None:
        """Send a body as the windows allow."""
        at = 0
        while at < len(data):
            await self.settled(lambda: self.h2.local_flow_control_window(stream) > 0 or self.streams[stream].over)
            if self.streams[stream].over:
                return
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data) - at)
            self.h2.send_data(stream, data[at : at + size])
            at += size
            self.flush()
            await self.writer.drain()
        if ended:
            self.h2.end_stream(stream)
            self.flush()

    async def settled(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until `condition` holds, asked whenever something arrives."""
        async with asyncio.timeout(patience):
            while not condition():
                if self.closed:
                    raise AssertionError(f"connection closed; {self.goaways}")
                self._news.clear()
                await self._news.wait()

    async def ended(self, patience: float = PATIENCE) -> None:
        """Wait for the end of the connection."""
        async with asyncio.timeout(patience):
            await asyncio.wait([self._reading])

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._reading


def head(path: str, *, method: str = "GET", authority: str = "a.test", scheme: str = "https") -> tuple[Line, ...]:
    """The pseudo-header fields of a request."""
    return (
        (b":method", method.encode()),
        (b":scheme", scheme.encode()),
        (b":authority", authority.encode()),
        (b":path", path.encode()),
    )


@dataclass
class Served2:
    """A running listener for HTTP/2."""

    listener: Listener
    handler: Handler

    @property
    def port(self) -> int:
        return int(self.listener.addresses[0].rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def client(
        self, *, settings: dict[int, int] | None = None, takes: bool = True, starts: bool = True
    ) -> AsyncIterator[Http2Client]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=client_context(), server_hostname="origin.test", limit=2**20
        )
        client = Http2Client(reader, writer, takes=takes)
        client.broken = not starts
        if starts:
            client.start(settings)
        try:
            yield client
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def serving2(
    handler: Handler | None = None, settings: ServingSettings | None = None, clock: Clock | None = None
) -> AsyncIterator[Served2]:
    """An HTTP/2 listener over TLS on a free port of 127.0.0.1, closed at the end."""
    handler = handler or RecordingHandler()
    context = server_context()
    listener = Listener(handler, settings or ServingSettings(), clock or SystemClock(), tls=context, make=Http2Connection)
    await listener.start(["127.0.0.1:0"])
    try:
        yield Served2(listener, handler)
    finally:
        await listener.close()
        await until(lambda: len(listener.connections) == 0)


def post(path: str, *more: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The head of a POST."""
    return (*head(path, method="POST"), *more)


def websocket(path: str) -> tuple[tuple[bytes, bytes], ...]:
    """The head that asks for a WebSocket (RFC 8441 section 5)."""
    return (
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", path.encode()),
        (b"sec-websocket-version", b"13"),
    )


def accept(stream: Stream) -> str:
    """What a server says to the key of a WebSocket (RFC 6455 section 4.2.2)."""
    key = stream.request.fields.get("sec-websocket-key") or ""
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
