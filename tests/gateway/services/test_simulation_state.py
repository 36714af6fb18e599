from __future__ import annotations

import pytest

from gateway.errors import RefusedError
from gateway.services.simulation_state import MOVES, Event, State, move

WAY = (
    (Event.INIT, State.INITIALIZING),
    (Event.DONE, State.INITIALIZED),
    (Event.START, State.STARTING),
    (Event.DONE, State.RUNNING),
    (Event.STEP, State.RUNNING),
    (Event.DONE, State.RUNNING),
    (Event.FINISH, State.FINISHING),
    (Event.DONE, State.FINISHED),
    (Event.STOP, State.STOPPING),
    (Event.DONE, State.STOPPED),
)


def test_the_way_from_beginning_to_end() -> None:
    state = State.CREATED
    for event, after in WAY:
        state = move(state, event)
        assert state is after
    assert state.is_over
    assert move(state, Event.INIT) is State.INITIALIZING


@pytest.mark.parametrize(
    "state",
    [
        State.CREATED,
        State.INITIALIZED,
        State.RUNNING,
        State.FINISHED,
        State.STOPPED,
        State.FAILED,
    ],
)
def test_a_stop_comes_in_every_state_that_is_at_rest(state: State) -> None:
    assert move(state, Event.STOP) in (State.STOPPING, State.STOPPED, State.FAILED)


@pytest.mark.parametrize(
    "state", [State.INITIALIZING, State.STARTING, State.RUNNING, State.FINISHING, State.STOPPING]
)
def test_what_raises_has_failed_and_stays_so_when_it_is_stopped(state: State) -> None:
    failed = move(state, Event.RAISED)
    assert failed is State.FAILED
    assert move(failed, Event.STOP) is State.FAILED
    assert failed.is_over


def test_every_state_is_reached_and_left() -> None:
    assert {before for before, _ in MOVES} == set(State)
    assert {State.CREATED, *MOVES.values()} == set(State)


@pytest.mark.parametrize(
    ("state", "event", "right"),
    [
        (State.CREATED, Event.STEP, "step comes when it is running"),
        (State.RUNNING, Event.INIT, "init comes when it is created or stopped or failed"),
        (State.FINISHED, Event.FINISH, "finish comes when it is running"),
    ],
)
def test_what_does_not_come_now_is_refused_with_what_would(
    state: State, event: Event, right: str
) -> None:
    with pytest.raises(RefusedError, match=right):
        move(state, event, "drive")
