"""The table of an order's life: every state can be reached and left, and every step's events are in it."""

from edgeproxy.tls.acme.order import OrderRun
from edgeproxy.tls.acme.order_table import TRANSITIONS, Event, State


def test_every_state_is_reached_and_all_but_the_last_are_left() -> None:
    reached, found = {State.CREATE}, {State.CREATE}
    while found:
        found = {to for (state, _), to in TRANSITIONS.items() if state in found} - reached
        reached |= found
    assert reached == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.ISSUED}


def test_from_every_state_a_certificate_can_still_come() -> None:
    good = {State.ISSUED}
    while more := {state for (state, _), to in TRANSITIONS.items() if to in good} - good:
        good |= more
    assert good == set(State)


def test_every_event_is_used_and_every_state_has_its_step() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)
    for state in set(State) - {State.ISSUED}:
        assert hasattr(OrderRun, f"_{state.value}"), state
