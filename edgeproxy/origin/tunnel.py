"""An upgraded connection to an origin: WebSocket and whatever else Upgrade names (RFC 9110 section 7.8), on a socket of its
own.

Owns: the way up to the 101. Not pooled and not aiohttp's: after the switch the bytes belong to the two ends. When the origin
answers in HTTP instead, the answer is read on the same connection, because asking again would make a second request of one.
Must not copy bytes between the ends; that is the shell's.
"""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, replace

from edgeproxy.clock import Clock
from edgeproxy.errors import (
    OriginConnectTimeout,
    OriginError,
    OriginMalformed,
    OriginRefused,
    OriginReset,
    OriginTimeout,
    OriginTruncated,
    OriginUnresolved,
    OriginUntrusted,
)
from edgeproxy.origin.answer import Answer
from edgeproxy.origin.framing import Delimiter
from edgeproxy.origin.messages import Origin, OriginRequest, OriginResponse, OriginSettings
from edgeproxy.origin.requesthead import encode_request_head
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import parse_response_head
from edgeproxy.wire.messages import ResponseHead

READ_SIZE = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Tunnel:
    """The origin switched protocols: `head` is its 101; what it sent after it is still in `reader`. Whoever takes it closes
    `writer`.

    `reader` holds at most twice the settings' `head_bytes` (plus one read) before it leaves the socket alone;
    `writer.drain()` waits for the origin.
    """

    head: ResponseHead
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    origin: Origin


async def open_tunnel(
    request: OriginRequest, upgrade: str, origin: Origin, tls: ssl.SSLContext | None, settings: OriginSettings, clock: Clock
) -> Tunnel | OriginResponse:
    """Ask `origin` to switch to one of the protocols in `upgrade`: a Tunnel when it does, else its answer as any other
    response.

    1xx responses before are passed over. `request.fields` carry neither Connection nor Upgrade; `request.body` must be None.
    Raises OriginError, and RequestRefused when the request cannot be written.
    """
    asked = replace(request, fields=request.fields.plus(("Connection", "Upgrade"), ("Upgrade", upgrade)))
    head = encode_request_head(asked)
    reader, writer = await _connect(origin, tls, settings)
    try:
        request_time = clock.now()
        writer.write(head)
        answer = await _ask(reader, request, upgrade, settings)
    except OriginError as error:
        error.fields.setdefault("origin", origin.url)
        writer.transport.abort()
        raise
    except BaseException:
        writer.transport.abort()
        raise
    if isinstance(answer, ResponseHead):
        return Tunnel(answer, reader, writer, origin)
    assert answer.head is not None
    assert answer.framing is not None
    return OriginResponse(
        status=answer.head.status,
        fields=answer.head.fields,
        body_length=answer.framing.body_length,
        delimited_by_close=answer.framing.delimiter is Delimiter.CLOSE,
        origin=origin,
        request_time=request_time,
        response_time=clock.now(),
        body=_StreamBody(answer, reader, writer, settings),
    )


async def _connect(
    origin: Origin, tls: ssl.SSLContext | None, settings: OriginSettings
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = origin.address
    limit = settings.head_bytes
    try:
        async with asyncio.timeout(settings.connect_timeout):
            if origin.scheme == "unix":
                return await asyncio.open_unix_connection(host, limit=limit)
            server_name = (origin.server_name or host) if tls is not None else None
            return await asyncio.open_connection(host, port, ssl=tls, server_hostname=server_name, limit=limit)
    except TimeoutError as error:
        raise OriginConnectTimeout("no connection to the origin in time", origin=origin.url) from error
    except (socket.gaierror, UnicodeError) as error:
        raise OriginUnresolved("origin's name has no address", origin=origin.url, cause=error) from error
    except ssl.SSLError as error:
        raise OriginUntrusted("origin's TLS handshake failed", origin=origin.url, cause=error) from error
    except OSError as error:
        raise OriginRefused("no connection to the origin", origin=origin.url, cause=error) from error


async def _ask(
    reader: asyncio.StreamReader, request: OriginRequest, upgrade: str, settings: OriginSettings
) -> ResponseHead | Answer:
    """The head of the 101, or the answer whose head was read."""
    for _ in range(settings.interim_count + 1):
        raw = await _read_head(reader, settings)
        head, _ = parse_response_head(raw)
        if head.status == 101:
            _check_switch(head, upgrade)
            return head
        if head.status >= 200:
            answer = Answer(request.method, settings)
            answer.feed(raw)
            return answer
    raise OriginMalformed("too many interim responses", limit=settings.interim_count)


async def _read_head(reader: asyncio.StreamReader, settings: OriginSettings) -> bytes:
    try:
        async with asyncio.timeout(settings.head_timeout):
            return await reader.readuntil(b"\r\n\r\n")
    except TimeoutError as error:
        raise OriginTimeout("origin sent no response head", waited=settings.head_timeout) from error
    except asyncio.LimitOverrunError as error:
        raise OriginMalformed("response head is too large", limit=settings.head_bytes) from error
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise OriginReset("connection ended before a complete response head", cause=error) from error


def _check_switch(head: ResponseHead, upgrade: str) -> None:
    """The origin must name what it switched to, and it must be among what was asked (RFC 9110 section 15.2.2)."""
    asked = {name.strip(" \t").lower() for name in upgrade.split(",")}
    named = {name.strip(" \t").lower() for name in (head.fields.get("upgrade") or "").split(",")}
    if not named <= asked:
        raise OriginMalformed("response switches to a protocol that was not asked for", upgrade=head.fields.get("upgrade"))


class _StreamBody:
    """The body of an answer that is no 101. Implements `origin.messages.Body`; the connection is closed after it."""

    __slots__ = ("_answer", "_reader", "_settings", "_writer")

    def __init__(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: OriginSettings
    ) -> None:
        self._answer = answer
        self._reader = reader
        self._writer = writer
        self._settings = settings

    @property
    def trailers(self) -> Fields:
        return self._answer.trailers

    @property
    def is_sound(self) -> bool:
        return self._answer.is_sound

    async def read(self) -> bytes:
        answer = self._answer
        while not answer.pieces:
            if answer.ended:
                return b""
            await self._fill(answer)
        return answer.pieces.popleft()

    async def _fill(self, answer: Answer) -> None:
        seconds = self._settings.body_timeout
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(READ_SIZE)
        except TimeoutError as error:
            raise OriginTimeout("origin fell silent inside the response body", waited=seconds) from error
        except ConnectionError as error:
            raise OriginTruncated("connection was reset inside the response body", cause=error) from error
        if data:
            answer.feed(data)
        else:
            answer.feed_eof()

    async def close(self) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()
