"""What is served decides the colour."""

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.tls.certificate import SELF_SIGNED
from edgeproxy.tls.health import Colour, Served, judge
from tests.support.local_authority import DAY, LocalAuthority

CLOCK = ManualClock()
NOW = CLOCK.seconds()
AUTHORITY = LocalAuthority(CLOCK)


def served(left: float, life: float = 100 * DAY, name: str = "a.example", **fields) -> Served:
    certificate = AUTHORITY.certificate(name, begins=NOW + left - life, lifetime=life, directory=fields.pop("directory", None))
    return Served(certificate, **fields)


@pytest.mark.parametrize(
    ("left", "life", "colour"),
    [
        (60 * DAY, 100 * DAY, Colour.GREEN),
        (21 * DAY, 100 * DAY, Colour.GREEN),
        (19 * DAY, 100 * DAY, Colour.YELLOW),
        (9 * DAY, 100 * DAY, Colour.RED),
        (-1, 100 * DAY, Colour.RED),
        (101 * DAY, 100 * DAY, Colour.RED),
        (10, 20, Colour.GREEN),
        (3, 20, Colour.YELLOW),
        (1, 20, Colour.RED),
    ],
)
def test_red_under_a_tenth_of_its_life_yellow_under_a_fifth(left, life, colour):
    assert judge([served(left, life)], NOW).colour is colour


def test_a_placeholder_is_yellow_and_one_of_our_own_is_not():
    assert judge([served(80 * DAY, directory=SELF_SIGNED, is_placeholder=True)], NOW).colour is Colour.YELLOW
    assert judge([served(80 * DAY, directory=SELF_SIGNED)], NOW).colour is Colour.GREEN
    assert judge([served(80 * DAY, is_placeholder=True)], NOW).colour is Colour.GREEN


def test_the_worst_of_all_counts_and_every_name_has_a_number():
    health = judge([served(60 * DAY), served(-5, name="b.example"), served(15 * DAY, name="c.example")], NOW)
    assert health.colour is Colour.RED
    assert health.reasons == ("b.example: expired", "c.example: under a fifth of its life is left")
    assert health.seconds_left == {"a.example": 60 * DAY, "b.example": -5, "c.example": 15 * DAY}


def test_nothing_served_is_no_fault():
    assert judge([], NOW).colour is Colour.GREEN
