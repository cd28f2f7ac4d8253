"""An issuer before the stub of an authority, on a manual clock; and what its log shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.issuer import Authority, Issued, Issuer, Waits
from tests.support.acme_stub import AcmeStub, problem
from tests.support.challenge_servers import HttpAnswers

CREATED = ["directory", "newNonce", "newAccount", "newOrder"]
PROVED = ["authorization", "challenge", "authorization"]
NAME = "www.made-up.test"


@dataclass
class World:
    """A stub, an issuer that asks it, and the time they share."""

    stub: AcmeStub
    issuer: Issuer
    clock: ManualClock
    http: HttpAnswers = field(default_factory=HttpAnswers)
    alpn: HttpAnswers = field(default_factory=HttpAnswers)
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 3))
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def obtain(self, *names: str, replaces: bytes | None = None) -> Issued:
        return await self.issuer.obtain(names or (NAME,), replaces=replaces)

    async def refused(self, *names: str, replaces: bytes | None = None) -> IssuanceFailed:
        with pytest.raises(IssuanceFailed) as failed:
            await self.obtain(*names, replaces=replaces)
        return failed.value

    @property
    def left(self) -> list[str]:
        """What is still presented."""
        return [*self.http.tokens, *self.alpn.tokens]


@asynccontextmanager
async def world(folder: Path, *, authority: dict[str, object] | None = None, **settings: object) -> AsyncIterator[World]:
    clock = ManualClock()
    async with AcmeStub(clock, **{"validating": False, **settings}).running() as stub:
        made = World(stub, None, clock)  # type: ignore[arg-type]
        asked = Authority(stub.directory, email="owner@example.com", **(authority or {}))  # type: ignore[arg-type]
        presenters = {"http-01": made.http, "tls-alpn-01": made.alpn}
        made.issuer = Issuer(asked, folder, presenters, clock, Waits(sleep=made.sleep))
        try:
            yield made
        finally:
            await made.issuer.close()


BAD_NONCE = problem(400, "badNonce")
