"""What a client may spend, by the clock."""

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.http2_budget import ALLOWANCES, Budget, Flooded, Spent, WindowPool


@pytest.mark.parametrize("kind", Spent)
def test_a_bucket_is_full_at_first_and_refilled_by_the_second(kind: Spent) -> None:
    clock = ManualClock()
    budget = Budget(clock.monotonic)
    allowance = ALLOWANCES[kind]
    for _ in range(allowance.most):
        budget.spend(kind)
    with pytest.raises(Flooded) as flooded:
        budget.spend(kind)
    assert flooded.value.kind is kind
    clock.advance(10)
    assert budget.left(kind) == allowance.each_second * 10
    clock.advance(100_000)
    assert budget.left(kind) == allowance.most


def test_kinds_do_not_pay_for_each_other() -> None:
    budget = Budget(ManualClock().monotonic)
    budget.spend(Spent.PING, ALLOWANCES[Spent.PING].most)
    budget.spend(Spent.SETTINGS)


def test_what_is_earned_is_bounded_too() -> None:
    budget = Budget(ManualClock().monotonic)
    most = ALLOWANCES[Spent.WINDOW].most
    budget.spend(Spent.WINDOW, most)
    budget.earn(Spent.WINDOW, 4)
    assert budget.left(Spent.WINDOW) == 4
    budget.earn(Spent.WINDOW, 10 * most)
    assert budget.left(Spent.WINDOW) == most


@pytest.mark.parametrize("kind", Spent)
def test_no_flood_lasts_longer_than_a_second_of_a_slow_client(kind: Spent) -> None:
    """Ten thousand frames a second is what a test client in Python manages; each kind ends well before."""
    allowance = ALLOWANCES[kind]
    assert allowance.most + allowance.each_second < 5000


def test_windows_are_shared_out_until_none_are_left() -> None:
    pool = WindowPool(100)
    assert [pool.take(60), pool.take(60), pool.take(60)] == [60, 40, 0]
    pool.give_back(60)
    assert pool.take(10) == 10
