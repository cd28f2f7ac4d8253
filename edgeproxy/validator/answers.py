"""A validator over HTTP: which path asks for what, and how an answer looks.

Owns: the paths and fields of C2SP tlog-witness, submission and monitoring under one prefix. Must not decide about a checkpoint.
Implements `serving.stream.Handler`, so limits of size and time are those of every connection.
"""

import asyncio
import contextlib
from collections.abc import Callable

from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving import stream as serving
from edgeproxy.validator.service import TEXT, Reply, Service
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_response_head
from edgeproxy.wire.messages import Request
from edgeproxy.wire.well_known import is_challenge, token_of

MOST_AT_ONCE = 64
"""Requests that are judged together; further ones are told to come back."""
READ_SECONDS = 10.0
"""For a whole request, however it trickles."""

_SUBMIT = "/add-checkpoint"
_CHECKPOINT = "/checkpoint"
_CROWDED = Reply(503, b"too many requests\n", retry_after=1)


class Answers:
    """`challenge` answers tokens of a certificate authority; `about` is the text at /."""

    def __init__(self, service: Service, about: str) -> None:
        self.challenge: Callable[[str], bytes | None] | None = None
        self._service = service
        self._about = about.encode()
        self._busy = 0

    def instant(self, request: Request, peer: serving.Peer) -> serving.Answer | None:
        """Nothing is ready beforehand."""
        return None

    def instant_like(self, known: Request, target: str, peer: serving.Peer) -> serving.Answer | None:
        """As `instant`."""
        return None

    def instant_parts(self, request: Request, peer: serving.Peer) -> serving.ReadyParts | None:
        """As `instant`."""
        return None

    async def answer(self, stream: serving.Stream) -> None:
        """One exchange."""
        await _send(stream, await self._reply(stream))

    async def _reply(self, stream: serving.Stream) -> Reply:
        request = stream.request
        if is_challenge(request) and self.challenge is not None:
            body = self.challenge(token_of(request))
            return Reply(404, b"unknown token\n") if body is None else Reply(200, body)
        if request.path == _SUBMIT:
            return await self._submitted(stream) if request.method == "POST" else Reply(405, b"only POST\n")
        if request.method not in ("GET", "HEAD"):
            return Reply(405, b"only GET and HEAD\n")
        if request.path == "/":
            return Reply(200, self._about)
        note = self._service.checkpoint(request.path.removeprefix("/")) if request.path.endswith(_CHECKPOINT) else None
        return Reply(404, b"nothing was cosigned under this path\n") if note is None else Reply(200, note)

    async def _submitted(self, stream: serving.Stream) -> Reply:
        pieces = []
        try:
            async with asyncio.timeout(READ_SECONDS):
                while piece := await stream.read():
                    pieces.append(piece)
        except TimeoutError:
            raise RequestRefused("request takes too long", status=408) from None
        if self._busy >= MOST_AT_ONCE:
            return _CROWDED
        self._busy += 1
        try:
            return await self._service.add_checkpoint(b"".join(pieces))
        finally:
            self._busy -= 1

    def refuse(self, error: RequestRefused, peer: serving.Peer) -> bytes:
        """The whole answer to what could not be understood or is over a limit."""
        parts = self.refuse_parts(error, peer)
        fields = parts.fields.plus(("Content-Length", str(len(parts.body))), ("Connection", "close"))
        return encode_response_head(parts.status, fields) + parts.body

    def refuse_parts(self, error: RequestRefused, peer: serving.Peer) -> serving.RefusalParts:
        """The same in values."""
        return serving.RefusalParts(error.status, Fields((("Content-Type", TEXT),)), f"{error.text}\n".encode())


async def _send(stream: serving.Stream, reply: Reply) -> None:
    """Head and body in one turn of the loop, which makes them one write."""
    lines = [("Content-Type", reply.media), ("Cache-Control", "no-store")]
    if reply.retry_after is not None:
        lines.append(("Retry-After", str(reply.retry_after)))
    if reply.status == 405:
        lines.append(("Allow", "POST" if stream.request.path == _SUBMIT else "GET, HEAD"))
    with contextlib.suppress(ClientGone):
        await stream.send_head(reply.status, Fields(lines), len(reply.body))
        if stream.request.method != "HEAD":
            await stream.send(reply.body)
        await stream.finish()
