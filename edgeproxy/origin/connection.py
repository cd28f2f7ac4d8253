"""One connection to an origin: aiohttp's pool holds it, this module reads it and writes requests to it.

Owns: which bytes belong to which exchange, read-ahead, and the time-outs of head and body. The rule that nothing may break:
bytes that arrive while no request is outstanding are nobody's answer; the connection dies with them (RFC 9112 section 9.2:
without identifiers, only the order tells). Must not choose, retry, or interpret a response; that is `origin.client`.
"""

import asyncio
import select
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from aiohttp.client_proto import ResponseHandler

from edgeproxy.errors import OriginError, OriginReset, OriginTimeout, OriginTruncated, RequestRefused
from edgeproxy.origin.answer import Answer
from edgeproxy.origin.messages import OriginSettings
from edgeproxy.wire.chunked import LAST_CHUNK, encode_chunk
from edgeproxy.wire.messages import ResponseHead

HIGH_WATER = 262_144
"""Bytes of a body kept unread before the socket is left alone. One more read (at most 256 KiB) may follow: 512 KiB is the
bound."""


class _ConnectionGone(Exception):
    """Nothing can be written any more."""


class OriginConnection(ResponseHandler):
    """The protocol object that aiohttp's connector pools. Between two exchanges `_answer` is None."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: OriginSettings) -> None:
        super().__init__(loop=loop)
        self._settings = settings
        self._answer: Answer | None = None
        self._sending = False
        self._held = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._waiter_of_answer: asyncio.Future[None] | None = None
        self._poll: select.poll | None = None
        self.exchanges = 0
        """Requests sent so far; more than one means that the connection came out of the pool."""

    # -- what the pool asks -------------------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        """Whether the next request may go out here. An idle connection with anything to read is dead or spoiled: end of
        stream, or unasked bytes."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        return self._answer is not None or not self._is_readable(transport)

    def _is_readable(self, transport: asyncio.Transport) -> bool:
        poll = self._poll
        if poll is None:
            sock = transport.get_extra_info("socket")
            if sock is None or sock.fileno() < 0:
                return True
            poll = self._poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    @property
    def should_close(self) -> bool:
        """Asked when an exchange gives the connection back."""
        answer = self._answer
        return self._should_close or self._sending or (answer is not None and not answer.reusable)

    def close(self) -> None:
        """Drop the connection at once; an orderly close could wait without bound for an origin that does not read."""
        self._drop_head_timer()
        self.abort()

    def set_response_params(self, *_: Any, **__: Any) -> None:
        """aiohttp would make its parser here; `Answer` reads instead."""

    # -- one exchange -------------------------------------------------------------------------------------------------

    def begin(self, method: str, head: bytes, *, has_body: bool) -> Answer:
        """Write the request head. From now on bytes that arrive are its answer. Raises OriginReset when the connection is
        gone."""
        transport = self.transport
        if transport is None or transport.is_closing() or self._should_close:
            raise OriginReset("connection ended before the request")
        self.exchanges += 1
        answer = self._answer = Answer(method, self._settings)
        self._sending = has_body
        transport.write(head)
        if not has_body:
            self._arm_head_timer()
        return answer

    def finish(self) -> None:
        """The exchange is over and its answer was read to the end: bytes from now on are nobody's."""
        self._answer = None

    async def send_body(self, body: AsyncIterator[bytes], length: int | None) -> None:
        """Write `body`, chunked when `length` is None, no faster than the origin takes it.

        Never raises but when cancelled: failures go to whoever awaits the answer, and the origin sees a broken request.
        """
        try:
            try:
                await self._send_pieces(body, length)
            finally:
                if isinstance(body, AsyncGenerator):
                    await body.aclose()
        except _ConnectionGone:
            pass  # connection_lost() knows why, and an answer may be here already
        except Exception as error:  # the source may raise anything; it is raised again by next_head() or read_body()
            self.fail(error)
        else:
            self._sending = False
            if self._answer is not None and self._answer.head is None:
                self._arm_head_timer()

    async def _send_pieces(self, body: AsyncIterator[bytes], length: int | None) -> None:
        sent = 0
        async for piece in body:
            sent += len(piece)
            if length is None:
                await self._write(encode_chunk(piece))
            elif sent > length:
                raise RequestRefused("request body is longer than its Content-Length", length=length)
            else:
                await self._write(piece)
        if length is None:
            await self._write(LAST_CHUNK)
        elif sent < length:
            raise RequestRefused("request body is shorter than its Content-Length", length=length, got=sent)

    async def _write(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise _ConnectionGone
        self.transport.write(data)
        if not self._paused:
            return
        seconds = self._settings.body_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._drain_helper()
        except TimeoutError as error:
            raise OriginTimeout("origin took nothing of the request body", waited=seconds) from error
        except ConnectionError as error:
            raise _ConnectionGone from error

    async def next_head(self) -> ResponseHead:
        """The next head: interim ones first, then the final one. Raises OriginError, or what the request's source raised."""
        answer = self._current()
        while True:
            if answer.interim:
                return answer.interim.popleft()
            if answer.head is not None:
                return answer.head
            if answer.error is not None:
                raise answer.error
            await self._wait()

    async def read_body(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises OriginError, or what the request's source raised."""
        answer = self._current()
        while True:
            if answer.pieces:
                return self._take(answer)
            if answer.error is not None:
                raise answer.error
            if answer.ended:
                return b""
            seconds = self._settings.body_timeout
            timer = self._loop.call_later(seconds, self._body_is_late, answer)
            try:
                await self._wait()
            finally:
                timer.cancel()

    def _current(self) -> Answer:
        assert self._answer is not None
        return self._answer

    def _take(self, answer: Answer) -> bytes:
        pieces = answer.pieces
        data = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        answer.buffered = 0
        if self._held:
            self._held = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
        return data

    async def _wait(self) -> None:
        waiter = self._waiter_of_answer = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter_of_answer = None

    def _wake(self) -> None:
        waiter = self._waiter_of_answer
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- time-outs ----------------------------------------------------------------------------------------------------

    def _arm_head_timer(self) -> None:
        self._drop_head_timer()
        self._head_timer = self._loop.call_later(self._settings.head_timeout, self._head_is_late)

    def _drop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.fail(OriginTimeout("origin sent no response head", waited=self._settings.head_timeout))

    def _body_is_late(self, answer: Answer) -> None:
        if answer is self._answer and not answer.pieces and not answer.ended:
            self.fail(OriginTimeout("origin fell silent inside the response body", waited=self._settings.body_timeout))

    # -- what the transport tells -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self._should_close = True
            self.close()
            return
        before = answer.interims_seen
        try:
            answer.feed(data)
        except OriginError as error:
            self.fail(error)
            return
        if self._head_timer is not None:
            if answer.head is not None:
                self._drop_head_timer()
            elif answer.interims_seen != before:
                self._arm_head_timer()
        self._wake()
        if answer.buffered > HIGH_WATER and not self._held and not answer.ended and self.transport is not None:
            self._held = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """The origin closed its sending side; the transport closes itself after this."""
        self._should_close = True
        self._feed_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._drop_head_timer()
        self._poll = None
        answer = self._answer
        if answer is not None and not answer.ended and answer.error is None:
            if exc is None:
                self._feed_eof()
            elif answer.head is None:
                answer.error = OriginReset("connection was reset before the response", cause=exc)
            else:
                answer.error = OriginTruncated("connection was reset inside the response body", cause=exc)
        super().connection_lost(exc)
        self._wake()

    def _feed_eof(self) -> None:
        answer = self._answer
        if answer is None or answer.error is not None:
            return
        try:
            answer.feed_eof()
        except OriginError as error:
            answer.error = error
        self._drop_head_timer()
        self._wake()

    def fail(self, error: BaseException) -> None:
        """End the exchange with `error` and the connection with it."""
        answer = self._answer
        if answer is not None and answer.error is None:
            answer.error = error
        self._should_close = True
        self._wake()
        self.close()
