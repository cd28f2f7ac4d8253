"""The keeper when authorities fail: waits that survive restarts, budgets of failed validations, and the next authority."""

import asyncio
from itertools import pairwise

import pytest

from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls.states import State
from tests.support.keepers import NAME, days
from tests.support.local_authority import DAY, LocalAuthority
from tests.support.time_lapse import until

# -- failures ------------------------------------------------------------------------------------------------------------------


async def test_retries_after_one_ten_and_a_hundred_minutes_then_daily(make, authority):
    authority.always = IssuanceFailed("serverInternal", "down")
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(4 * DAY)
    minutes = [round((later - earlier) / 60 / 1.1) for (earlier, *_), (later, *_) in pairwise(authority.orders)]
    assert minutes == [1, 10, 100, 1440, 1440, 1440]


async def test_the_wait_survives_a_restart(make, authority):
    authority.failures = [IssuanceFailed("serverInternal", "down")] * 2
    first = make(authority)
    await first.start(NAME)
    await first.pass_time(70)
    await first.stop()
    assert len(authority.orders) == 2
    second = make(authority)
    await second.start(NAME)
    assert len(authority.orders) == 2
    assert second.keeper.status()[0].failures == 2
    await second.pass_time(700)
    assert len(authority.orders) == 3
    assert second.keeper.status()[0].failures == 0


async def test_the_authoritys_own_time_is_respected(make, authority):
    later = authority.clock.seconds() + 7 * 3600
    authority.failures = [IssuanceFailed("rateLimited", "too many", retry=Retry.NOT_BEFORE, not_before=later)]
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(8 * 3600)
    assert [at for at, *_ in authority.orders][1] >= later
    assert len(authority.orders) == 2


async def test_at_most_five_failed_validations_of_a_name_in_an_hour(make, authority, lapse):
    refused = IssuanceFailed("unauthorized", "wrong answer", failed_names=(NAME,))
    authority.always = refused
    others = [LocalAuthority(lapse.clock, f"https://ca{number}.lab/directory", always=refused) for number in range(2)]
    lab = make(authority, *others)
    await lab.start(NAME)
    await lab.pass_time(3 * 3600)
    orders = sorted(at for one in (authority, *others) for at, *_ in one.orders)
    assert all(sum(at <= other < at + 3600 for other in orders) <= 5 for at in orders)
    assert len(orders) > 5


async def test_an_authority_that_is_down_for_days_leads_through_expiry_and_back(make, authority):
    lab = make(authority)
    await lab.start(NAME)
    authority.always = IssuanceFailed("serverInternal", "we are down")
    await lab.pass_time(95 * DAY)
    assert lab.entry(NAME).state is State.EXPIRED
    assert lab.keeper.serving()[NAME] == authority.issued[0], "the old one serves, even expired"
    kinds = lab.kinds()
    assert (kinds.count("expiring"), kinds.count("expired")) == (1, 1)
    assert kinds.index("expiring") < kinds.index("expired")
    last = [event for event in lab.events if event.kind == "failed"][-1]
    assert "an expired certificate is served" in last.detail
    assert "we are down" in last.detail
    authority.always = None
    await lab.pass_time(1.5 * DAY)
    assert lab.entry(NAME).state is State.SERVED
    assert lab.kinds()[-1] == "renewed"
    status = lab.keeper.status()[0]
    assert status.last_failure.detail == "we are down"
    assert status.last_success > status.last_failure.time


async def test_the_wait_does_not_sleep_through_the_last_resort(make, authority):
    authority.lifetime = 6 * DAY
    lab = make(authority)
    await lab.start(NAME)
    authority.always = IssuanceFailed("serverInternal", "down")
    await lab.pass_time(6 * DAY)
    assert 5.7 in days(authority)


async def test_a_bug_in_the_driver_of_an_authority_is_a_failure_like_any_other(make, authority):
    authority.always = ZeroDivisionError("a bug")
    lab = make(authority)
    await lab.start(NAME)
    assert lab.kinds() == ["failed"]
    authority.always = None
    await lab.pass_time(80)
    assert lab.kinds() == ["failed", "obtained"]


# -- several authorities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", list(Retry))
async def test_the_next_authority_is_asked_in_the_same_attempt(make, authority, lapse, retry):
    authority.always = IssuanceFailed("caa", "CAA forbids", retry=retry, not_before=lapse.clock.seconds() + 3600)
    second = LocalAuthority(lapse.clock, "https://other.lab/directory")
    lab = make(authority, second)
    await lab.start(NAME)
    assert len(authority.orders) == len(second.orders) == 1
    assert authority.orders[0][0] == second.orders[0][0]
    assert lab.keeper.serving()[NAME].directory == second.directory


async def test_an_authority_that_refuses_on_principle_is_left_alone_for_a_day_and_the_other_is_not(make, authority, lapse):
    authority.always = IssuanceFailed("rejectedIdentifier", "never", retry=Retry.OTHER_CA)
    second = LocalAuthority(lapse.clock, "https://other.lab/directory", failures=[IssuanceFailed("timeout", "slow")] * 2)
    lab = make(authority, second)
    await lab.start(NAME)
    await lab.pass_time(3600)
    assert len(authority.orders) == 1
    assert len(second.orders) == 3


async def test_only_its_own_authority_is_told_what_is_replaced(make, authority, lapse):
    second = LocalAuthority(lapse.clock, "https://other.lab/directory")
    lab = make(authority, second)
    await lab.start(NAME)
    authority.always = IssuanceFailed("serverInternal", "down")
    await lab.pass_time(61 * DAY)
    assert authority.orders[-1][2] == authority.issued[0].chain
    assert second.orders[-1][2] is None


async def test_a_staging_authority_never_takes_the_place_of_a_good_certificate(make, authority, lapse):
    first = make(authority)
    await first.start(NAME)
    await first.stop()
    staging = LocalAuthority(lapse.clock, "https://acme-staging.lab/directory")
    second = make(staging)
    await second.start(NAME)
    await second.pass_time(80 * DAY)
    assert staging.orders == []
    assert second.keeper.serving()[NAME] == authority.issued[0]
    await second.pass_time(11 * DAY)
    assert len(staging.orders) == 1, "once the good one has expired, one for trials is better than none"


async def test_a_staging_certificate_counts_as_none_when_a_real_authority_is_configured(make, authority, lapse):
    staging = LocalAuthority(lapse.clock, "https://acme-staging.lab/directory")
    first = make(staging)
    await first.start(NAME)
    await first.stop()
    second = make(authority)
    await second.start(NAME)
    assert len(authority.orders) == 1
    assert second.keeper.serving()[NAME] == authority.issued[0]


# -- being stopped -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_stopped_at_any_moment_of_an_attempt_the_next_start_goes_on(make, authority, turns):
    first = make(authority)
    first.want(NAME)
    await first.keeper.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await first.stop()
    assert not first.keeper.leads
    second = make(authority)
    await second.start(NAME)
    assert second.entry(NAME).state is State.SERVED
    assert second.keeper.serving()[NAME] == authority.issued[-1]
    assert len(authority.orders) <= 2


async def test_an_attempt_that_kills_the_process_each_time_is_slowed_down(make, authority):
    gate = asyncio.Event()
    authority.delay = gate.wait
    for _ in range(6):
        lab = make(authority)
        lab.want(NAME)
        await lab.keeper.start()
        await until(lambda lab=lab: lab.keeper.leads)
        for _ in range(60):
            await asyncio.sleep(0.001)
        await lab.stop()  # as if it had died there: what was begun is on disk as begun
    assert len(authority.orders) == 3


async def test_failed_validations_are_counted_by_name_across_name_sets_and_reloads(make, authority):
    authority.always = IssuanceFailed("unauthorized", "wrong answer", failed_names=(NAME,) * 4)
    lab = make(authority)
    await lab.start(NAME)
    authority.always = IssuanceFailed("unauthorized", "wrong answer", failed_names=(NAME,))
    for number in range(4):
        lab.want((NAME, f"n{number}.example.org"))
        await lab.rest()
    assert len(authority.orders) == 2, "five failures in all"
    await lab.stop()
    again = make(authority)
    await again.start((NAME, "more.example.org"))
    assert len(authority.orders) == 2
    await again.pass_time(3700)
    assert len(authority.orders) > 2
