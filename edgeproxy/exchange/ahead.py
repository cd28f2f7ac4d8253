"""Takes the first part of an origin's body before anything of it is sent, so that a broken one can still be replaced.

Owns: what was taken, and the read that may be under way when the time to look is over; nothing is lost by it. Must not decide
what stands in.
"""

import asyncio
from collections import deque

from edgeproxy.errors import OriginError
from edgeproxy.origin.messages import OriginResponse
from edgeproxy.tasks import spawn


class ReadAhead:
    """The body of `response`, from its first byte. Must be closed, which closes the response."""

    def __init__(self, response: OriginResponse) -> None:
        self._response = response
        self._taken: deque[bytes] = deque()
        self._reading: asyncio.Task[bytes | OriginError] | None = None

    async def look(self, limit: int, seconds: float) -> None:
        """Take up to `limit` bytes or to the end, for at most `seconds`. Raises OriginError, closed, when the body breaks off."""
        loop = asyncio.get_running_loop()
        end, size = loop.time() + seconds, 0
        try:
            while size <= limit:
                self._reading = reading = self._reading or spawn(_piece(self._response), name="read-ahead")
                done, _ = await asyncio.wait({reading}, timeout=max(0.0, end - loop.time()))
                if not done:
                    return
                piece = await self._read_on(reading)
                self._taken.append(piece)
                if not piece:
                    return
                size += len(piece)
        except BaseException:
            await self.close()
            raise

    async def read(self) -> bytes:
        """The next piece, b"" at the end; those that were taken come first. Raises OriginError."""
        if self._taken:
            return self._taken.popleft()
        if self._reading is not None:
            return await self._read_on(self._reading)
        return await self._response.read()

    async def close(self) -> None:
        """End the read that is under way, and close the response."""
        if self._reading is not None:
            self._reading.cancel()
        await self._response.close()

    async def _read_on(self, reading: "asyncio.Task[bytes | OriginError]") -> bytes:
        outcome = await reading
        self._reading = None
        if isinstance(outcome, OriginError):
            raise outcome
        return outcome


async def _piece(response: OriginResponse) -> bytes | OriginError:
    """An error is a result here: whoever reads on is told, and a task that nobody asks again has not failed."""
    try:
        return await response.read()
    except OriginError as error:
        return error
