"""When a certificate is renewed, as tables and as properties."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.tls.schedule import (
    ASK_AGAIN,
    DAY,
    Reason,
    Suggestion,
    last_resort,
    local_renewal,
    may_ask,
    renewal,
    take_suggestion,
)
from tests.support.local_authority import Window


@dataclass(frozen=True)
class Life:
    not_before: float
    not_after: float


def suggested(chosen: float) -> Suggestion:
    return Suggestion(chosen, chosen + 1, chosen, 0.0)


@pytest.mark.parametrize(
    ("life", "due"),
    [(90 * DAY, 60 * DAY), (45 * DAY, 30 * DAY), (10 * DAY, 20 / 3 * DAY), (9.9 * DAY, 4.95 * DAY), (6 * DAY, 3 * DAY), (20, 10)],
)
def test_two_thirds_of_its_life_or_half_of_it_under_ten_days(life, due):
    assert local_renewal(Life(1000.0, 1000.0 + life)) == pytest.approx(1000.0 + due)


LIFE = Life(0.0, 100 * DAY)


@pytest.mark.parametrize(
    ("suggestion", "day", "reason"),
    [
        (None, 100 * 2 / 3, Reason.SHARE_OF_LIFE),
        (suggested(20 * DAY), 20, Reason.SUGGESTED),  # earlier than our own
        (suggested(90 * DAY), 90, Reason.SUGGESTED),  # later than our own
        (suggested(95 * DAY), 95, Reason.SUGGESTED),
        (suggested(95.1 * DAY), 95, Reason.LAST_RESORT),
        (suggested(500 * DAY), 95, Reason.LAST_RESORT),
        (suggested(-500 * DAY), 1, Reason.TOO_NEW),
    ],
)
def test_what_the_authority_suggests_counts_until_the_last_resort(suggestion, day, reason):
    found = renewal(LIFE, suggestion)
    assert (found.at / DAY, found.reason) == (pytest.approx(day), reason)


@given(st.floats(1.0, 400 * DAY), st.none() | st.floats(-1e9, 1e9))
def test_every_certificate_is_due_after_it_begins_and_before_it_ends(length, chosen):
    life = Life(1e9, 1e9 + length)
    at = renewal(life, None if chosen is None else suggested(1e9 + chosen)).at
    assert life.not_before < at <= last_resort(life) < life.not_after


@given(st.floats(0, 1e9), st.floats(1, 1e6), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_time_is_drawn_inside_the_window_and_kept_while_the_window_stays(start, length, draw, other):
    window = Window(start, start + length, "", 5e9)
    first = take_suggestion(window, None, 0.0, draw)
    assert first is not None
    assert window.start <= first.chosen <= window.end
    assert take_suggestion(window, first, 10.0, other) == first
    moved = take_suggestion(Window(start + 1, start + length + 1, "", 5e9), first, 10.0, 0.0)
    assert moved is not None
    assert moved.chosen == start + 1


@pytest.mark.parametrize("window", [None, Window(10.0, 10.0), Window(10.0, 5.0)])
def test_no_window_leaves_what_is_known_and_is_asked_for_again_later(window):
    assert take_suggestion(window, None, 100.0, 0.5) is None
    kept = Suggestion(1.0, 2.0, 1.5, 50.0, "https://why.example/")
    assert take_suggestion(window, kept, 100.0, 0.5) == Suggestion(1.0, 2.0, 1.5, 100.0 + ASK_AGAIN, "https://why.example/")


def test_a_time_to_ask_again_that_is_over_is_replaced_by_our_own():
    taken = take_suggestion(Window(10.0, 20.0, "", 90.0), None, 100.0, 0.5)
    assert taken is not None
    assert taken.check_after == 100.0 + ASK_AGAIN


@pytest.mark.parametrize(
    ("now", "ask_after", "expected"),
    [(50.0, 0.0, True), (50.0, 50.0, True), (50.0, 51.0, False), (101.0, 0.0, False), (-1.0, -5.0, False)],
)
def test_the_authority_is_asked_while_the_certificate_lives_and_not_too_often(now, ask_after, expected):
    assert may_ask(Life(0.0, 100.0), ask_after, now) is expected
