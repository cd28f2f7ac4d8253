"""The keeper by time lapse: what is missing is obtained, what ends is renewed, at the times it chose or was told."""

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.certificate import SELF_SIGNED
from edgeproxy.tls.states import State
from tests.support.keepers import NAME, days
from tests.support.local_authority import DAY, Window


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
