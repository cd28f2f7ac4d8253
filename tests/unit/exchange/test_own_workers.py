"""Which hosts get our service worker."""

from edgeproxy.exchange.own_workers import MAX_OWN, OwnWorkers


def test_a_site_that_is_on_gets_it_at_all_its_hosts_but_those_with_their_own() -> None:
    workers = OwnWorkers(frozenset(("shop",)))
    assert workers.is_injected("shop", "a.test")
    assert not workers.is_injected("other", "a.test")
    workers.saw_own("shop", "a.test")
    workers.saw_own("shop", "a.test")
    workers.saw_own("other", "b.test")
    assert not workers.is_injected("shop", "a.test")
    assert workers.is_injected("shop", "b.test")


def test_a_flood_of_hosts_is_bounded() -> None:
    workers = OwnWorkers(frozenset(("shop",)))
    for number in range(MAX_OWN + 5):
        workers.saw_own("shop", f"{number}.test")
    assert workers.is_injected("shop", "0.test")
    assert not workers.is_injected("shop", f"{MAX_OWN}.test")
