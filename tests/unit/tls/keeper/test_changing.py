"""The keeper and what others change: the vault, imports, reloads, the operator, private names, self checks, names on demand."""

import asyncio

import pytest

from edgeproxy.errors import CertificateFault, IssuanceFailed, Retry
from edgeproxy.tls.certificate import SELF_SIGNED
from edgeproxy.tls.entries import Advice
from edgeproxy.tls.health import judge
from edgeproxy.tls.states import State
from tests.support.keepers import NAME
from tests.support.local_authority import DAY
from tests.support.time_lapse import until

PUBLIC = "https://acme-v02.api.letsencrypt.org/directory"


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
