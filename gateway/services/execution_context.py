"""The mundane parts of a simulation, carried out around its steps.

::

    with execution(drive) as steps:
        for number in steps:
            print(number, drive.metres)

On entry it is initialized and started, on leaving finished and stopped; where
anything raises, within its hooks or within the block, it is stopped all the same.
It may be here or behind a proxy: only its public words are used.

Who leaves the loop early has it finished with the steps that it has done; to give
it up, stop it. Refused: what the simulation refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Stepped(Protocol):
    """A simulation, or a proxy of one."""

    @property
    def status(self) -> str:
        """How far it is."""
        ...

    @property
    def current_step(self) -> int:
        """The number of the step that comes next."""
        ...

    def init(self) -> bool:
        """Have it get ready; tell whether it goes on."""
        ...

    def start(self) -> bool:
        """Have it begin; tell whether there is a step to take."""
        ...

    def step(self) -> bool:
        """Have it take one step; tell whether there is another."""
        ...

    def finish(self) -> Any:
        """Have it come to its result."""
        ...

    def stop(self) -> None:
        """Have it give back what it holds."""
        ...


class Steps(Iterator[int]):
    """Takes a step each time that it is asked; gives the number of what was done."""

    def __init__(self, simulation: Stepped, goes_on: bool) -> None:
        self._simulation = simulation
        self._goes_on = goes_on
        self._number = simulation.current_step - 1

    def __next__(self) -> int:
        if not self._goes_on:
            raise StopIteration
        self._goes_on = self._simulation.step()
        if not self._goes_on and self._simulation.status != "running":
            # It was stopped instead.
            raise StopIteration
        self._number += 1
        return self._number


@contextmanager
def execution(simulation: Stepped) -> Iterator[Steps]:
    """Have ``simulation`` run for as long as the ``with`` lasts; see the module's head.

    Raises what its hooks raise.

    >>> from gateway.services.simulation import Simulation
    >>> class Count(Simulation):
    ...     steps = 3
    ...     def on_step(self):
    ...         pass
    >>> count = Count()
    >>> with execution(count) as steps:
    ...     print(list(steps), count.status)
    [0, 1, 2] running
    >>> count.status
    'stopped'
    """
    try:
        goes_on = simulation.init()
    except BaseException:
        # Where it was refused it is somebody else's, who is not to lose it.
        if simulation.status == "failed":
            simulation.stop()
        raise
    try:
        yield Steps(simulation, goes_on and simulation.start())
        if simulation.status == "running":
            simulation.finish()
    finally:
        simulation.stop()
