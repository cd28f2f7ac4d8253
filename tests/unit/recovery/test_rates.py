"""Token buckets."""

from edgeproxy.recovery.rates import Limit, Rates


def test_a_client_may_burst_and_then_goes_on_at_its_rate() -> None:
    rates = Rates(Limit(burst=3, rate=1), Limit(burst=100, rate=100))
    assert [rates.wait("192.0.2.1", 0.0) for _ in range(3)] == [0, 0, 0]
    assert rates.wait("192.0.2.1", 0.0) == 1.0
    assert rates.wait("192.0.2.2", 0.0) == 0, "another client is not its fault"
    assert rates.wait("192.0.2.1", 0.5) == 0.5
    assert rates.wait("192.0.2.1", 1.0) == 0


def test_all_together_are_bounded_however_many_they_are() -> None:
    rates = Rates(Limit(burst=3, rate=1), Limit(burst=5, rate=1), clients=4)
    waits = [rates.wait(f"192.0.2.{number}", 0.0) for number in range(8)]
    assert waits[:5] == [0] * 5
    assert all(wait > 0 for wait in waits[5:])
    assert len(rates) == 4
