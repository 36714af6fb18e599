"""The table of a device's states: every pair is decided, every move tells what it should."""

from __future__ import annotations

import itertools

import pytest

from gateway.device.link_state import MOVES, Callback, LinkEvent, LinkState, Move, move

ABSENT, PRESENT, OPEN, PROVEN, HEALTHY, STALE, FAILED = LinkState
CONNECTED = {PROVEN, HEALTHY, STALE}
PAIRS = list(itertools.product(LinkState, LinkEvent))

# What cannot happen, and why: no port is open, or it has been proven already.
IMPOSSIBLE = {
    *itertools.product(
        (ABSENT, PRESENT),
        (LinkEvent.PROVEN, LinkEvent.HEARD, LinkEvent.PONG, LinkEvent.FAULT, LinkEvent.LOST),
    ),
    *itertools.product((ABSENT, PRESENT, OPEN, FAILED), (LinkEvent.SILENT, LinkEvent.OVERDUE)),
    *itertools.product((OPEN, FAILED), (LinkEvent.PONG,)),
    *itertools.product((PROVEN, HEALTHY), (LinkEvent.OVERDUE,)),
    *itertools.product((OPEN, PROVEN, HEALTHY, STALE), (LinkEvent.OPENED,)),
    *itertools.product((PROVEN, HEALTHY, STALE), (LinkEvent.PROVEN,)),
}


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_leads_somewhere_or_cannot_happen(state: LinkState, event: LinkEvent) -> None:
    if (state, event) in IMPOSSIBLE:
        with pytest.raises(ValueError, match=f"{state} cannot have the event {event}"):
            move(state, event)
    else:
        assert move(state, event) is MOVES[state, event]


def test_the_table_holds_no_move_that_cannot_happen() -> None:
    assert set(MOVES) == set(PAIRS) - IMPOSSIBLE


@pytest.mark.parametrize(("state", "event"), sorted(MOVES))
def test_disconnected_is_told_exactly_when_a_connection_ends(
    state: LinkState, event: LinkEvent
) -> None:
    after, callbacks = move(state, event)
    assert (Callback.DISCONNECTED in callbacks) == (state in CONNECTED and after not in CONNECTED)


@pytest.mark.parametrize(("state", "event"), sorted(MOVES))
def test_connected_is_told_exactly_when_a_handshake_succeeds(
    state: LinkState, event: LinkEvent
) -> None:
    after, callbacks = move(state, event)
    assert (Callback.CONNECTED in callbacks) == (state not in CONNECTED and after in CONNECTED)
    assert (Callback.CONNECTED in callbacks) == (event is LinkEvent.PROVEN)


@pytest.mark.parametrize(("state", "event"), sorted(MOVES))
def test_device_error_is_told_on_failing_and_on_faults_and_not_again_while_failed(
    state: LinkState, event: LinkEvent
) -> None:
    after, callbacks = move(state, event)
    failing = after is FAILED and state is not FAILED
    assert (Callback.DEVICE_ERROR in callbacks) == (failing or event is LinkEvent.FAULT)


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (ABSENT, LinkEvent.OPENED, Move(OPEN)),
        (ABSENT, LinkEvent.ABSENT, Move(ABSENT)),
        (ABSENT, LinkEvent.FOUND, Move(PRESENT)),
        (PRESENT, LinkEvent.OPENED, Move(OPEN)),
        (OPEN, LinkEvent.HEARD, Move(OPEN)),
        (OPEN, LinkEvent.LOST, Move(PRESENT)),
        (OPEN, LinkEvent.PROVEN, Move(PROVEN, (Callback.CONNECTED,))),
        (PROVEN, LinkEvent.HEARD, Move(HEALTHY)),
        (PROVEN, LinkEvent.SILENT, Move(STALE)),
        (HEALTHY, LinkEvent.PONG, Move(HEALTHY, (Callback.PONG,))),
        (HEALTHY, LinkEvent.SILENT, Move(STALE)),
        (HEALTHY, LinkEvent.FAULT, Move(HEALTHY, (Callback.DEVICE_ERROR,))),
        (STALE, LinkEvent.OVERDUE, Move(STALE, (Callback.COMMS_ERROR,))),
        (STALE, LinkEvent.HEARD, Move(HEALTHY)),
        (STALE, LinkEvent.LOST, Move(PRESENT, (Callback.DISCONNECTED,))),
        (HEALTHY, LinkEvent.ABSENT, Move(ABSENT, (Callback.DISCONNECTED,))),
        (HEALTHY, LinkEvent.STOPPED, Move(PRESENT, (Callback.DISCONNECTED,))),
        (
            HEALTHY,
            LinkEvent.FAILED,
            Move(FAILED, (Callback.DISCONNECTED, Callback.DEVICE_ERROR)),
        ),
        (FAILED, LinkEvent.OPENED, Move(FAILED)),
        (FAILED, LinkEvent.LOST, Move(FAILED)),
        (FAILED, LinkEvent.FAILED, Move(FAILED)),
        (FAILED, LinkEvent.PROVEN, Move(PROVEN, (Callback.CONNECTED,))),
        (FAILED, LinkEvent.ABSENT, Move(ABSENT)),
    ],
)
def test_the_moves_that_a_device_makes_in_its_life(
    state: LinkState, event: LinkEvent, expected: Move
) -> None:
    assert move(state, event) == expected


@pytest.mark.parametrize("state", LinkState)
def test_connected_is_true_from_the_handshake_on(state: LinkState) -> None:
    assert state.connected == (state in CONNECTED)
