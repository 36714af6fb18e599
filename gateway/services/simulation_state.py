"""How far a simulation is: one table of its states, and what leads from one to the next.

::

    created → initializing → initialized → starting → running → finishing → finished
                                                         └─ anything ─→ stopping → stopped
                          a hook that raises ─→ failed

What is told to stop before its end goes to ``stopping`` from wherever it is at
rest. A simulation that failed stays failed when it is stopped, so that whoever
looks later sees why; it may be begun again, as one that has stopped may.

This module is a table. Refused: a move that is not in it (`RefusedError`), with
what would be right.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.errors import RefusedError


class State(StrEnum):
    """How far a simulation is; what is called ``…ing`` carries out its author's code."""

    CREATED = "created"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    STARTING = "starting"
    RUNNING = "running"
    """It takes its steps, or waits for somebody who has it take them."""
    FINISHING = "finishing"
    FINISHED = "finished"
    """Its last step is done and its result is there; what it holds is not yet given back."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """A hook raised; `Simulation.error_message` says what."""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after it by itself."""
        return self in (State.STOPPED, State.FAILED)


class Event(StrEnum):
    """What can happen to a simulation."""

    INIT = "init"
    START = "start"
    STEP = "step"
    FINISH = "finish"
    STOP = "stop"
    DONE = "done"
    """The hook that was carried out has returned."""
    ENDED = "ended"
    """The hook was ended before it returned, since somebody wanted a stop at once."""
    RAISED = "raised"
    """The hook raised."""


_TABLE = """
       created      initializing initialized starting running   finishing finished stopping stopped      failed
init   initializing -            -           -        -         -         -        -        initializing initializing
start  -            -            starting    -        -         -         -        -        -            -
step   -            -            -           -        running   -         -        -        -            -
finish -            -            -           -        finishing -         -        -        -            -
stop   stopped      -            stopping    -        stopping  -         stopping -        stopped      failed
done   -            initialized  -           running  running   finished  -        stopped  -            failed
ended  -            stopping     -           stopping stopping  stopping  -        -        -            -
raised -            failed       -           failed   failed    failed    -        failed   -            failed
"""  # noqa: E501 - a table is read across
"""A column is where it is, a row what happens, a dash what cannot."""


def _read(table: str) -> dict[tuple[State, Event], State]:
    header, *rows = table.strip().splitlines()
    states = [State(word) for word in header.split()]
    moves: dict[tuple[State, Event], State] = {}
    for row in rows:
        event, *cells = row.split()
        for before, cell in zip(states, cells, strict=True):
            if cell != "-":
                moves[before, Event(event)] = State(cell)
    return moves


MOVES = _read(_TABLE)
"""Every move there is."""


def move(before: State, event: Event, name: str = "the simulation") -> State:
    """Return where ``event`` leads from ``before``; raise `RefusedError` where it cannot happen.

    >>> move(State.INITIALIZED, Event.START)
    <State.STARTING: 'starting'>
    >>> move(State.CREATED, Event.STEP, "drive")
    Traceback (most recent call last):
    gateway.errors.RefusedError: drive is created: step comes when it is running
    """
    after = MOVES.get((before, event))
    if after is None:
        right = [state for state, known in MOVES if known is event]
        raise RefusedError(f"{name} is {before}: {event} comes when it is {' or '.join(right)}")
    return after
