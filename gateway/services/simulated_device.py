"""A device in software, with hands on its cable and its faults; made to live in a service.

A driver ships its board in Python, and what puts it on a wire
(`gateway.device.driver.Driver.simulator`). This is that simulator with words for
what happens to hardware::

    pump = services.start("pump", SimulatedDevice, "drivers.line_device.simulator:SimulatedPump",
                          "/tmp/pump")
    pump.unplug()
    pump.plug()
    pump.hang(seconds=3)
    pump.noise(0.01)           # one byte of a hundred is changed
    pump.drift(200)            # its clock is 200 parts in a million too fast
    pump.step(60)              # a minute passes on the board

Its board has a clock of its own; one that is ``held`` stands still but for `step`.
What else a simulator can do, such as to scan a code, is there as well, as functions
of the service.

Refused (`RefusedError`): faults of a simulator that is not built on
`gateway.device.simulated_port` or `simulated_usb` with a board that it makes itself;
a simulator that cannot be found or made (`ConfigError`).
"""

from __future__ import annotations

import inspect
from random import Random
from types import TracebackType
from typing import Annotated, Any, Self

from msgspec import Meta

from gateway.clock import Clock, RealClock
from gateway.config.qualname import named
from gateway.device.board_clock import WORST
from gateway.device.board_faults import LONGEST_STEP, BoardFaults, with_faults
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulated_usb import SimulatedUsb
from gateway.errors import ConfigError, RefusedError
from gateway.services.inside import is_inside, register_function

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Part = Annotated[float, Meta(ge=0, le=1)]
Drift = Annotated[float, Meta(ge=-WORST, le=WORST)]
Step = Annotated[float, Meta(ge=0, le=LONGEST_STEP)]


class SimulatedDevice:
    """One simulated device; ``with`` plugs it in and, at the end, out."""

    def __init__(
        self,
        simulator: str,
        link: str,
        *,
        held: bool = False,
        seed: int | str = 0,
        clock: Clock | None = None,
    ) -> None:
        """Make what ``simulator``, a ``module:class``, makes behind the path ``link``.

        The noise comes from the ``seed``. ``clock`` is that of the wire. Raises
        `ConfigError` where that cannot be.
        """
        self.simulator = simulator
        """The class of the simulator, as module:class."""
        self.link = link
        """The path of its port or socket."""
        self._is_plugged = False
        self._faults: BoardFaults | None = None
        clock = clock or RealClock()
        kind = named(simulator)
        options: dict[str, Any] = {}
        if isinstance(kind, type) and issubclass(kind, SimulatedPort | SimulatedUsb):
            # Asked of the class: a function there is no method of ours.
            make_board = kind.make_board
            options["clock"] = clock
            if make_board is not None:
                self._faults = with_faults(
                    make_board, clock=clock, random=Random(f"{seed}/{link}"), held=held
                )
                options["board"] = self._faults
        if held and self._faults is None:
            raise ConfigError(f"{simulator} keeps its own time: it cannot be stepped")
        try:
            self._port: Any = kind(link, **options)
        except ValueError as error:
            raise ConfigError(f"{simulator}: {error}") from error

    def __enter__(self) -> Self:
        self._port.start()
        self._is_plugged = True
        if is_inside():
            for name, function in own_words(self._port).items():
                register_function(name, function)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_plugged = False
        self._port.stop()

    # Its cable

    def plug(self) -> None:
        """Plug it in: it has power, and its port is there. Plugged in already: nothing."""
        self._port.plug()
        self._is_plugged = True

    def unplug(self) -> None:
        """Pull its cable: its port is gone, for whoever has it open too."""
        self._port.unplug()
        self._is_plugged = False

    @property
    def plugged(self) -> bool:
        """Whether it is plugged in."""
        return self._is_plugged

    # Its faults

    def hang(self, seconds: Seconds | None = None) -> None:
        """Have it hear and say nothing for ``seconds``, or until it is mended or unplugged."""
        self._with_faults().hang(seconds)
        self._port.nudge()

    def noise(self, part: Part) -> None:
        """Have this ``part`` of all bytes, 0 to 1, changed on the wire, either way."""
        self._with_faults().make_noise(part)

    def drift(self, parts_per_million: Drift) -> None:
        """Have its clock run too fast by so much, or too slow below 0."""
        self._with_faults().clock.drift(parts_per_million)
        self._port.nudge()

    def mend(self) -> None:
        """End all its faults."""
        self._with_faults().mend()
        self._port.nudge()

    def step(self, seconds: Step) -> None:
        """Let ``seconds`` pass on its board, at once; what is due on the way is said."""
        self._with_faults().step(seconds)
        self._port.nudge()

    # What is seen

    @property
    def faults(self) -> dict[str, Any]:
        """What is wrong with it: ``hung``, ``noise`` and ``drift``."""
        faults = self._faults
        if faults is None:
            return {"hung": False, "noise": 0.0, "drift": 0.0}
        drift = faults.clock.parts_per_million
        return {"hung": faults.is_hung, "noise": faults.noise, "drift": drift}

    @property
    def time(self) -> float:
        """Seconds on its board's own clock, since some fixed moment; 0 where it has none."""
        return 0.0 if self._faults is None else self._faults.clock.monotonic()

    def status(self) -> dict[str, Any]:
        """Return all that is known of it, as data."""
        counts: dict[str, Any] = getattr(self._port, "statistics", dict)()
        faults = self._faults
        if faults is not None:
            counts = {**counts, "garbled": faults.garbled, "unheard": faults.unheard}
        return {
            "simulator": self.simulator,
            "link": self.link,
            "plugged": self.plugged,
            **self.faults,
            "stepped": faults is not None and faults.clock.is_held,
            "counts": counts,
        }

    def _with_faults(self) -> BoardFaults:
        if self._faults is None:
            raise RefusedError(
                f"{self.simulator} can be plugged and unplugged, and no more: for faults and"
                " steps build it on gateway.device.simulated_port, with make_board"
            )
        return self._faults


def own_words(port: object) -> dict[str, Any]:
    """Return the methods that a simulator has besides those that all have, by name."""
    return {
        name: getattr(port, name)
        for kind in type(port).__mro__
        if kind not in (SimulatedPort, SimulatedUsb) and kind is not object
        for name, static in vars(kind).items()
        if inspect.isfunction(static)
        and not name.startswith("_")
        and not hasattr(SimulatedPort, name)
        and not hasattr(SimulatedUsb, name)
    }
