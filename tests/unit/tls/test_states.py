"""The table itself: nothing unreachable, nothing forgotten, and no way to lose what serves."""

from pathlib import Path

import pytest

from edgeproxy.tls import states
from edgeproxy.tls.events import Kind
from edgeproxy.tls.states import BUSY, SERVING, TABLE, Event, State


def test_every_state_has_a_row_and_is_described() -> None:
    assert set(TABLE) == set(State)
    for state in State:
        assert f"\n{state.name} " in (states.__doc__ or "")


@pytest.mark.parametrize("word", [*(state.name.lower() for state in State), *Kind])
def test_the_docs_explain_every_state_and_every_event(word: str) -> None:
    assert f"`{word}`" in (Path(__file__).parents[3] / "docs" / "https.md").read_text()


def test_every_state_can_be_reached_from_the_first() -> None:
    reached, look = {State.MISSING}, [State.MISSING]
    while look:
        for following in TABLE[look.pop()].values():
            if following not in reached:
                reached.add(following)
                look.append(following)
    assert reached == set(State)


def test_every_event_happens_somewhere() -> None:
    assert {event for row in TABLE.values() for event in row} == set(Event)


@pytest.mark.parametrize("state", sorted(SERVING, key=lambda state: state.name))
def test_what_serves_goes_on_serving_whatever_happens(state: State) -> None:
    assert set(TABLE[state].values()) <= SERVING


@pytest.mark.parametrize("state", sorted(BUSY, key=lambda state: state.name))
def test_an_attempt_ends_in_every_way_and_none_begins_within_it(state: State) -> None:
    assert {Event.OBTAIN, Event.FAIL, Event.PAUSE} <= set(TABLE[state])
    assert Event.BEGIN not in TABLE[state]
    assert not {TABLE[state][event] for event in (Event.OBTAIN, Event.FAIL, Event.PAUSE)} & BUSY


@pytest.mark.parametrize("state", [state for state in State if state not in BUSY and state is not State.LOCAL])
def test_an_attempt_can_begin_in_every_state_at_rest(state: State) -> None:
    assert TABLE[state][Event.BEGIN] in BUSY


@pytest.mark.parametrize("state", [state for state in State if state is not State.LOCAL])
def test_what_the_vault_has_is_taken_in_every_state(state: State) -> None:
    assert TABLE[state][Event.FIND] is State.SERVED
    assert TABLE[state][Event.FIND_IMPORTED] is State.HELD
