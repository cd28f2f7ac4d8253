"""The keeper by time lapse: days pass in milliseconds, and the authority is real in what it signs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from edgeproxy.errors import CertificateFault, IssuanceFailed, Retry
from edgeproxy.tls.certificate import SELF_SIGNED
from edgeproxy.tls.entries import Advice
from edgeproxy.tls.health import judge
from edgeproxy.tls.states import State
from tests.support.keepers import Lab
from tests.support.local_authority import DAY, LocalAuthority, Window
from tests.support.time_lapse import TimeLapse, until

NAME = "www.example.com"
PUBLIC = "https://acme-v02.api.letsencrypt.org/directory"
Start = Callable[..., Lab]


@pytest.fixture
def lapse() -> TimeLapse:
    return TimeLapse()


@pytest.fixture
def authority(lapse: TimeLapse) -> LocalAuthority:
    return LocalAuthority(lapse.clock)


@pytest.fixture
async def make(tmp_path: Path, lapse: TimeLapse) -> AsyncIterator[Start]:
    labs: list[Lab] = []

    def new(*issuers: LocalAuthority, **settings: object) -> Lab:
        labs.append(Lab(tmp_path / "tls", issuers, lapse, **settings))
        return labs[-1]

    yield new
    for lab in labs:
        await lab.stop()


def days(authority: LocalAuthority) -> list[float]:
    """When orders came, in days since the first."""
    return [round((at - authority.orders[0][0]) / DAY, 3) for at, *_ in authority.orders]


# -- obtaining and renewing ----------------------------------------------------------------------------------------------------


async def test_obtains_what_is_missing_and_serves_it(make, authority):
    lab = make(authority)
    await lab.start(NAME)
    assert [names for _, names, _ in authority.orders] == [(NAME,)]
    assert lab.keeper.serving()[NAME] == authority.issued[-1]
    assert lab.changes[-1] == authority.issued[-1]
    assert lab.kinds() == ["obtained"]
    assert lab.entry(NAME).state is State.SERVED


async def test_a_placeholder_is_served_before_any_authority_is_asked(make, authority):
    authority.always = IssuanceFailed("unreachable", "no route")
    lab = make(authority)
    lab.want(NAME)
    await lab.keeper.start()
    shown = lab.keeper.serving()[NAME]
    assert shown.directory == SELF_SIGNED
    assert shown.names == (NAME,)
    assert authority.orders == []


async def test_renews_at_two_thirds_of_its_life_and_names_what_it_replaces(make, authority):
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(130 * DAY)
    assert days(authority) == [0, 60, 120]
    assert [replaced for *_, replaced in authority.orders] == [None, *(one.chain for one in authority.issued[:2])]
    assert lab.kinds() == ["obtained", "renewed", "renewed"]


async def test_a_certificate_of_six_days_is_renewed_at_half_of_its_life(make, authority):
    authority.lifetime = 6 * DAY
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(10 * DAY)
    assert days(authority) == [0, 3, 6, 9]


async def test_certificates_of_twenty_seconds_are_renewed_and_none_past_its_end_is_served(make, authority):
    authority.lifetime = 20
    lab = make(authority)
    ages = []

    def watch() -> None:
        shown = lab.keeper.serving()[NAME]
        ages.append(shown.not_after - lab.clock.seconds())

    await lab.start(NAME)
    await lab.pass_time(100, watch)
    assert len(authority.issued) >= 9
    assert min(ages) > 5


async def test_what_the_authority_suggests_beats_our_own_schedule_when_it_is_earlier(make, authority):
    now = authority.clock.seconds()
    authority.window = Window(now + 10 * DAY, now + 12 * DAY)
    lab = make(authority)
    await lab.start(NAME)
    assert lab.keeper.status()[0].suggestion.chosen == now + 11 * DAY  # the lab draws 0.5
    await lab.pass_time(11.5 * DAY)
    assert days(authority) == [0, 11]


async def test_what_the_authority_suggests_beats_our_own_schedule_when_it_is_later(make, authority):
    now = authority.clock.seconds()
    authority.window = Window(now + 80 * DAY, now + 82 * DAY)
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(82 * DAY)
    assert days(authority) == [0, 81]


async def test_a_window_that_moves_to_now_renews_at_once(make, authority):
    now = authority.clock.seconds()
    authority.window = Window(now + 58 * DAY, now + 62 * DAY)
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(5 * DAY)
    assert len(authority.orders) == 1
    authority.window = Window(now - DAY, now)  # a mass revocation
    await lab.pass_time(DAY)
    assert 5 <= days(authority)[1] <= 6


async def test_the_last_resort_comes_whatever_the_authority_suggests(make, authority):
    now = authority.clock.seconds()
    authority.window = Window(now + 400 * DAY, now + 401 * DAY)
    lab = make(authority)
    await lab.start(NAME)
    await lab.pass_time(86 * DAY)
    assert days(authority) == [0, 85.5]


async def test_the_chosen_time_survives_a_restart(make, authority):
    now = authority.clock.seconds()
    authority.window = Window(now + 20 * DAY, now + 40 * DAY)
    first = make(authority)
    await first.start(NAME)
    await first.stop()
    second = make(authority, draw=lambda: 0.0)
    await second.start(NAME)
    assert second.keeper.status()[0].suggestion.chosen == now + 30 * DAY
    assert len(authority.asked) == 1


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


# -- the vault -----------------------------------------------------------------------------------------------------------------


async def test_no_authority_is_asked_when_the_vault_has_a_good_one(make, authority):
    first = make(authority)
    await first.start(NAME, ("a.example.org", "b.example.org"))
    await first.stop()
    second = make(authority)
    second.want(NAME, ("b.example.org", "a.example.org"))
    await second.keeper.start()
    assert set(second.keeper.serving().values()) == set(authority.issued)
    await until(lambda: second.keeper.leads)
    await second.rest()
    assert len(authority.orders) == 2
    assert second.events == []


async def test_a_damaged_vault_means_obtain_once_and_not_a_loop(make, authority):
    first = make(authority)
    await first.start(NAME)
    await first.stop()
    for path in first.vault.certificates.rglob("*.pem"):
        path.write_bytes(b"")
    second = make(authority)
    await second.start(NAME)
    await second.pass_time(20 * DAY)
    assert len(authority.orders) == 2
    assert second.kinds() == ["damaged", "obtained"]


async def test_what_vanishes_from_the_vault_is_put_back_from_memory(make, authority):
    lab = make(authority)
    await lab.start(NAME)
    for path in lab.vault.certificates.rglob("*.pem"):
        path.unlink()
    await lab.pass_time(DAY)
    assert lab.kinds() == ["obtained", "restored"]
    assert lab.vault.load((NAME,)) == authority.issued[0]
    assert len(authority.orders) == 1


async def test_an_imported_certificate_is_served_at_once_and_renewed_when_it_is_due(make, authority):
    lab = make(authority)
    await lab.start(NAME)
    imported = authority.certificate(NAME, "also.example.org", directory="")
    await lab.vault.store(imported)
    await lab.pass_time(DAY)
    assert lab.keeper.serving()[NAME] == imported
    assert lab.entry(NAME).state is State.HELD
    assert lab.kinds()[-1] == "imported"
    await lab.pass_time(60 * DAY)
    assert len(authority.orders) == 2
    assert lab.entry(NAME).state is State.SERVED


async def test_with_an_imported_certificate_and_no_authority_it_ends_loudly(make, authority):
    lab = make()
    imported = authority.certificate(NAME, directory="")
    lab.vault.open()
    await lab.vault.store(imported)
    await lab.start(NAME)
    await lab.pass_time(91 * DAY)
    assert lab.kinds() == ["expiring", "expired"]
    assert lab.keeper.serving()[NAME] == imported


# -- reload, many, operator ----------------------------------------------------------------------------------------------------


async def test_a_reload_obtains_what_is_new_and_serves_parts_meanwhile(make, authority):
    lab = make(authority)
    await lab.start("a.example.org", "b.example.org")
    authority.always = IssuanceFailed("serverInternal", "down")
    lab.want(("a.example.org", "b.example.org", "c.example.org"))
    await lab.rest()
    serving = lab.keeper.serving()
    by_name = {one.names[0]: one for one in authority.issued}  # which of the two came first is a matter of chance
    assert serving["a.example.org"] == by_name["a.example.org"]
    assert serving["b.example.org"] == by_name["b.example.org"]
    assert serving["c.example.org"].directory == SELF_SIGNED
    authority.always = None
    await lab.pass_time(100)
    assert set(lab.keeper.serving().values()) == {authority.issued[-1]}


async def test_a_reload_that_splits_a_set_needs_no_authority_while_the_old_one_is_good(make, authority):
    lab = make(authority)
    await lab.start(("a.example.org", "b.example.org"))
    lab.want("a.example.org", "b.example.org")
    await lab.rest()
    await lab.pass_time(DAY)
    assert len(authority.orders) == 1
    assert set(lab.keeper.serving().values()) == {authority.issued[0]}


async def test_never_more_than_the_bounded_number_of_orders_at_once(make, authority):
    gate = asyncio.Event()
    authority.delay = gate.wait
    lab = make(authority, most_orders=3)
    lab.want(*(f"n{number}.example.org" for number in range(12)))
    await lab.keeper.start()
    await until(lambda: authority.running == 3)
    gate.set()
    await until(lambda: len(authority.issued) == 12)
    assert authority.most_running == 3


async def test_the_operator_can_have_it_renewed_now_whatever_the_wait_says(make, authority):
    authority.failures = [IssuanceFailed("serverInternal", "down", retry=Retry.OPERATOR)]
    lab = make(authority)
    await lab.start(NAME)
    await lab.keeper.renew_now(NAME.upper())
    await lab.rest()
    assert lab.kinds() == ["failed", "obtained"]
    with pytest.raises(CertificateFault, match="no certificate is kept"):
        await lab.keeper.renew_now("unknown.example.org")


async def test_the_operator_cannot_exceed_the_budget_of_failed_validations(make, authority):
    authority.always = IssuanceFailed("unauthorized", "wrong answer", failed_names=(NAME,) * 5)
    lab = make(authority)
    await lab.start(NAME)
    with pytest.raises(CertificateFault, match="too many validations"):
        await lab.keeper.renew_now(NAME)
    assert len(authority.orders) == 1


async def test_private_names_are_signed_here_unless_an_authority_for_them_was_chosen(make, authority):
    lab = make(authority)
    await lab.start("localhost", "app.internal", ("10.0.0.1", NAME))
    assert [names for _, names, _ in authority.orders] == [(NAME,)]
    assert lab.entry("app.internal").state is State.LOCAL
    assert lab.keeper.serving()["10.0.0.1"].directory == SELF_SIGNED
    await lab.stop()
    chosen = make(authority, chosen_directories=(authority.directory,))
    await chosen.start("localhost", "app.internal", ("127.0.0.1",))
    assert sorted(names for _, names, _ in authority.orders[1:]) == [("127.0.0.1",), ("app.internal",)]
    assert chosen.keeper.serving()["localhost"].directory == SELF_SIGNED


async def test_a_self_signed_certificate_survives_a_restart_and_is_renewed_by_itself(make):
    lab = make()
    await lab.start("localhost")
    shown = lab.keeper.serving()["localhost"]
    await lab.stop()
    again = make()
    await again.start("localhost")
    assert again.keeper.serving()["localhost"] == shown
    await again.pass_time(70 * DAY)
    assert again.keeper.serving()["localhost"] != shown


async def test_for_a_private_name_what_the_operator_brought_is_better_than_what_is_signed_here(make, authority):
    lab = make(authority)
    await lab.start("localhost", "app.internal")
    imported = [authority.certificate(name, directory="") for name in ("localhost", "app.internal")]
    for one in imported:
        await lab.vault.store(one)
    await lab.pass_time(6 * 3600 + 1)
    assert [lab.keeper.serving()[name] for name in ("localhost", "app.internal")] == imported
    assert lab.entry("localhost").state is State.HELD
    assert lab.kinds() == ["imported", "imported"]
    with pytest.raises(CertificateFault, match="import the next"):
        await lab.keeper.renew_now("localhost")
    await lab.stop()
    again = make(authority)
    await again.start("localhost", "app.internal")
    assert [again.keeper.serving()[name] for name in ("localhost", "app.internal")] == imported
    assert judge(again.keeper.served(), again.clock.seconds()).colour == "green"
    await again.pass_time(91 * DAY)
    assert again.keeper.serving()["localhost"] == imported[0], "as loudly as any other that has expired"
    assert judge(again.keeper.served(), again.clock.seconds()).colour == "red"
    assert authority.orders == []


# -- the self check ------------------------------------------------------------------------------------------------------------


class Looks:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)

    async def look(self, names):
        return Advice(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], "port 80 is closed")


async def test_a_bad_self_check_defers_the_first_attempt_until_it_is_good(make, authority):
    authority.directory = PUBLIC
    lab = make(authority, self_check=Looks(False, False, True))
    await lab.start(NAME)
    assert authority.orders == []
    assert lab.kinds() == ["deferred"]
    assert lab.keeper.status()[0].advice == "port 80 is closed"
    await lab.pass_time(21)
    assert lab.kinds() == ["deferred", "obtained"]


async def test_the_self_check_is_not_for_authorities_with_a_view_of_their_own(make, authority):
    lab = make(authority, self_check=Looks(False))
    await lab.start(NAME)
    assert lab.kinds() == ["obtained"]


async def test_a_bad_self_check_blocks_nothing_for_ever(make, authority):
    authority.directory = PUBLIC
    lab = make(authority, self_check=Looks(False))
    began = lab.clock.seconds()
    await lab.start(NAME)
    await lab.pass_time(200)
    assert 120 <= authority.orders[0][0] - began <= 130
    await lab.pass_time(61 * DAY)
    assert len(authority.orders) == 2, "renewals are not deferred"


# -- on demand -----------------------------------------------------------------------------------------------------------------


async def test_obtained_on_demand_once_and_not_renewed_by_itself(make, authority):
    lab = make(authority)
    await lab.start()
    first = await lab.keeper.obtain("new.example.org")
    assert first == authority.issued[0]
    assert await lab.keeper.obtain("new.example.org") == first
    await lab.pass_time(70 * DAY)
    assert len(authority.orders) == 1
    assert await lab.keeper.obtain("new.example.org") == authority.issued[1]


async def test_on_demand_waits_of_failures_hold_for_every_client(make, authority):
    authority.always = IssuanceFailed("unauthorized", "wrong answer")
    lab = make(authority)
    await lab.start()
    for _ in range(3):
        with pytest.raises(IssuanceFailed, match="unauthorized"):
            await lab.keeper.obtain("new.example.org")
    assert len(authority.orders) == 1


async def test_on_demand_nothing_is_tried_again_that_no_client_asks_for(make, authority):
    authority.always = IssuanceFailed("unauthorized", "wrong answer")
    lab = make(authority)
    await lab.start()
    with pytest.raises(IssuanceFailed, match="unauthorized"):
        await lab.keeper.obtain("new.example.org")
    await lab.pass_time(5 * DAY)
    assert len(authority.orders) == 1
    with pytest.raises(IssuanceFailed, match="unauthorized"):
        await lab.keeper.obtain("new.example.org")
    assert len(authority.orders) == 2


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
