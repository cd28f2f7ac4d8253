"""A listener with a small handler of our own, and a client that reads answers strictly, for tests over real sockets.

Owns: what every serving test needs. Must not use the edge's own parsers on the client's side.
"""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from edgeproxy.clock import Clock, SystemClock
from edgeproxy.errors import RequestRefused
from edgeproxy.serving.listener import Listener
from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Answer, Peer, ReadyParts, RefusalParts, Stream
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.hpack import encode_fields, encode_status
from edgeproxy.wire.http1 import with_target
from edgeproxy.wire.messages import Request

PATIENCE = 30.0
"""Seconds after which a wait of a test has failed."""

_LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def on_loops(*names: str) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run an async test on the event loops called `names`."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        def run(*, loop_name: str, **arguments: Any) -> None:
            with asyncio.Runner(loop_factory=_LOOPS[loop_name]) as runner:
                runner.run(asyncio.wait_for(test(**arguments), 60))

        functools.update_wrapper(run, test)
        signature = inspect.signature(test)
        extra = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("loop_name", names)(run)

    return decorate


on_both_loops = on_loops("uvloop", "asyncio")
on_uvloop = on_loops("uvloop")


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as the handler understood it, after its whole body was read."""

    method: str
    target: str
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()


def page(status: int, text: bytes, *, extra: bytes = b"") -> bytes:
    """A whole small answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(text), extra, text)


Way = Callable[[Stream], Awaitable[None]]


@dataclass
class RecordingHandler:
    """Reads each request whole, records it, and answers with what it heard: "METHOD TARGET BODY".

    Targets under /ready are answered at once. `ways` answer their exact target in their own manner. Refusals are recorded too.
    """

    ways: dict[str, Way] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    refused: list[RequestRefused] = field(default_factory=list)
    instants: int = 0
    peers: list[Peer] = field(default_factory=list)

    def instant(self, request: Request, peer: Peer) -> Answer | None:
        if not request.target.startswith("/ready"):
            return None
        self.instants += 1
        self.peers.append(peer)
        self.heard.append(Heard(request.method, request.target))
        text = f"{request.method} {request.target} ".encode()
        whole = page(200, text)
        return whole if request.target != "/ready/pieces" else (whole[: -len(text)], text)

    def instant_like(self, known: Request, target: str, peer: Peer) -> Answer | None:
        return self.instant(with_target(known, target), peer)

    def instant_parts(self, request: Request, peer: Peer) -> ReadyParts | None:
        if self.instant(request, peer) is None:
            return None
        text = f"{request.method} {request.target} ".encode()
        lines = (("content-type", "text/plain"), ("content-length", str(len(text))))
        return ReadyParts(encode_status(200) + encode_fields(lines), b"" if request.method == "HEAD" else text)

    async def answer(self, stream: Stream) -> None:
        self.peers.append(stream.peer)
        request = stream.request
        way = self.ways.get(request.target)
        if way is not None:
            await way(stream)
            return
        body = await read_all(stream)
        self.heard.append(Heard(request.method, request.target, body, stream.trailers.lines))
        text = b"%b %b %b" % (request.method.encode(), request.target.encode(), body)
        await stream.send_head(200, Fields((("Content-Type", "text/plain"),)), len(text))
        await stream.send(text)
        await stream.finish()

    def refuse(self, error: RequestRefused, peer: Peer) -> bytes:
        self.refused.append(error)
        return page(error.status, error.text.encode(), extra=b"Connection: close\r\n")

    def refuse_parts(self, error: RequestRefused, peer: Peer) -> RefusalParts:
        self.refused.append(error)
        return RefusalParts(error.status, Fields(), error.text.encode())


async def read_all(stream: Stream) -> bytes:
    """The whole body of a small request."""
    pieces = []
    while piece := await stream.read():
        pieces.append(piece)
    return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Got:
    """One response as the client reads it."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        return [value for field_name, value in self.fields if field_name.lower() == name.lower()]


class Client:
    """A raw connection and a strict reader of what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, method: str = "GET", *, interim: bool = False) -> Got:
        """The next response, interim ones skipped unless asked for."""
        while True:
            got = await asyncio.wait_for(self._response(method), PATIENCE)
            if interim or got.status >= 200 or got.status == 101:
                return got

    async def _response(self, method: str) -> Got:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status_text, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        status = int(status_text)
        fields = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        got = Got(status, fields, b"")
        lengths, codings = got.all("content-length"), got.all("transfer-encoding")
        assert not (lengths and codings)
        assert len(lengths) <= 1
        if method == "HEAD" or status < 200 or status in (204, 304):
            return got
        if codings == ["chunked"]:
            body, trailers = await self._chunked()
            return Got(status, fields, body, trailers)
        if lengths:
            return Got(status, fields, await self.reader.readexactly(int(lengths[0])))
        assert got.all("connection") == ["close"]
        return Got(status, fields, await self.reader.read())

    async def _chunked(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        pieces = []
        while size := int(await self._line(), 16):
            pieces.append(await self.reader.readexactly(size))
            assert await self._line() == ""
        trailers = []
        while line := await self._line():
            name, _, value = line.partition(": ")
            trailers.append((name, value))
        return b"".join(pieces), tuple(trailers)

    async def _line(self) -> str:
        return (await self.reader.readuntil(b"\r\n"))[:-2].decode("latin-1")

    async def rest(self) -> bytes:
        """Everything up to the server's end."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Served:
    """A running listener."""

    listener: Listener
    handler: RecordingHandler

    @property
    def port(self) -> int:
        return int(self.listener.addresses[0].rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        client = Client(reader, writer)
        try:
            yield client
        finally:
            await client.close()

    async def settled(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`."""
        await until(condition)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`, looking often, for at most `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what the code under test does sets no event
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def serving(
    handler: RecordingHandler | None = None, settings: ServingSettings | None = None, clock: Clock | None = None
) -> AsyncIterator[Served]:
    """A listener on a free port of 127.0.0.1, closed at the end."""
    handler = handler or RecordingHandler()
    listener = Listener(handler, settings or ServingSettings(), clock or SystemClock())
    await listener.start(["127.0.0.1:0"])
    try:
        yield Served(listener, handler)
    finally:
        await listener.close()
        await until(lambda: len(listener.connections) == 0)


def get(target: str, *fields: bytes) -> bytes:
    """A plain GET."""
    return b"GET %b HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (target.encode(), b"".join(line + b"\r\n" for line in fields))


def bounded(**bounds: int) -> ServingSettings:
    """Settings with bounds of their own."""
    return ServingSettings(bounds=Bounds(**bounds))
