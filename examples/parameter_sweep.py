"""Which speed is the best? A robot is simulated at many of them, in parallel.

Run it: ``python examples/parameter_sweep.py``. It drives at a line across the floor
and brakes when its sensor sees it, which looks ten times a second: who is fast gets
there soon and overshoots. Each robot runs in virtual time in one of four OS
processes; what drives past the line altogether has failed, and costs no other.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gateway.clock import VirtualClock
from gateway.services import ProgressLine, Simulation, SimulationPool, services

LINE, EDGE = 5.0, 5.6
"""Metres to the line, and to the edge of the table."""


class Robot(Simulation):
    """Drives at ``speed``, in metres a second, and brakes at the line."""

    speed: Annotated[float, Meta(gt=0, le=3)] = 0.5
    braking: Annotated[float, Meta(gt=0)] = 2.0  # m/s²
    make_clock = VirtualClock
    period = 0.1

    def on_init(self) -> None:
        """Stand at the beginning."""
        self.metres = 0.0

    def on_step(self) -> bool:
        """Drive until the sensor sees the line."""
        self.metres += self.speed * self.period
        return self.metres >= LINE

    def on_finish(self) -> dict[str, float]:
        """Brake; tell when it stood, and how far behind the line."""
        self.metres += self.speed**2 / (2 * self.braking)
        if self.metres > EDGE:
            raise RuntimeError(f"it fell off the table at {self.speed} m/s")
        return {"seconds": self.time + self.speed / self.braking, "metres": self.metres - LINE}


if __name__ == "__main__":
    speeds = [{"speed": 0.1 * number} for number in range(2, 22)]
    with services() as house, SimulationPool(house, workers=4) as pool:
        outcomes = pool.run(Robot, speeds, progress=ProgressLine())
    good = [outcome for outcome in outcomes if outcome.error is None]
    best = min(good, key=lambda each: each.result["seconds"] + 20 * each.result["metres"])
    print(f"{len(good)} of {len(outcomes)} stayed on the table")
    print(f"the best speed is {best.parameters['speed']:.1f} m/s")
