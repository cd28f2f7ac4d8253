"""What an auditor reads from a remote edge: checkpoints, tiles, bundles and bodies, each within bounds.

Owns: the requests, their time-outs, retries and sizes, and what each failure means. Must not believe a byte: that is for
`ledger.reading` and whoever else proves them. It follows no redirect and takes no key from an answer.
"""

import asyncio
import hashlib
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from edgeproxy.errors import EdgeError
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.notes import MAX_NOTE
from edgeproxy.ledger.reading import MAX_TILE
from edgeproxy.ledger.tiles import MAX_ENTRY, WIDTH, Tile
from edgeproxy.tasks import spawn

T = TypeVar("T")

PARALLEL = 8
"""Requests at a time."""

DELAYS = (0.1, 0.5, 2.0)
"""Seconds before the second, third and last try of a request."""

LEDGER = "/.edge/ledger"
BODIES = "/.edge/api/v1/bodies/"

_PIECE = 1 << 16
_WHOLE = 4
"""Time-outs in which a part of the ledger must be there whole: a server that drips is as good as one that hangs."""
_SLOWEST = 16_384
"""Bytes a second below which a body is given up."""
_MAX_BUNDLE = WIDTH * (2 + MAX_ENTRY)


class _Passing(Exception):
    """One try failed in a way that the next may not."""


def base_of(url: str) -> str:
    """The address of the edge in what a user typed: that, or the one of its ledger. Raises ValueError with what is allowed."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(LEDGER)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.port == 0:
        raise ValueError("allowed: https://HOST or http://HOST:PORT, of the edge or of its ledger")
    if path or parts.query or parts.fragment:
        raise ValueError(f"the ledger lies at the root of a host, as https://HOST{LEDGER}")
    return f"{parts.scheme}://{parts.netloc}"


class Source:
    """One edge at `base`. `timeout`: seconds of silence after which a try is given up. Made by `reading_from`."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, *, timeout: float = 30.0, delays: Sequence[float] = DELAYS
    ) -> None:
        self.base = base
        self._session = session
        self._timeout = timeout
        self._delays = delays

    def __repr__(self) -> str:
        return f"<Source {self.base}>"

    async def checkpoint(self, name: str = "checkpoint") -> bytes | None:
        """The signed note as the edge shows it now; None when there is none. Raises `Finding`, as all of these."""
        return await self._get(f"{LEDGER}/{name}", MAX_NOTE)

    async def tile(self, tile: Tile) -> bytes:
        """The bytes of a hash tile or bundle that a checkpoint covers."""
        data = await self._get(f"{LEDGER}/{tile.path}", MAX_TILE if tile.level is not None else _MAX_BUNDLE)
        if data is None:
            raise Finding(FindingKind.UNPUBLISHED, "a part of the ledger is not there", path=tile.path)
        return data

    async def body(self, digest: bytes, length: int) -> bool:
        """Read a body and compare it with its block; False when the edge does not have it."""
        return await self._retried(lambda: self._body(digest, length))

    async def _get(self, path: str, most: int) -> bytes | None:
        return await self._retried(lambda: self._whole(path, most))

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for delay in (*self._delays, None):
            try:
                return await attempt()
            except _Passing as error:
                if delay is None:
                    raise Finding(FindingKind.UNREACHABLE, "edge gave no answer", why=error) from None
                await asyncio.sleep(delay)
        raise AssertionError("the last try answers or raises")

    async def _whole(self, path: str, most: int) -> bytes | None:
        async with self._answer(path, most, self._timeout * _WHOLE) as answer:
            if answer is None:
                return None
            data = b"".join([piece async for piece in _pieces(answer, path, most)])
            return _decoded(answer, data, path, most)

    async def _body(self, digest: bytes, length: int) -> bool:
        path = f"{BODIES}{digest.hex()}"
        hasher, read = hashlib.sha256(), 0
        async with self._answer(path, length, self._timeout + length / _SLOWEST, coded=False) as answer:
            if answer is None:
                return False
            async for piece in _pieces(answer, path, length):
                hasher.update(piece)
                read += len(piece)
        if read != length:
            raise Finding(FindingKind.BODY, "body is shorter than its block says", body=digest.hex(), bytes=read, expected=length)
        if hasher.digest() != digest:
            raise Finding(FindingKind.BODY, "body does not match the digest in its block", body=digest.hex())
        return True

    @asynccontextmanager
    async def _answer(
        self, path: str, most: int, seconds: float, *, coded: bool = True
    ) -> AsyncIterator[aiohttp.ClientResponse | None]:
        """The answer to a GET once its head was judged; None for a 404. All of it must be over in so many seconds."""
        headers = {"Accept-Encoding": "gzip" if coded else "identity"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.get(
                    URL(self.base + path, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=self._timeout),
                ) as answer,
            ):
                _judge_head(answer, path, most)
                yield None if answer.status == 404 else answer
        except aiohttp.ClientConnectorSSLError as error:
            text = "no TLS could be agreed on; does the edge speak HTTPS at this address, or plain HTTP?"
            raise Finding(FindingKind.UNREACHABLE, text, why=error) from None
        except aiohttp.ClientConnectorCertificateError as error:
            text = "the edge's certificate does not verify (--ca names an authority of your own)"
            raise Finding(FindingKind.UNREACHABLE, text, why=error) from None
        except TimeoutError:
            raise _Passing(f"nothing came in time for {path}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from None


def _judge_head(answer: aiohttp.ClientResponse, path: str, most: int) -> None:
    if 300 <= answer.status < 400:
        where = answer.headers.get("Location", "nowhere")[:200]
        raise Finding(FindingKind.REDIRECTED, "edge sends the auditor elsewhere", path=path, to=where)
    if answer.status in (408, 429) or answer.status >= 500:
        raise _Passing(f"status {answer.status} for {path}")
    if answer.status == 401:
        text = "edge asks for a token: this may be its admin side; an audit reads what it publishes, where its visitors are"
        raise Finding(FindingKind.UNREACHABLE, text, path=path, status=answer.status)
    if answer.status not in (200, 404):
        raise Finding(FindingKind.UNREACHABLE, "edge refuses to answer", path=path, status=answer.status)
    if answer.status == 200 and (answer.content_length or 0) > most:
        raise _too_large(path, most)


async def _pieces(answer: aiohttp.ClientResponse, path: str, most: int) -> AsyncIterator[bytes]:
    read = 0
    async for piece in answer.content.iter_chunked(_PIECE):
        read += len(piece)
        if read > most:
            raise _too_large(path, most)
        yield piece


def _too_large(path: str, most: int) -> Finding:
    if path.startswith(BODIES):
        return Finding(FindingKind.BODY, "body is longer than its block says", body=path.removeprefix(BODIES), expected=most)
    return Finding(FindingKind.TOO_LARGE, "answer is larger than it may be", path=path, most=most)


def _decoded(answer: aiohttp.ClientResponse, data: bytes, path: str, most: int) -> bytes:
    """Undo gzip, which may be there for a bundle, without ever making more than `most` bytes."""
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return data
    if coding != "gzip":
        raise Finding(FindingKind.UNREACHABLE, "answer has a coding that was not asked for", path=path, coding=coding[:40])
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(data, most + 1)
    except zlib.error:
        raise Finding(FindingKind.UNREACHABLE, "answer is not the gzip that it says", path=path) from None
    if len(plain) > most:
        raise _too_large(path, most)
    if not reader.eof or reader.unused_data:
        raise Finding(FindingKind.UNREACHABLE, "answer is not the gzip that it says", path=path)
    return plain


@asynccontextmanager
async def reading_from(
    url: str, *, ca: ssl.SSLContext | None = None, timeout: float = 30.0, delays: Sequence[float] = DELAYS
) -> AsyncIterator[Source]:
    """A source for as long as the block lasts. `ca`: whom to believe about certificates, None for the system's authorities."""
    connector = aiohttp.TCPConnector(limit=PARALLEL, ssl=ca if ca is not None else True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Source(session, base_of(url), timeout=timeout, delays=delays)


async def in_order(jobs: Iterable[Callable[[], Awaitable[T]]], width: int = PARALLEL) -> AsyncGenerator[T, None]:
    """Run jobs beside each other, at most `width` of them ahead, and give their results in order. Close it when leaving early."""
    ahead: list[asyncio.Task[T | EdgeError]] = []
    try:
        for job in jobs:
            ahead.append(spawn(_outcome(job), name="audit: read ahead"))
            if len(ahead) >= width:
                yield _value(await ahead[0])
                del ahead[0]
        while ahead:
            yield _value(await ahead[0])
            del ahead[0]
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def _outcome(job: Callable[[], Awaitable[T]]) -> T | EdgeError:
    """A failure as a value: it counts when its turn comes, and not at all when the audit ended before."""
    try:
        return await job()
    except EdgeError as error:
        return error


def _value(outcome: T | EdgeError) -> T:
    if isinstance(outcome, EdgeError):
        raise outcome
    return outcome
