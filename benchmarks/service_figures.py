"""What a service costs: its start, a call of a method, a property, doing nothing.

``service_start_ms``: from `Services.start` until the proxy can be used, median of
`STARTS`. ``service_call`` and ``service_property``: one of each, as long as it takes,
pinned to one core. ``service_idle_cpu_percent``: of one core, over `IDLE` seconds in
which nobody asks it for anything, all threads of its OS process together.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.bus import timed
from benchmarks.measure import arguments, pinned, show, spread
from gateway.services import Services, services

STARTS = 20
IDLE = 5.0
WARM_UP = 50


class Arm:
    """What lives in the service."""

    def __init__(self, force: int) -> None:
        self._force = force

    @property
    def force(self) -> int:
        """The force in newtons."""
        return self._force

    def grip(self, force: int, speed: float, arm: str) -> int:
        """Return the force."""
        return force

    def where(self) -> int:
        """Return the OS process."""
        return os.getpid()


def starts(house: Services) -> dict[str, float]:
    """Return how long a start takes, in milliseconds."""
    seconds = []
    for number in range(STARTS):
        began = perf_counter()
        arm = house.start(f"arm-{number}", Arm, force=3)
        seconds.append(perf_counter() - began)
        house.close(arm)
    return {
        "service_start_ms": round(median(seconds) * 1e3, 2),
        "service_start_most_ms": round(max(seconds) * 1e3, 2),
    }


def calls(house: Services, rounds: int) -> dict[str, dict[str, float]]:
    """Return how long a call and a property take, in microseconds."""
    arm = house.start("arm", Arm, force=3)
    grip = timed(lambda: arm.grip(force=3, speed=1.5, arm="left"), rounds + WARM_UP)
    read = timed(lambda: arm.force, rounds + WARM_UP)
    house.close(arm)
    return {
        "service_call": spread(grip[WARM_UP:]),
        "service_property": spread(read[WARM_UP:]),
    }


def idle(house: Services) -> float:
    """Return what a service that nobody asks uses of one core, in percent."""
    pid = house.start("idle", Arm, force=3).where()
    time.sleep(0.5)
    before, began = _processor_nanoseconds(pid), perf_counter()
    time.sleep(IDLE)
    used, seconds = _processor_nanoseconds(pid) - before, perf_counter() - began
    return round(used / 1e9 / seconds * 100, 4)


def _processor_nanoseconds(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure of a service."""
    with services() as house:
        figures: dict[str, Any] = starts(house)
        figures["service_idle_cpu_percent"] = idle(house)
    with pinned(), services() as house:
        return {**figures, **calls(house, rounds)}


def main() -> None:
    """Measure and print."""
    given = arguments(__doc__.partition("\n")[0])
    show(measure(given.rounds), as_json=given.json)


if __name__ == "__main__":
    main()
