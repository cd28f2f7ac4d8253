"""The table of a connection's life."""

import pytest

from edgeproxy.serving.http2_states import TABLE, Event, State


def test_every_state_has_its_row_and_every_way_ends() -> None:
    assert set(TABLE) == set(State)
    reached, left = {State.OPEN}, [State.OPEN]
    while left:
        for state in TABLE[left.pop()].values():
            if state not in reached:
                reached.add(state)
                left.append(state)
    assert reached == set(State)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_a_connection_may_be_lost_or_closed_in_any_state(state: State) -> None:
    assert TABLE[state][Event.LOST] is State.CLOSED
    assert TABLE[state][Event.CLOSE] is State.CLOSING


@pytest.mark.parametrize("state", State)
def test_a_drain_never_opens_anything_again(state: State) -> None:
    assert TABLE[state][Event.DRAIN] in (state, State.DRAINING)
    assert State.OPEN not in TABLE[state].values()
