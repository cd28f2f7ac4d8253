"""A ledger out of a living edge: by its public address, or by its admin side, which knows the clear names too.

Owns: the requests: how many at once, how often again, how long, how much. Must not judge what comes; `staging` does.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp

from edgeproxy.caching.model import Digest, Height
from edgeproxy.errors import EdgeError, Fault, ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.drafts import NameColumns
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.ledger.notes import MAX_NOTE
from edgeproxy.ledger.tiles import MAX_ENTRY, WIDTH, Tile, decode_bundle
from edgeproxy.recovery.lots import Lot
from edgeproxy.recovery.restore import Absent, Progress, Start
from edgeproxy.recovery.restore_file import MAX_HEAD
from edgeproxy.recovery.staging import Needed, Staging

AT_ONCE = 8
TRIES = 6
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
"""Seconds between tries; doubled each time."""
_MAX_ROWS = 256 << 20
_PIECE = 1 << 18
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))

T = TypeVar("T")


class SourceFailed(EdgeError):
    """The edge that is to be copied does not answer, or not with what it should. What was taken stays; run it again."""

    fault = Fault.OPERATOR
    may_retry = True


class _Asker:
    """One edge over HTTP."""

    def __init__(self, base: str, token: str | None) -> None:
        self._base = base.rstrip("/")
        fields = {"Accept-Encoding": "gzip", **({"Authorization": f"Bearer {token}"} if token else {})}
        times = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
        self._session = aiohttp.ClientSession(headers=fields, timeout=times, connector=aiohttp.TCPConnector(limit=AT_ONCE))

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, most: int) -> bytes | None:
        """The whole content; None when there is none (404). Raises SourceFailed."""

        async def read(pieces: AsyncIterator[bytes]) -> bytes:
            return b"".join([piece async for piece in pieces])

        return await self.stream(path, most, read)

    async def stream(self, path: str, most: int, use: Callable[[AsyncIterator[bytes]], Awaitable[T]]) -> T | None:
        """What `use` makes of the content; it may be called again after a failure. None on 404. Raises SourceFailed."""
        wait = FIRST_WAIT
        for tries_left in reversed(range(TRIES)):
            try:
                async with self._asked(path) as answer:
                    if answer.status == 404:
                        return None
                    if answer.status == 200:
                        return await use(_bounded(answer, most, path))
                    if answer.status not in _AGAIN or not tries_left:
                        text = "edge answered with an error"
                        if answer.status == 401:
                            text = "edge wants a token: that of an admin side goes with --admin-token; or ask its public side"
                        raise SourceFailed(text, path=path, status=answer.status)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not tries_left:
                    raise SourceFailed("edge cannot be reached", path=path, why=str(error) or type(error).__name__) from None
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _asked(self, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        # A redirect would lead the token, or this node, elsewhere.
        async with self._session.get(self._base + path, allow_redirects=False) as answer:
            yield answer


async def _bounded(answer: aiohttp.ClientResponse, most: int, path: str) -> AsyncIterator[bytes]:
    left = most
    async for piece in answer.content.iter_chunked(_PIECE):
        left -= len(piece)
        if left < 0:
            raise SourceFailed("edge sends more than there can be", path=path, most=most)
        yield piece


class _EdgeSource:
    """What both ways share."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self._ask = _Asker(base, token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ask.close()

    async def _bodies(self, staging: Staging, needed: Needed, path: str, progress: Progress) -> frozenset[Digest]:
        """Take the bodies that are missing; those that the edge does not have."""
        lot, absent, done = Lot(staging), set[Digest](), 0
        wanted = [digest for digest in needed.bodies if not staging.bodies.exists(digest)]

        async def one(digest: Digest) -> None:
            nonlocal done
            ref, height = needed.refs[digest], needed.bodies[digest]

            async def take(pieces: AsyncIterator[bytes]) -> bool:
                await lot.body(height, ref, pieces)
                return True

            if await self._ask.stream(path + digest.hex(), ref.length, take) is None:
                absent.add(digest)
            done += 1
            progress("bodies", done, len(wanted))

        async with aclosing(lot):
            await _all_of(one(digest) for digest in wanted)
            await lot.flush()
        return frozenset(absent)


class PublicSource(_EdgeSource):
    """By what anybody may read. Clear URLs are not among it: they are found again when they are asked for."""

    async def start(self) -> Start:
        note = await self._ask.get("/.edge/ledger/checkpoint", MAX_NOTE)
        if note is None:
            raise SourceFailed("edge publishes no ledger (ledger.publish is off, or it is none); ask its admin side instead")
        told = _object(await self._ask.get("/.edge/api/v1/key", 4096))
        return Start(note, parse_verifier(str(told.get("vkey"))) if told else None)

    async def blocks(self, staging: Staging, stated: Checkpoint, progress: Progress) -> None:
        numbers = range(staging.size // WIDTH, -(-stated.size // WIDTH))
        for first in range(numbers.start, numbers.stop, AT_ONCE):
            lot = range(first, min(first + AT_ONCE, numbers.stop))
            bundles = await asyncio.gather(*(self._bundle(number, stated) for number in lot))
            for number, entries in zip(lot, bundles, strict=True):
                staging.add_blocks(entries, number * WIDTH)
            progress("blocks", staging.size, stated.size)

    async def _bundle(self, number: int, stated: Checkpoint) -> list[bytes]:
        width = min(WIDTH, stated.size - number * WIDTH)
        data = await self._ask.get(f"/.edge/ledger/{Tile(None, number, width).path}", width * (MAX_ENTRY + 2))
        if data is None:
            raise SourceFailed("edge does not have the blocks that its checkpoint covers", bundle=number)
        try:
            return decode_bundle(data, width)
        except ProofRefused as error:
            raise ProofRefused(error.text, block=number * WIDTH, **error.fields) from None

    async def contents(self, staging: Staging, needed: Needed, progress: Progress) -> Absent:
        lot, absent, done = Lot(staging), set[int](), 0

        async def one(height: Height, digest: Digest) -> None:
            nonlocal done
            head = await self._ask.get(f"/.edge/api/v1/heads/{digest.hex()}", MAX_HEAD)
            if head is None:
                absent.add(height)
            else:
                await lot.head(height, head)
            done += 1
            progress("heads", done, len(needed.heads))

        async with aclosing(lot):
            await _all_of(one(height, digest) for height, digest in needed.heads.items())
            await lot.flush()
        bodies = await self._bodies(staging, needed, "/.edge/api/v1/bodies/", progress)
        return Absent(frozenset(absent), bodies)


class AdminSource(_EdgeSource):
    """By its admin side: everything, names included, also what is not published."""

    async def start(self) -> Start:
        told = await self._rows(0)
        return Start(str(told.get("checkpoint")).encode(), parse_verifier(str(told.get("vkey"))))

    async def _rows(self, start: int) -> dict[str, Any]:
        data = await self._ask.get(f"/api/v1/ledger/rows?from={start}", _MAX_ROWS)
        if data is None:
            raise SourceFailed("this is not the admin side of an edge")
        return _object(data)

    async def blocks(self, staging: Staging, stated: Checkpoint, progress: Progress) -> None:
        start = staging.size
        while start < stated.size:
            rows = [row for row in _listed(await self._rows(start)) if row["height"] < stated.size]
            if not rows or rows[0]["height"] != start:
                raise SourceFailed("edge does not have the blocks that its checkpoint covers", block=start)
            staging.add_blocks([row["block"] for row in rows], start)
            staging.add_names((row["height"], row["names"]) for row in rows if row["names"] is not None)
            staging.add_heads((row["height"], row["head"]) for row in rows if row["head"] is not None)
            start = staging.size
            progress("blocks", start, stated.size)

    async def contents(self, staging: Staging, needed: Needed, progress: Progress) -> Absent:
        bodies = await self._bodies(staging, needed, "/api/v1/ledger/bodies/", progress)
        return Absent(frozenset(needed.heads), bodies)


def _object(data: bytes | None) -> dict[str, Any]:
    """A JSON object; empty for no content. Raises SourceFailed."""
    try:
        found = json.loads(data) if data is not None else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SourceFailed("edge does not answer as an edge does")
    return found


def _listed(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an answer, decoded. Raises SourceFailed."""
    try:
        return [
            {
                "height": int(row["height"]),
                "block": base64.b64decode(row["block"], validate=True),
                "head": None if row["head"] is None else base64.b64decode(row["head"], validate=True),
                "names": None if row["names"] is None else _columns(row["names"]),
            }
            for row in told["rows"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SourceFailed("edge does not answer as an edge does") from None


def _columns(names: list[str]) -> NameColumns:
    site, value, extra = (name.encode("utf-8", "surrogateescape") for name in names)
    return site, value, extra


async def _all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of it, `AT_ONCE` at a time; the first failure ends the others."""
    todo = iter(work)

    async def worker() -> None:
        for each in todo:
            await each

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker(), name="restore")
    except BaseExceptionGroup as failures:
        for each in todo:
            each.close()
        raise failures.exceptions[0] from None
