"""The memory tier keeps within its budget of bytes, whatever the policy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.storage.eviction.lru import Lru
from edgeproxy.storage.eviction.s3fifo import S3Fifo
from edgeproxy.storage.eviction.sieve import Sieve
from edgeproxy.storage.memory import LARGEST_SHARE, MemoryTier

POLICIES = pytest.mark.parametrize("policy", [Lru, Sieve, S3Fifo])


@POLICIES
def test_object_is_there_until_it_is_removed(policy):
    tier: MemoryTier[str] = MemoryTier(1000, policy)
    assert tier.get("a") is None
    assert tier.put("a", "A", 100)
    assert (tier.get("a"), tier.used, len(tier), "a" in tier) == ("A", 100, 1, True)
    tier.remove("a")
    tier.remove("a")
    assert (tier.get("a"), tier.used, len(tier), "a" in tier) == (None, 0, 0, False)


@POLICIES
def test_replaced_object_counts_once(policy):
    tier: MemoryTier[str] = MemoryTier(1000, policy)
    tier.put("a", "old", 100)
    tier.put("a", "new", 30)
    assert (tier.get("a"), tier.used, len(tier)) == ("new", 30, 1)
    tier.put("a", "newer", 250)
    assert (tier.get("a"), tier.used) == ("newer", 250)


@POLICIES
def test_too_large_object_is_refused_and_takes_the_old_one_with_it(policy):
    tier: MemoryTier[str] = MemoryTier(1000, policy)
    largest = 1000 // LARGEST_SHARE
    assert tier.put("fits", "x", largest)
    assert not tier.put("fits", "x", largest + 1)
    assert tier.get("fits") is None
    assert (tier.used, tier.refused) == (0, 1)


@POLICIES
def test_least_useful_object_goes_when_the_budget_is_used_up(policy):
    tier: MemoryTier[int] = MemoryTier(1000, policy)
    for number in range(10):
        tier.put(str(number), number, 100)
    for number in range(10):
        if number != 3:
            assert tier.get(str(number)) == number
    tier.put("new", 10, 100)
    assert tier.used <= 1000
    assert tier.get("3") is None
    assert tier.evicted == 1


@pytest.mark.parametrize("policy", [Sieve, S3Fifo])
def test_scan_of_things_asked_for_once_spares_what_is_popular(policy):
    tier: MemoryTier[int] = MemoryTier(10_000, policy)
    for number in range(50):
        tier.put(f"popular {number}", number, 100)
    for number in range(1000):
        tier.get(f"popular {number % 50}")
        tier.get(f"popular {(number + 7) % 50}")
        tier.put(f"once {number}", number, 100)
    assert sum(tier.get(f"popular {number}") is not None for number in range(50)) == 50


def test_lru_evicts_the_longest_unused():
    tier: MemoryTier[int] = MemoryTier(400, Lru)
    for number in range(4):
        tier.put(str(number), number, 100)
    tier.get("0")
    tier.put("4", 4, 100)
    assert [key in tier for key in "01234"] == [True, False, True, True, True]


def test_sieve_hand_stays_where_it_is_and_survives_the_removal_of_its_object():
    policy: Sieve[int] = Sieve(0)
    for number in range(5):
        policy.put(str(number), number, 1)
    for key in "013":
        policy.get(key)
    assert policy.evict() == 1
    assert [key in policy for key in "01234"] == [True, True, False, True, True]
    policy.remove("3")  # the hand points there
    policy.put("5", 5, 1)
    policy.evict()
    assert "4" not in policy
    assert [key in policy for key in "015"] == [True, True, True]


def test_sieve_hand_wraps_around_when_all_are_visited():
    policy: Sieve[int] = Sieve(0)
    for number in range(3):
        policy.put(str(number), number, 1)
        policy.get(str(number))
    policy.evict()
    assert [key in policy for key in "012"] == [False, True, True]


def test_s3fifo_object_that_comes_back_soon_goes_to_the_main_queue():
    tier: MemoryTier[int] = MemoryTier(1000, S3Fifo)
    tier.put("back", 0, 100)
    for number in range(10):
        tier.put(f"once {number}", number, 100)
    assert "back" not in tier
    tier.put("back", 0, 100)
    for number in range(30):
        tier.put(f"again {number}", number, 100)
    assert "back" in tier, "its name was remembered"


keys = st.sampled_from([f"k{number}" for number in range(12)])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.integers(0, 120)),
        st.tuples(st.just("get"), keys, st.just(0)),
        st.tuples(st.just("remove"), keys, st.just(0)),
    ),
    max_size=120,
)


@POLICIES
@given(steps)
@settings(deadline=None)
def test_books_agree_with_what_is_there_after_any_steps(policy, steps):
    tier: MemoryTier[tuple[str, int]] = MemoryTier(400, policy)
    newest: dict[str, int] = {}
    for step, key, size in steps:
        if step == "put":
            tier.put(key, (key, size), size)
            newest[key] = size
        elif step == "remove":
            tier.remove(key)
            newest.pop(key, None)
        else:
            found = tier.get(key)
            assert found is None or found == (key, newest[key])
        there = [size for key, size in newest.items() if key in tier]
        assert tier.used == sum(there) <= tier.budget
        assert len(tier) == len(there)
