"""Certificates for the first client that asks: an ask URL that really answers, a keeper, and an authority that signs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.on_demand import Budget, OnDemand, OnDemandSettings, Refusal, is_possible
from tests.support.keepers import Lab
from tests.support.local_authority import DAY, LocalAuthority
from tests.support.time_lapse import until
from tests.support.web_app import listening

NAME = "shop.example.org"


class Service:
    """The operator's: says yes to names below example.org, and remembers who asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self.gate: asyncio.Event | None = None
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.query["domain"], request.query["client"]))
        if self.gate is not None:
            await self.gate.wait()
        if request.path == "/redirect":
            raise web.HTTPFound("/ask?domain=x&client=y")
        known = request.query["domain"].endswith(".example.org") and request.query.get("key") == "1"
        return web.Response(status=self.status if known else 404)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_get("/ask", service.answer)
    app.router.add_get("/redirect", service.answer)
    async with listening(app) as service.url:
        yield service


class Place:
    """An edge's part of it."""

    def __init__(self, folder: Path, ask: str, **settings: object) -> None:
        first = Lab(folder, [])
        self.authority = LocalAuthority(first.clock)
        self.lab = Lab(folder, [self.authority], first.lapse)
        self.settings = OnDemandSettings(ask=ask, **settings)
        self.demand = self.again()

    def again(self) -> OnDemand:
        return OnDemand(self.lab.keeper.find, self.lab.keeper.obtain, self.lab.clock, self.settings)


@pytest.fixture
async def make(tmp_path: Path, service: Service) -> AsyncIterator[object]:
    places: list[Place] = []

    async def new(path: str = "/ask?key=1", **settings: object) -> Place:
        place = Place(tmp_path / "tls", service.url + path, **settings)
        places.append(place)
        await place.lab.start()
        return place

    yield new
    for place in places:
        await place.demand.stop()
        await place.lab.stop()


async def test_a_name_that_is_allowed_is_obtained_once_for_all_who_wait(make, service):
    place = await make()
    answers = await asyncio.gather(*(place.demand.certificate(NAME.upper() + ".", f"9.9.9.{n}") for n in range(20)))
    assert {answer.fingerprint for answer in answers} == {place.authority.issued[0].fingerprint}
    assert len(place.authority.orders) == len(service.asked) == 1
    assert service.asked[0][0] == NAME
    assert await place.demand.certificate(NAME, "9.9.9.9") == answers[0]
    assert len(service.asked) == 1


async def test_the_service_is_told_who_asks(make, service):
    place = await make()
    await place.demand.certificate(NAME, "2001:db8::7")
    assert service.asked == [(NAME, "2001:db8::7")]


@pytest.mark.parametrize(
    "name", ["9.9.9.9", "::1", "localhost", "intranet", "a.internal", "a..example.org", "", "-a.example.org", "*.example.org"]
)
async def test_what_cannot_have_a_certificate_is_refused_before_anybody_is_asked(make, service, name):
    place = await make()
    assert await place.demand.certificate(name, "9.9.9.9") is None
    assert service.asked == []
    assert place.demand.refusals[Refusal.NAME] == 1


async def test_a_no_is_remembered_for_a_while(make, service):
    place = await make(denied_seconds=300)
    for _ in range(3):
        assert await place.demand.certificate("evil.example.com", "9.9.9.9") is None
    assert len(service.asked) == 1
    assert place.demand.refusals[Refusal.RECENT] == 2
    await place.lab.pass_time(301)
    assert await place.demand.certificate("evil.example.com", "9.9.9.9") is None
    assert len(service.asked) == 2
    assert place.authority.orders == []


async def test_a_redirect_is_no(make, service):
    place = await make("/redirect?key=1")
    assert await place.demand.certificate(NAME, "9.9.9.9") is None
    assert len(service.asked) == 1
    assert place.demand.refusals[Refusal.DENIED] == 1


async def test_a_service_that_does_not_answer_is_no(make, service):
    service.gate = asyncio.Event()
    place = await make(ask_seconds=0.1)
    assert await place.demand.certificate(NAME, "9.9.9.9") is None
    assert place.demand.refusals[Refusal.UNREACHABLE] == 1
    service.gate.set()


async def test_a_handshake_is_held_for_a_bounded_time_and_what_comes_later_serves_the_next(make):
    place = await make(hold_seconds=0.1)
    gate = asyncio.Event()
    place.authority.delay = gate.wait
    assert await place.demand.certificate(NAME, "9.9.9.9") is None
    assert place.demand.refusals[Refusal.SLOW] == 1
    gate.set()
    await until(lambda: place.authority.issued)
    await until(lambda: not place.demand._flights)
    assert await place.demand.certificate(NAME, "9.9.9.9") == place.authority.issued[0]
    assert len(place.authority.orders) == 1


async def test_only_so_many_handshakes_are_held(make):
    place = await make(most_held=3)
    gate = asyncio.Event()
    place.authority.delay = gate.wait
    waiting = [asyncio.ensure_future(place.demand.certificate(NAME, "9.9.9.9")) for _ in range(3)]
    await until(lambda: place.demand.held == 3)
    assert await place.demand.certificate(NAME, "9.9.9.8") is None
    assert place.demand.refusals[Refusal.BUSY] == 1
    gate.set()
    assert None not in await asyncio.gather(*waiting)
    assert place.demand.held == 0


async def test_budgets_for_one_address_and_for_all(make, service):
    place = await make(client_names=2, all_names=3, budget_seconds=3600)
    for number, client in enumerate(["9.9.9.1", "9.9.9.1", "9.9.9.1", "9.9.9.2", "9.9.9.3"]):
        await place.demand.certificate(f"n{number}.example.org", client)
    assert len(place.authority.orders) == 3
    assert place.demand.refusals[Refusal.CLIENT_BUDGET] == 1
    assert place.demand.refusals[Refusal.BUDGET] == 1
    await place.lab.pass_time(3601)
    assert await place.demand.certificate("n9.example.org", "9.9.9.1") is not None


async def test_a_failure_is_remembered_and_the_keepers_wait_holds(make):
    place = await make(failed_seconds=1)
    place.authority.always = IssuanceFailed("unauthorized", "wrong answer")
    for _ in range(3):
        assert await place.demand.certificate(NAME, "9.9.9.9") is None
        await place.lab.pass_time(2)
    assert len(place.authority.orders) == 1
    assert place.demand.refusals[Refusal.FAILED] == 3


async def test_after_a_restart_the_vault_is_enough(make, service):
    place = await make(all_names=1)
    first = await place.demand.certificate(NAME, "9.9.9.9")
    fresh = place.again()
    assert await fresh.certificate(NAME, "9.9.9.9") == first
    assert len(service.asked) == 1
    await fresh.stop()


async def test_one_in_use_is_renewed_behind_the_client_after_another_yes_and_one_out_of_use_is_not(make, service):
    place = await make()
    first = await place.demand.certificate(NAME, "9.9.9.9")
    await place.lab.pass_time(70 * DAY)
    assert len(place.authority.orders) == 1
    assert await place.demand.certificate(NAME, "9.9.9.9") == first, "nobody waits for a renewal"
    await until(lambda: len(place.authority.issued) == 2 and not place.demand._flights)
    assert await place.demand.certificate(NAME, "9.9.9.9") == place.authority.issued[1]
    assert len(service.asked) == 2


async def test_a_waiting_client_that_leaves_does_not_end_the_order(make):
    place = await make()
    gate = asyncio.Event()
    place.authority.delay = gate.wait
    waiting = asyncio.ensure_future(place.demand.certificate(NAME, "9.9.9.9"))
    await until(lambda: place.authority.running)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert place.demand.held == 0
    gate.set()
    await until(lambda: place.authority.issued)
    assert await place.demand.certificate(NAME, "9.9.9.9") == place.authority.issued[0]


# -- pure parts ----------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_no_text_is_an_error(name):
    assert is_possible(name) in (True, False)


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from("abc")), max_size=80))
def test_a_budget_is_never_exceeded_in_any_window(steps):
    budget, now, spent = Budget(2, 4, 60.0), 0.0, []
    for pause, client in steps:
        now += pause
        if budget.spend(client, now) is None:
            spent.append((now, client))
    for start, _ in spent:
        window = [client for time, client in spent if start <= time < start + 60.0]
        assert len(window) <= 4
        assert all(window.count(client) <= 2 for client in window)
