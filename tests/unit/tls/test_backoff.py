"""How long to wait after failures, and how many validations may fail."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.tls.backoff import (
    FAILED_VALIDATIONS,
    HOUR,
    LONGEST_REQUEST,
    cap,
    count_failed,
    free_at,
    keep_recent,
    next_attempt,
    wait_after,
)
from edgeproxy.tls.schedule import DAY


@dataclass(frozen=True)
class Life:
    not_before: float
    not_after: float


@pytest.mark.parametrize(("failures", "minutes"), [(0, 1), (1, 1), (2, 10), (3, 100), (4, 1440), (5, 1440), (1000, 1440)])
@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_one_ten_and_a_hundred_minutes_then_daily_lengthened_by_up_to_a_fifth(failures, minutes, draw):
    wait = wait_after(failures, draw)
    assert minutes * 60 <= wait < minutes * 60 * 1.2
    assert wait == pytest.approx(minutes * 60 * (1 + draw / 5))


def test_what_is_pointless_waits_for_a_day():
    assert wait_after(1, 0.0, pointless=True) == DAY


@pytest.mark.parametrize(
    ("life", "now", "expected"),
    [
        (None, 0, None),
        (Life(0, 90 * DAY), 0, None),
        (Life(0, 3600), 0, None),
        (Life(0, 3599), 0, 3599 / 4),
        (Life(0, 20), 10, 2.5),
        (Life(0, 20), 12.5, 1.875),
        (Life(0, 20), 19, 1.0),
        (Life(0, 20), 20, 10.0),
        (Life(0, 20), 5000, 10.0),
    ],
)
def test_the_wait_of_a_certificate_that_lives_minutes_is_a_share_of_its_life(life, now, expected):
    assert cap(life, now) == expected


@pytest.mark.parametrize(
    ("wait", "life", "not_before", "expected"),
    [
        (60, None, 0, 1060),
        (60, None, 1050, 1060),
        (60, None, 5000, 5000),
        (60, None, 1e12, 1000 + LONGEST_REQUEST),
        (60, Life(990, 1010), 0, 1002.5),
        (60, Life(990, 1010), 1030, 1030),
    ],
)
def test_the_next_attempt_respects_the_authoritys_time_and_the_certificates_life(wait, life, not_before, expected):
    assert next_attempt(1000.0, wait, life=life, not_before=not_before) == expected


@given(st.lists(st.tuples(st.floats(0, 600), st.sampled_from("ab")), max_size=60))
def test_whoever_asks_before_each_attempt_never_fails_more_than_five_times_an_hour(steps):
    failed: dict[str, tuple[float, ...]] = {}
    now, history = 0.0, {"a": [], "b": []}
    for pause, name in steps:
        now = free_at(failed, (name,), now + pause)
        failed = count_failed(failed, (name,), now)
        history[name].append(now)
    for times in history.values():
        for index, time in enumerate(times):
            assert sum(time <= other < time + HOUR for other in times[index:]) <= FAILED_VALIDATIONS


def test_a_name_that_failed_twice_in_one_order_counts_twice_and_other_names_do_not():
    failed = count_failed({}, ("a", "a", "b"), 100.0)
    assert failed == {"a": (100.0, 100.0), "b": (100.0,)}
    failed = count_failed(failed, ("a",) * 3, 200.0)
    assert free_at(failed, ("b", "c"), 300.0) == 300.0
    assert free_at(failed, ("b", "a"), 300.0) == 100.0 + HOUR


def test_old_failures_are_forgotten_and_ones_from_the_future_are_not_trusted():
    assert keep_recent({"a": (0.0, 10.0), "b": (3.0,)}, HOUR + 5.0) == {"a": (10.0,)}
    assert keep_recent({"a": (1e9,)}, 100.0) == {"a": (100.0,)}
