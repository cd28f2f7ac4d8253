"""Requests to one certificate authority, signed, one at a time, each of them bounded in time and in bytes. Blocking.

Owns: the HTTP session, nonces and their renewal, signatures, and what the errors of `requests` mean. Runs in one thread of its
own (see `session.py`), because neither a session nor the nonces may be shared. Knows nothing of orders.
"""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

import requests
from acme import jws
from josepy.b64 import b64decode, b64encode
from josepy.jwa import ES256
from josepy.jwk import JWK
from requests.adapters import HTTPAdapter
from requests.utils import parse_header_links
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from edgeproxy import __version__
from edgeproxy.clock import Clock
from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.problems import own_failure, parse_problem, request_failure
from edgeproxy.tls.acme.waiting import retry_at

LARGEST_ANSWER = 1 << 20
NONCE_TRIES = 10
_NONCES_KEPT = 8
_IDLE = 20.0  # seconds after which a pooled connection is not trusted: what is between may have forgotten it without a word
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,1000}\Z")  # RFC 8555 section 6.5.1
_USER_AGENT = f"edgeproxy/{__version__}"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Seconds that one request to an authority may take."""

    connect: float = 10.0
    silence: float = 30.0
    """Between two pieces of an answer."""
    total: float = 60.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: an account's key, and the account's URL as soon as it has one (RFC 8555 section 6.2)."""

    key: JWK
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names compare without case."""
    body: bytes
    retry_at: float | None
    """Unix seconds, from Retry-After."""

    def json(self) -> Mapping[str, object]:
        """The JSON object in the body; raises IssuanceFailed "badAnswer" when there is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise own_failure("badAnswer", "not a JSON object")
        return cast(Mapping[str, object], document)

    def links(self, relation: str) -> list[str]:
        """Targets of the Link fields with that relation. (`requests` itself keeps only the last one of each relation.)"""
        links = parse_header_links(self.headers.get("Link", ""))
        return [link["url"] for link in links if link.get("rel") == relation and "url" in link]


class Network:
    """A session with the authority whose directory is at `directory`. Its HTTPS is verified by `ca_file`; None: as the system
    does."""

    def __init__(self, directory: str, ca_file: Path | None, clock: Clock, limits: RequestLimits | None = None) -> None:
        self._clock = clock
        self._limits = limits or RequestLimits()
        self._secure = directory.startswith("https://")
        self._anchors = str(ca_file) if ca_file is not None else _system_anchors()
        self._nonces: list[str] = []
        self._used = clock.monotonic()
        self._cut: str | None = None
        self._adapter = _CuttableAdapter()
        self._session = requests.Session()
        self._session.mount("https://", self._adapter)
        self._session.mount("http://", self._adapter)

    def get(self, url: str) -> Reply:
        """An unsigned GET; raises IssuanceFailed for every answer that is not a success."""
        reply = self._exchange("GET", url)
        if reply.status >= 300:
            raise request_failure(parse_problem(reply.status, reply.body), reply.retry_at)
        return reply

    def post(self, url: str, payload: bytes, signer: Signer, new_nonce: str, *, accept: frozenset[int] = frozenset()) -> Reply:
        """A signed POST; an empty payload is a POST-as-GET (RFC 8555 section 6.3).

        A refused nonce is replaced by the one that came with the refusal, up to ten times (section 6.5). Raises IssuanceFailed
        for every answer that is neither a success nor a status in `accept`.
        """
        for tries_left in reversed(range(NONCE_TRIES)):
            nonce = self._nonces.pop() if self._nonces else self._fresh_nonce(new_nonce)
            signed = jws.JWS.sign(payload, key=signer.key, alg=ES256, nonce=b64decode(nonce), url=url, kid=signer.account)
            reply = self._exchange("POST", url, signed.json_dumps().encode())
            if reply.status < 300 or reply.status in accept:
                self._keep_nonce(reply)
                return reply
            problem = parse_problem(reply.status, reply.body)
            if problem.type == "badNonce":
                self._nonces.clear()  # all that we have came before the one in this answer, and are as stale or staler
            self._keep_nonce(reply)
            if problem.type != "badNonce" or not tries_left:
                raise request_failure(problem, reply.retry_at)
        raise AssertionError("unreachable: the last try returns or raises")

    def cut(self, why: str = "closed") -> None:
        """Break the request that is going on, if any; callable from any thread. `why` is its problem then."""
        if self._cut is None:
            self._cut = why
        self._adapter.cut()

    def close(self) -> None:
        """Close what is pooled; only in the thread that makes the requests."""
        self._session.close()

    def _fresh_nonce(self, new_nonce: str) -> str:
        reply = self._exchange("HEAD", new_nonce)
        if reply.status >= 300:
            raise request_failure(parse_problem(reply.status, reply.body), reply.retry_at)
        self._keep_nonce(reply)
        if not self._nonces:
            raise own_failure("badAnswer", "no nonce where one was promised")
        return self._nonces.pop()

    def _keep_nonce(self, reply: Reply) -> None:
        nonce = reply.headers.get("Replay-Nonce", "")
        if _NONCE.match(nonce) and _survives_decoding(nonce):
            self._nonces.append(nonce)
            del self._nonces[:-_NONCES_KEPT]

    def _exchange(self, method: str, url: str, data: bytes | None = None) -> Reply:
        if self._secure and not url.startswith("https://"):
            raise own_failure("badAnswer", f"an authority behind HTTPS names {url}")
        self._drop_idle()
        # The time-outs of a socket bound each silence; a peer that dribbles bytes is only bounded by this.
        timer = threading.Timer(self._limits.total, partial(self.cut, "timeout"))
        timer.daemon = True
        timer.start()
        try:
            reply = self._ask(method, url, data)
            if self._cut is not None:
                raise self._cut_off()  # cut amid a head, the rest of it looks like an answer
            return reply
        except (requests.RequestException, OSError) as error:
            raise self._meaning(error) from error
        finally:
            timer.cancel()
            if self._cut == "timeout":
                self._cut = None
                self._adapter.broken = False
            self._used = self._clock.monotonic()

    def _ask(self, method: str, url: str, data: bytes | None) -> Reply:
        if self._cut is not None:
            raise self._cut_off()
        headers = {"User-Agent": _USER_AGENT}
        if data is not None:
            headers["Content-Type"] = "application/jose+json"
        with self._session.request(
            method,
            url,
            data=data,
            headers=headers,
            verify=self._anchors,
            timeout=(self._limits.connect, self._limits.silence),
            allow_redirects=method == "GET",
            stream=True,
        ) as response:
            body = _bounded(response)
            when = retry_at(response.headers.get("Retry-After"), self._clock.seconds())
            return Reply(response.status_code, response.headers, body, when)

    def _drop_idle(self) -> None:
        if self._clock.monotonic() - self._used > _IDLE:
            self._session.close()  # closes what is pooled; the session itself goes on

    def _cut_off(self) -> IssuanceFailed:
        return own_failure(self._cut or "closed", "it took too long" if self._cut == "timeout" else "the client is closed")

    def _meaning(self, error: Exception) -> IssuanceFailed:
        if self._cut is not None:
            return self._cut_off()
        if isinstance(error, requests.Timeout):
            return own_failure("timeout", "no answer from the authority in time")
        if verification := _verification_error(error):
            return own_failure("untrusted", f"the authority's own certificate: {verification.verify_message}")
        if isinstance(error, requests.RequestException):
            return own_failure("unreachable", _words(error))
        return own_failure("untrusted", f"the file to trust the authority by: {error}")


class _CuttableAdapter(HTTPAdapter):
    """Remembers the connections it opened, so that another thread can break them; those through a proxy excepted."""

    def __init__(self) -> None:
        self.broken = False
        """Whether connections that are being made break as well, as soon as they are there."""
        self._lock = threading.Lock()
        self._opened: WeakSet[Any] = WeakSet()
        super().__init__(pool_connections=4, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": cast(type, partial(self._pool, HTTPConnectionPool)),
            "https": cast(type, partial(self._pool, HTTPSConnectionPool)),
        }

    def cut(self) -> None:
        with self._lock:
            self.broken = True
            opened = list(self._opened)
        for connection in opened:
            _break(connection)

    def _pool(self, kind: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        pool = kind(*arguments, **options)
        connection_class = pool.ConnectionCls

        def connect(*arguments: Any, **options: Any) -> Any:
            connection = connection_class(*arguments, **options)
            really_connect = connection.connect

            def connect_and_remember() -> None:
                really_connect()
                with self._lock:
                    self._opened.add(connection)
                    broken = self.broken
                if broken:
                    _break(connection)

            connection.connect = connect_and_remember
            return connection

        pool.ConnectionCls = connect
        return pool


def _break(connection: Any) -> None:
    """Let whoever reads or writes on a connection find it closed."""
    if isinstance(connection.sock, socket.socket):
        with suppress(OSError):
            # The plain socket's method: SSLSocket's own would pull the TLS object from under the thread that reads.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _system_anchors() -> str | bool:
    """What the system trusts, rather than the bundle that `requests` brings along, where the system has any."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _survives_decoding(nonce: str) -> bool:
    """Whether the signature will carry this very nonce: `acme` takes it apart into bytes and writes these again."""
    try:
        return b64encode(b64decode(nonce)).decode("ascii") == nonce
    except ValueError:
        return False


def _bounded(response: requests.Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_content(16_384):
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise own_failure("badAnswer", "the answer is too large")
        pieces.append(piece)
    return b"".join(pieces)


def _verification_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The reason in the onion of errors that urllib3 and requests make of a certificate that does not verify."""
    for _ in range(10):
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        if error is None:
            return None
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return None


def _words(error: BaseException) -> str:
    """The innermost reason of a connection error, without the addresses of objects that its wrappers put in."""
    for _ in range(10):
        inner = getattr(error, "reason", None) or next((each for each in error.args if isinstance(each, BaseException)), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return re.sub(r"<[^>]*>:? ?|\w+\(host=[^)]*\): ", "", str(error))
