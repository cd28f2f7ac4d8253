"""Asks the origins of one site: chooses, tries, retries, and hands back the response.

Owns: how many times a request is tried and where. Must not decide about caching, and must not touch aiohttp beyond its trace
configurations; that is `origin.pool`.
"""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from edgeproxy.clock import Clock
from edgeproxy.errors import (
    OriginConnectTimeout,
    OriginError,
    OriginRefused,
    OriginReset,
    OriginUnresolved,
    OriginUntrusted,
)
from edgeproxy.origin.balancer import Balancer, Outcome, RoundRobin, outcome_of_error, outcome_of_status
from edgeproxy.origin.framing import Delimiter
from edgeproxy.origin.health import Health
from edgeproxy.origin.messages import Body, Interim, Origin, OriginRequest, OriginResponse, OriginSettings
from edgeproxy.origin.pool import OriginPool, Try
from edgeproxy.origin.tunnel import Tunnel, open_tunnel
from edgeproxy.wire.fields import Fields

NOT_CONNECTED = (OriginConnectTimeout, OriginRefused, OriginUnresolved, OriginUntrusted)
"""Errors before one byte of the request was written: any other origin may be asked instead."""


class OriginClient:
    """The origins of one site. May be made before a loop runs; connections are made when the first request needs them."""

    def __init__(
        self,
        origins: Sequence[Origin],
        clock: Clock,
        settings: OriginSettings | None = None,
        *,
        balancer: Balancer | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._balancer = balancer or RoundRobin(origins)
        self._clock = clock
        self._settings = settings or OriginSettings()
        self._trace_configs = tuple(trace_configs)
        self._pools: dict[Origin, OriginPool] = {}
        self._health = {origin: Health(origin.url) for origin in origins}
        self._closed = False
        self.tries = 0
        """Requests sent to any of the origins since the start, retries included."""

    @property
    def settings(self) -> OriginSettings:
        return self._settings

    @property
    def balancer(self) -> Balancer:
        return self._balancer

    def health(self) -> list[tuple[Origin, Health]]:
        """How each origin does, in the order in which they were given."""
        return list(self._health.items())

    def _failed(self, origin: Origin, error: OriginError) -> None:
        outcome = outcome_of_error(error)
        self._balancer.report(origin, outcome)
        self._health_of(origin).note(outcome, self._clock.now(), error.text)

    def _answered(self, origin: Origin, status: int) -> None:
        outcome = outcome_of_status(status)
        self._balancer.report(origin, outcome)
        why = "" if outcome is Outcome.ANSWERED else f"status {status}"
        self._health_of(origin).note(outcome, self._clock.now(), why)

    def _health_of(self, origin: Origin) -> Health:
        """A balancer may choose one that it found itself."""
        return self._health.setdefault(origin, Health(origin.url))

    async def fetch(self, request: OriginRequest, *, on_interim: Interim | None = None) -> OriginResponse:
        """The response to `request`, as soon as its head is here. The caller must close it.

        Tries the next origin while none could be connected to, and the same origin once more, on a fresh connection, when a
        pooled one was dead before any byte of an answer and the request is repeatable. Each try is one run through aiohttp's
        tracing hooks. Raises an OriginError; RequestRefused when the request cannot be sent as it is; and whatever the
        request's body or `on_interim` raises.
        """
        tried: list[Origin] = []
        tries = 0
        failure: OriginError | None = None
        while (origin := self._balancer.choose(tried)) is not None:
            tried.append(origin)
            attempt = Try(request, on_interim)
            tries += 1
            try:
                return await self._try(origin, attempt, tries)
            except NOT_CONNECTED as error:
                failure = error
                continue
            except OriginReset:
                if not (attempt.died_in_the_pool and request.repeatable and not attempt.body_taken and self._settings.retries):
                    raise
            self._pool(origin).drop_idle()
            return await self._try_afresh(origin, request, on_interim, tries)
        raise failure or OriginRefused("no origin may be asked now")

    async def _try_afresh(self, origin: Origin, request: OriginRequest, on_interim: Interim | None, tries: int) -> OriginResponse:
        """On fresh connections, as often as the settings allow; a fresh one that is reset too says that it is not the pool."""
        for left in reversed(range(self._settings.retries)):
            attempt = Try(request, on_interim)
            tries += 1
            try:
                return await self._try(origin, attempt, tries)
            except OriginReset:
                if not left or attempt.body_taken:
                    raise
        raise OriginRefused("no origin may be asked now")

    async def _try(self, origin: Origin, attempt: Try, tries: int) -> OriginResponse:
        request_time = self._clock.now()
        attempt.number = tries
        self.tries += 1
        try:
            response = await self._pool(origin).send(attempt)
        except OriginError as error:
            self._failed(origin, error)
            raise
        answer = response.body.answer
        assert answer.head is not None
        assert answer.framing is not None
        self._answered(origin, answer.head.status)
        return OriginResponse(
            status=answer.head.status,
            fields=answer.head.fields,
            body_length=answer.framing.body_length,
            delimited_by_close=answer.framing.delimiter is Delimiter.CLOSE,
            origin=origin,
            request_time=request_time,
            response_time=self._clock.now(),
            body=_Reported(response.body, origin, self._failed),
            tries=tries,
        )

    async def open_tunnel(self, request: OriginRequest, upgrade: str) -> Tunnel | OriginResponse:
        """Ask for a switch to one of the protocols in `upgrade`; a Tunnel, or the response when the origin answers in HTTP
        (then close it).

        The next origin is tried while none could be connected to. Not seen by aiohttp's tracing hooks. Raises OriginError and
        RequestRefused.
        """
        tried: list[Origin] = []
        failure: OriginError | None = None
        while (origin := self._balancer.choose(tried)) is not None:
            tried.append(origin)
            try:
                opened = await open_tunnel(request, upgrade, origin, self._pool(origin).tls, self._settings, self._clock)
            except OriginError as error:
                self._failed(origin, error)
                if not isinstance(error, NOT_CONNECTED):
                    raise
                failure = error
                continue
            status = 101 if isinstance(opened, Tunnel) else opened.status
            self._answered(origin, status)
            return opened
        raise failure or OriginRefused("no origin may be asked now")

    def _pool(self, origin: Origin) -> OriginPool:
        pool = self._pools.get(origin)
        if pool is None:
            if self._closed:
                raise OriginRefused("the client of this origin is closed", origin=origin.url)
            pool = self._pools[origin] = OriginPool(origin, self._settings, self._trace_configs)
        return pool

    async def close(self) -> None:
        """Close all connections. Bodies that are still being read fail."""
        self._closed = True
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.close()
        await asyncio.sleep(0)  # transports that were aborted tell their end in the next turn of the loop


class _Reported:
    """A body that tells the client when it breaks off."""

    __slots__ = ("_body", "_failed", "_origin")

    def __init__(self, body: Body, origin: Origin, failed: Callable[[Origin, OriginError], None]) -> None:
        self._body = body
        self._origin = origin
        self._failed = failed

    @property
    def trailers(self) -> Fields:
        return self._body.trailers

    @property
    def is_sound(self) -> bool:
        return self._body.is_sound

    async def read(self) -> bytes:
        try:
            return await self._body.read()
        except OriginError as error:
            error.fields.setdefault("origin", self._origin.url)
            self._failed(self._origin, error)
            raise

    async def close(self) -> None:
        await self._body.close()
