"""The connections to one origin: an aiohttp session, with its request, response and protocol classes replaced by ours.

Owns: every touch of aiohttp. aiohttp gives the pool and its limit, name lookup, happy eyeballs, TLS, and the tracing hooks;
what is written and how the answer is read is `origin.requesthead` and `origin.connection`. The seams are aiohttp's
`request_class`, `response_class` and the connector's protocol factory; tests/unit/origin/test_pool.py fails when a release
moves them. Must not retry.
"""

import asyncio
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from edgeproxy.errors import (
    EdgeError,
    OriginConnectTimeout,
    OriginError,
    OriginRefused,
    OriginReset,
    OriginUnresolved,
    OriginUntrusted,
    RequestRefused,
)
from edgeproxy.origin.answer import Answer
from edgeproxy.origin.connection import OriginConnection
from edgeproxy.origin.messages import Attempt, Interim, Origin, OriginRequest, OriginSettings
from edgeproxy.origin.requesthead import encode_request_head
from edgeproxy.tasks import spawn
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import is_token


class Try:
    """One attempt to get a response. Handed through aiohttp as the request's data, and filled in on the way."""

    __slots__ = ("answer", "body_taken", "number", "on_interim", "request", "reused")

    def __init__(self, request: OriginRequest, on_interim: Interim | None) -> None:
        self.request = request
        self.on_interim = on_interim
        self.number = 1
        """Which try of its request this is."""
        self.reused = False
        """The connection had carried an exchange before."""
        self.body_taken = False
        self.answer: Answer | None = None
        """None until the request head was written."""

    @property
    def died_in_the_pool(self) -> bool:
        """The connection came out of the pool and not one byte came back, so the origin may never have seen the request."""
        return self.reused and (self.answer is None or not self.answer.received)


class PooledRequest(ClientRequest):
    """Writes our own head and body. What aiohttp would add to a request is left out, step by step."""

    attempt: Try

    def __init__(self, method: str, url: URL, *, data: Try, headers: Any = None, **options: Any) -> None:
        self.attempt = data
        super().__init__(method, url, headers=headers, **options)
        self.method = data.request.method  # aiohttp makes it upper case; methods are case-sensitive (RFC 9110 section 9.1)

    def update_headers(self, headers: Any) -> None:
        """Only what tracing hooks injected comes this way."""
        self.headers = CIMultiDict(headers or ())

    def update_auto_headers(self, skip_auto_headers: Any) -> None:
        """None."""

    def update_cookies(self, cookies: Any) -> None:
        """None."""

    def update_content_encoding(self, data: Any) -> None:
        """Bodies go out as they came."""

    def update_auth(self, auth: Any, trust_env: bool = False) -> None:
        """Authorization is a field like any other."""

    def update_transfer_encoding(self) -> None:
        """`encode_request_head` writes the framing."""

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """The body is the attempt's."""

    def update_expect_continue(self, expect: bool = False) -> None:
        """The edge's own client side answers Expect."""

    async def send(self, conn: Connection) -> "PooledResponse":
        attempt = self.attempt
        request = attempt.request
        connection = conn.protocol
        assert isinstance(connection, OriginConnection)
        attempt.reused = connection.exchanges > 0
        head = encode_request_head(request, self.headers.items())
        answer = attempt.answer = connection.begin(request.method, head, has_body=request.body is not None)
        upload = None
        if request.body is not None:
            attempt.body_taken = True
            upload = spawn(connection.send_body(request.body, request.body_length), name="origin upload")
        return PooledResponse(PooledBody(conn, connection, answer, upload), attempt.on_interim)


class PooledBody:
    """The body of one response, and the hold on its connection. Implements `origin.messages.Body`."""

    __slots__ = ("_conn", "_connection", "_upload", "answer")

    def __init__(self, conn: Connection, connection: OriginConnection, answer: Answer, upload: asyncio.Task[None] | None) -> None:
        self.answer = answer
        self._conn: Connection | None = conn
        self._connection = connection
        self._upload = upload

    @property
    def trailers(self) -> Fields:
        return self.answer.trailers

    @property
    def is_sound(self) -> bool:
        return self.answer.is_sound

    async def read(self) -> bytes:
        if self._conn is None:
            if self.answer.error is not None:
                raise self.answer.error
            return b""
        try:
            data = await self._connection.read_body()
        except BaseException:  # cancelled or failed: either way the rest of this body will not be read
            self.let_go()
            raise
        self.let_go_if_ended()
        return data

    async def close(self) -> None:
        upload = self._upload
        self.let_go()
        if upload is not None and not upload.done():
            await asyncio.wait({upload})  # it was cancelled; the caller may take its body back when this returns

    def let_go_if_ended(self) -> None:
        """Free the connection as soon as nothing more can come; the pool judges whether it is fit for reuse."""
        answer = self.answer
        if answer.ended and not answer.pieces:
            self.let_go()

    def let_go(self) -> None:
        """Give the connection back. The pool asks `OriginConnection.should_close` and drops it unless the answer ended
        cleanly."""
        conn, self._conn = self._conn, None
        if conn is None:
            return
        answer = self.answer
        if not answer.ended and answer.error is None:
            answer.error = OriginReset("response was closed before its end")
        conn.release()
        self._connection.finish()
        if self._upload is not None:
            self._upload.cancel()


class PooledResponse(ClientResponse):
    """What aiohttp's session and its tracing hooks see: `status` and `headers`. The rest of ClientResponse stays unused."""

    def __init__(self, body: PooledBody, on_interim: Interim | None) -> None:
        self.body = body
        self._on_interim = on_interim
        self._fields = Fields()

    async def start(self, connection: Connection) -> "PooledResponse":
        protocol = connection.protocol
        assert isinstance(protocol, OriginConnection)
        while (head := await protocol.next_head()).status < 200:
            if self._on_interim is not None:
                try:
                    self._on_interim(head)
                except Exception as error:  # kept beside the answer, so that aiohttp cannot take it for an error of its own
                    protocol.fail(error)
                    raise
        self.status = head.status
        self._fields = head.fields
        self.body.let_go_if_ended()
        return self

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """For tracing hooks only, and made only when they ask."""
        return CIMultiDictProxy(CIMultiDict(self._fields.lines))

    def close(self) -> None:
        self.body.let_go()


class OriginPool:
    """All connections to one origin. Made where a loop runs; must be closed."""

    def __init__(self, origin: Origin, settings: OriginSettings, trace_configs: Sequence[aiohttp.TraceConfig] = ()) -> None:
        self._origin = origin
        self._traced = bool(trace_configs)
        self._server_name = origin.server_name
        host, port = origin.address
        scheme = "https" if origin.scheme == "https" else "http"
        name = f"[{host}]" if ":" in host else host
        self._base = "http://localhost" if origin.scheme == "unix" else f"{scheme}://{name}:{port}"
        self._url = URL(self._base + "/")
        self.tls = tls_context(origin) if origin.scheme == "https" else None
        connector = _connector(origin, self.tls, settings)
        loop = asyncio.get_running_loop()
        connector._factory = cast("partial[ResponseHandler]", partial(OriginConnection, settings=settings, loop=loop))
        self._connector = connector
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=PooledRequest,
            response_class=PooledResponse,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=settings.connect_timeout, sock_connect=settings.connect_timeout, ceil_threshold=60
            ),
            auto_decompress=False,
            trust_env=False,
            trace_configs=list(trace_configs),
        )
        self._session._retry_connection = False  # a retry is a try of its own, with its own span: `origin.client` does it

    async def send(self, attempt: Try) -> PooledResponse:
        """Send the attempt's request and wait for its final response head. Raises OriginError, RequestRefused, or what the
        body's source raised."""
        request = attempt.request
        if not is_token(request.method):
            raise RequestRefused("method is no token", method=request.method[:32])
        url = self._traced_url(request.target) if self._traced else self._url
        try:
            response = await self._session.request(
                request.method,
                url,
                data=attempt,
                allow_redirects=False,
                server_hostname=self._server_name,
                trace_request_ctx=Attempt(self._origin.url, attempt.number) if self._traced else None,
            )
        except EdgeError as error:
            error.fields.setdefault("origin", self._origin.url)
            raise
        except asyncio.CancelledError as error:
            # aiohttp cancels those who wait for a connection when it is closed; nobody cancelled their tasks.
            task = asyncio.current_task()
            if self._connector.closed and (task is None or not task.cancelling()):
                raise OriginRefused("the client of this origin was closed", origin=self._origin.url) from error
            raise
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            if attempt.answer is not None and attempt.answer.error is not None:
                raise attempt.answer.error from None  # the body's source failed with an error that aiohttp took for its own
            raise mapped(error, self._origin) from error
        assert isinstance(response, PooledResponse)
        return response

    def _traced_url(self, target: str) -> URL:
        return URL(self._base + target, encoded=True) if target.startswith("/") else self._url

    def drop_idle(self) -> None:
        """Close what is idle in the pool: when one connection died there, the others may be as dead."""
        for idle in self._connector._conns.values():
            while idle:
                idle.popleft()[0].close()

    async def close(self) -> None:
        """Close all connections, those in use as well."""
        await self._session.close()


def mapped(error: Exception, origin: Origin) -> OriginError:
    """What aiohttp raised, in our words."""
    match error:
        case aiohttp.ClientConnectorDNSError() | aiohttp.InvalidURL() | UnicodeError():
            return OriginUnresolved("origin's name has no address", origin=origin.url, cause=error)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return OriginUntrusted("origin's TLS handshake failed", origin=origin.url, cause=error)
        case TimeoutError():
            return OriginConnectTimeout("no connection to the origin in time", origin=origin.url)
        case aiohttp.ClientConnectorError():
            return OriginRefused("no connection to the origin", origin=origin.url, cause=error.os_error)
    return OriginReset("connection to the origin ended", origin=origin.url, cause=error)


def _connector(
    origin: Origin, tls: ssl.SSLContext | None, settings: OriginSettings
) -> aiohttp.TCPConnector | aiohttp.UnixConnector:
    if origin.scheme == "unix":
        return aiohttp.UnixConnector(origin.address[0], keepalive_timeout=settings.keepalive_timeout, limit=settings.connections)
    return aiohttp.TCPConnector(
        ssl=tls or True,
        keepalive_timeout=settings.keepalive_timeout,
        limit=settings.connections,
        ttl_dns_cache=10,
    )


def tls_context(origin: Origin) -> ssl.SSLContext:
    """How this origin's certificate is judged. Reads files: the CA file of the origin, or the system's store.

    Raises OriginUntrusted when they cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=None if origin.ca_file is None else str(origin.ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise OriginUntrusted("the authorities for this origin cannot be read", origin=origin.url, cause=error) from error
    context.set_alpn_protocols(["http/1.1"])
    if not origin.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
