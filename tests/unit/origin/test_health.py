"""What is said of an origin after each try."""

import pytest

from edgeproxy.clock import Instant
from edgeproxy.origin.balancer import Outcome
from edgeproxy.origin.health import BETWEEN, Health, State


def test_a_state_lasts_since_the_first_try_that_came_to_it() -> None:
    health = Health("http://a")
    assert (health.state, health.since, health.why) == (State.UNTRIED, None, "")
    for now, outcome, why, expected in (
        (1, Outcome.ANSWERED, "", (State.UP, 1, "")),
        (2, Outcome.ANSWERED, "", (State.UP, 1, "")),
        (3, Outcome.UNREACHABLE, "refused", (State.DOWN, 3, "refused")),
        (4, Outcome.TIMEOUT, "too slow", (State.DOWN, 3, "too slow")),
        (5, Outcome.SERVER_ERROR, "status 503", (State.ERRING, 5, "status 503")),
        (6, Outcome.TRUNCATED, "cut off", (State.DOWN, 6, "cut off")),
        (7, Outcome.ANSWERED, "", (State.UP, 7, "")),
    ):
        health.note(outcome, Instant(now), why)
        assert (health.state, health.since, health.why) == expected


def test_the_log_says_once_a_minute_at_most_that_it_died_or_came_back(caplog: pytest.LogCaptureFixture) -> None:
    health, now = Health("http://a"), 1_000_000
    health.note(Outcome.ANSWERED, Instant(now))
    assert caplog.messages == []
    for step in range(100):
        health.note(Outcome.RESET, Instant(now + 2 * step), "reset")
        health.note(Outcome.ANSWERED, Instant(now + 2 * step + 1))
    assert caplog.messages == ["origin http://a is down: reset"]
    health.note(Outcome.ANSWERED, Instant(now + BETWEEN))
    assert caplog.messages[1:] == ["origin http://a answers again"]
    health.note(Outcome.RESET, Instant(now + 2 * BETWEEN), "reset")
    health.note(Outcome.SERVER_ERROR, Instant(now + 3 * BETWEEN), "status 500")
    assert caplog.messages[2:] == ["origin http://a is down: reset", "origin http://a answers again"]
