"""Which time-out belongs to which state."""

import pytest

from edgeproxy.serving.deadlines import Overdue, UnreadWatch, overdue, progress_counts
from edgeproxy.serving.settings import Timeouts
from edgeproxy.serving.states import State

TIMES = Timeouts(head=10, idle=60, body=20, write=30, tunnel=100, linger=2)


@pytest.mark.parametrize(
    ("state", "fresh", "body_due", "limit", "verdict"),
    [
        (State.IDLE, False, False, 60, Overdue.REQUEST),
        (State.IDLE, True, False, 10, Overdue.REQUEST),
        (State.HEAD, False, False, 10, Overdue.HEAD),
        (State.EXCHANGE, False, True, 20, Overdue.BODY),
        (State.SKIPPING, False, False, 20, Overdue.UNREAD_BODY),
        (State.TUNNEL, False, False, 100, Overdue.TUNNEL),
        (State.LINGERING, False, False, 2, Overdue.FAREWELL),
    ],
)
def test_limits(state: State, fresh: bool, body_due: bool, limit: float, verdict: Overdue) -> None:
    assert overdue(state, limit, TIMES, fresh=fresh, body_due=body_due) is None
    assert overdue(state, limit + 0.1, TIMES, fresh=fresh, body_due=body_due) is verdict


@pytest.mark.parametrize("state", [State.EXCHANGE, State.QUEUED, State.CLOSING, State.CLOSED])
def test_nothing_is_due_of_a_client_that_waits_for_us(state: State) -> None:
    assert overdue(state, 10**6, TIMES, fresh=False, body_due=False) is None


def test_a_head_and_a_farewell_have_one_time_for_the_whole() -> None:
    assert {state for state in State if not progress_counts(state)} == {State.HEAD, State.LINGERING}


def test_a_client_that_reads_a_byte_now_and_then_is_not_stuck() -> None:
    watch = UnreadWatch(0.0)
    assert not any(watch.is_stuck(1000 - step, step * 29.0, 30.0) for step in range(100))


def test_a_client_that_reads_nothing_is_stuck_once_the_time_is_over() -> None:
    watch = UnreadWatch(0.0)
    verdicts = [watch.is_stuck(1000, now, 30.0) for now in (100.0, 120.0, 130.0, 130.1)]
    assert verdicts == [False, False, False, True]


def test_nothing_unsent_is_never_stuck() -> None:
    watch = UnreadWatch(0.0)
    assert not any(watch.is_stuck(0, now, 30.0) for now in (0.0, 100.0, 200.0))
    assert not watch.is_stuck(5, 300.0, 30.0)
