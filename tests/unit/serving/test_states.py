"""The table itself: nothing unreachable, nothing forgotten, no way back from the end."""

import pytest

from edgeproxy.serving import states
from edgeproxy.serving.states import TABLE, Event, State


def test_every_state_has_a_row_and_is_described() -> None:
    assert set(TABLE) == set(State)
    for state in State:
        assert f"\n{state.name} " in (states.__doc__ or "")


def test_every_state_can_be_reached_from_the_first() -> None:
    reached, look = {State.IDLE}, [State.IDLE]
    while look:
        for following in TABLE[look.pop()].values():
            if following not in reached:
                reached.add(following)
                look.append(following)
    assert reached == set(State)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_every_open_state_can_be_lost_and_closed(state: State) -> None:
    assert TABLE[state][Event.LOST] is State.CLOSED
    assert TABLE[state][Event.CLOSE] is State.CLOSING


@pytest.mark.parametrize("state", [State.LINGERING, State.CLOSING, State.CLOSED])
def test_after_the_last_answer_no_request_is_read(state: State) -> None:
    assert set(TABLE[state].values()) <= {State.CLOSING, State.CLOSED}


def test_a_tunnel_never_becomes_http_again() -> None:
    assert set(TABLE[State.TUNNEL].values()) == {State.CLOSING, State.CLOSED}
