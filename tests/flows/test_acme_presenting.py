"""What becomes of an order when an answer to its challenge cannot be put in place, or not taken away again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed, Retry, StoreFull
from edgeproxy.tls.acme.issuer import Authority, Issuer, Waits
from edgeproxy.tls.acme.polling import Patience
from tests.support.acme_stub import AcmeStub
from tests.support.challenge_servers import HttpAnswers

Work = Callable[[], Awaitable[object]]


class Troubled(HttpAnswers):
    """A presenter with trouble at its n-th `present`, or at every `withdraw`."""

    def __init__(self, *, at: int = 0, present: Work | None = None, withdraw: Work | None = None) -> None:
        super().__init__()
        self.at, self.trouble, self.trouble_after = at, present, withdraw

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        await super().present(name, token, key_authorization)
        if self.trouble is not None and len(self.presented) == self.at:
            await self.trouble()

    async def withdraw(self, name: str, token: str) -> None:
        await super().withdraw(name, token)
        if self.trouble_after is not None:
            await self.trouble_after()


async def disk_full() -> None:
    raise StoreFull("no space left for a challenge")


async def for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def asked(folder: Path, presenter: HttpAnswers, patience: Patience | None = None) -> AsyncIterator[tuple[AcmeStub, Issuer]]:
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    async with AcmeStub(clock, validating=False).running() as stub:
        waits = Waits(patience or Patience(), sleep=sleep)
        issuer = Issuer(Authority(stub.directory), folder, {"http-01": presenter}, clock, waits)
        try:
            yield stub, issuer
        finally:
            await issuer.close()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(disk_full, "no space left for a challenge"), (for_ever, "it took too long")],
)
async def test_what_cannot_be_presented_is_never_answered_and_all_is_withdrawn(tmp_path: Path, trouble: Work, words: str) -> None:
    presenter = Troubled(at=2, present=trouble)
    async with asked(tmp_path, presenter, Patience(presenting=0.2)) as (stub, issuer):
        with pytest.raises(IssuanceFailed, match=words) as failed:
            await issuer.obtain(["a.test", "b.test", "c.test"])
        assert (failed.value.problem, failed.value.retry, failed.value.step) == ("present", Retry.SOON, "present")
        assert failed.value.failed_names == ()
        assert stub.count("challenge") == 0
        assert sorted(presenter.withdrawn) == sorted(presenter.presented)
        assert len(presenter.presented) == 2


@pytest.mark.parametrize("trouble", [disk_full, for_ever])
async def test_what_cannot_be_withdrawn_keeps_nobody_from_a_certificate(tmp_path: Path, trouble: Work) -> None:
    presenter = Troubled(withdraw=trouble)
    async with asked(tmp_path, presenter, Patience(presenting=0.2)) as (_, issuer):
        await issuer.obtain(["a.test", "b.test"])
        assert sorted(presenter.withdrawn) == ["a.test", "b.test"]


async def test_all_answers_are_in_place_before_the_first_is_announced(tmp_path: Path) -> None:
    presenter = HttpAnswers()
    in_place: list[int] = []

    def look(_: web.Request) -> web.Response:
        in_place.append(len(presenter.tokens))
        return web.json_response({"status": "processing"})

    async with asked(tmp_path, presenter, Patience(validation=1.0)) as (stub, issuer):
        stub.plan("challenge", look, look, look)
        with pytest.raises(IssuanceFailed):
            await issuer.obtain(["a.test", "b.test", "c.test"])
    assert in_place == [3, 3, 3]


async def test_several_certificates_at_once_from_one_account(tmp_path: Path) -> None:
    presenter = HttpAnswers()
    async with asked(tmp_path, presenter) as (stub, issuer):
        issued = await asyncio.gather(*(issuer.obtain([f"{number}.test"]) for number in range(6)))
        assert len({each.key for each in issued}) == 6
        assert (len(stub.accounts), stub.count("newAccount"), stub.count("newOrder")) == (1, 1, 6)
        assert presenter.tokens == {}
