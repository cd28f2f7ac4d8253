"""Round robin and the words it is told."""

import pytest

from edgeproxy.errors import (
    OriginConnectTimeout,
    OriginError,
    OriginMalformed,
    OriginRefused,
    OriginReset,
    OriginTimeout,
    OriginTruncated,
    OriginUnresolved,
    OriginUntrusted,
)
from edgeproxy.origin.balancer import Outcome, RoundRobin, outcome_of_error, outcome_of_status
from edgeproxy.origin.messages import Origin

A, B, C = (Origin(f"http://{name}.example") for name in "abc")


def test_each_in_turn() -> None:
    balancer = RoundRobin([A, B, C])
    assert [balancer.choose() for _ in range(7)] == [A, B, C, A, B, C, A]


def test_none_of_those_that_were_tried() -> None:
    balancer = RoundRobin([A, B, C])
    assert balancer.choose() == A
    assert balancer.choose([A]) == B
    assert balancer.choose([A, B]) == C
    assert balancer.choose([A, B, C]) is None
    assert balancer.choose([A, C]) == B


def test_a_site_needs_an_origin() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RoundRobin([])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OriginRefused, Outcome.UNREACHABLE),
        (OriginUnresolved, Outcome.UNREACHABLE),
        (OriginUntrusted, Outcome.UNREACHABLE),
        (OriginConnectTimeout, Outcome.UNREACHABLE),
        (OriginTimeout, Outcome.TIMEOUT),
        (OriginTruncated, Outcome.TRUNCATED),
        (OriginMalformed, Outcome.MALFORMED),
        (OriginReset, Outcome.RESET),
    ],
)
def test_every_error_has_an_outcome(error: type[OriginError], outcome: Outcome) -> None:
    assert outcome_of_error(error("x")) is outcome


def test_a_server_error_is_an_outcome_of_its_own() -> None:
    assert [outcome_of_status(status) for status in (101, 200, 404, 499, 500, 599)] == [Outcome.ANSWERED] * 4 + [
        Outcome.SERVER_ERROR
    ] * 2
