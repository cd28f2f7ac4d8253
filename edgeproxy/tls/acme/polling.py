"""Looking at resources of an authority until they are settled (RFC 8555 section 7.5.1).

Owns: the waits between looks, the end of patience, and which failures of a look are only troubles on the way. Resources are
looked at again after a lost connection or an overload, because what hangs on them (an order, a validation) is still there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from edgeproxy.clock import Clock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls.acme.network import Reply
from edgeproxy.tls.acme.session import Session
from edgeproxy.tls.acme.waiting import FIRST_LOOK, pauses

TROUBLES = frozenset(("badNonce", "unreachable", "timeout", "serverInternal", "rateLimited"))
_TROUBLES_IN_A_ROW = 5
_TROUBLE_PAUSE = 1.0
_INSISTENCE = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that the parts of one order may take."""

    presenting: float = 900.0
    """For one challenge: a DNS hook may wait until its record is everywhere."""
    validation: float = 180.0
    issuance: float = 600.0


class Poll:
    """Looks, with the pauses between them."""

    def __init__(self, session: Session, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._session = session
        self._clock = clock
        self._sleep = sleep

    async def until_settled(
        self,
        urls: Sequence[str],
        settled: Callable[[str, Reply], bool],
        limit: float,
        *,
        not_before: float | None = None,
        cause: IssuanceFailed | None = None,
    ) -> None:
        """Look at each of `urls` until `settled` says so of its answer, for `limit` seconds, beginning after a short pause or at
        `not_before` (Unix seconds), which `cause` asked for. What Retry-After asks for is waited for; raises IssuanceFailed where
        that is beyond `limit`: for the first look `cause`.
        """
        deadline = self._clock.monotonic() + limit
        rhythm = pauses()
        pending = list(urls)
        while pending:
            await self._pause(next(rhythm), not_before, deadline, cause)
            not_before = cause = None
            for url in tuple(pending):
                reply = await self._look(url, b"", deadline)
                if settled(url, reply):
                    pending.remove(url)
                elif reply.retry_at is not None:
                    not_before = max(not_before or 0.0, reply.retry_at)

    async def insist(self, url: str, payload: bytes = b"") -> Reply:
        """The answer to a request that does no harm when it arrives twice, in spite of troubles on the way."""
        return await self._look(url, payload, self._clock.monotonic() + _INSISTENCE)

    async def _look(self, url: str, payload: bytes, deadline: float) -> Reply:
        for pause in islice(pauses(_TROUBLE_PAUSE), _TROUBLES_IN_A_ROW):
            try:
                return await self._session.post(url, payload)
            except IssuanceFailed as failure:
                if not passes(failure):
                    raise
                await self._pause(pause, failure.not_before, deadline, failure)
        return await self._session.post(url, payload)

    async def _pause(self, pause: float, not_before: float | None, deadline: float, cause: IssuanceFailed | None = None) -> None:
        """Wait, but never beyond `deadline`: there `cause` is raised, or that patience is at its end."""
        if not_before is not None:
            pause = max(not_before - self._clock.seconds(), FIRST_LOOK)
        if self._clock.monotonic() + pause > deadline:
            retry = Retry.SOON if not_before is None else Retry.NOT_BEFORE
            raise cause or IssuanceFailed("timeout", "the authority is still busy", retry=retry, not_before=not_before)
        await self._sleep(pause)


def passes(failure: IssuanceFailed) -> bool:
    """Whether `failure` may be only a trouble of the moment, after which the same request may succeed."""
    return failure.problem in TROUBLES and failure.retry in (Retry.SOON, Retry.NOT_BEFORE)
