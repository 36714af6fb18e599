"""Remote calls, over the plainest echo that Python has between two OS processes.

``call_vs_pipe``: ``robot.arm.grip(force=3, speed=1.5, arm="left")`` of a forked
process, its arguments checked against their annotations, over an echo of the
same arguments as a dict through a `multiprocessing.Pipe`; pinned to one core,
turn about, as in `benchmarks.bus`.

``async_calls_per_s``: calls begun and asked for their results in windows of
`WINDOW`. ``stream_parts_per_s``: parts of one stream, read to its end. The
others are those of a service (`benchmarks.service_figures`).
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from benchmarks import service_figures
from benchmarks.bus import Exchange, pipe, timed
from benchmarks.measure import arguments, pinned, ratio, show, spread
from gateway.application import Application
from gateway.process.process import Process
from gateway.rpc import Api, command, later, remote, serve, using

GRIP = {"force": 3, "speed": 1.5, "arm": "left"}

WARM_UP = 10
TURNS = 25

WINDOW = 32
"""Calls that are under way at once."""


class Arm:
    """What is called."""

    @command
    def grip(self, force: int, speed: float, arm: str) -> int:
        """Return the force."""
        return force


class Robot(Process):
    """Serves an arm, and a stream."""

    def birth(self) -> None:
        serve(self, Api(), "tools")
        serve(self, Arm(), "arm")

    @command
    def count(self, parts: int) -> Any:
        """Yield so many numbers."""
        yield from range(parts)


class Caller(Process):
    """Calls, times it, and ends."""

    rounds: int
    echo: Exchange
    seconds: dict[str, list[list[float]]]
    figures: dict[str, float]

    def life(self) -> None:
        robot = remote(self, "robot")
        exchanges: dict[str, Exchange] = {
            "call": lambda: robot.arm.grip(force=3, speed=1.5, arm="left"),
            "pipe": self.echo,
        }
        for _ in range(TURNS):
            for name, exchange in exchanges.items():
                turn = timed(exchange, self.rounds // TURNS + WARM_UP)[WARM_UP:]
                self.seconds.setdefault(name, []).append(turn)
        self.figures["async_calls_per_s"] = self._async_calls(robot)
        self.figures["stream_parts_per_s"] = self._parts(robot)
        self.die()

    def _async_calls(self, robot: Any) -> float:
        grip = later(robot.arm.grip)
        windows = max(1, self.rounds // WINDOW)
        began = perf_counter()
        for _ in range(windows):
            begun = [grip(**GRIP) for _ in range(WINDOW)]
            for transaction in begun:
                transaction.result()
        return round(windows * WINDOW / (perf_counter() - began))

    def _parts(self, robot: Any) -> float:
        parts = self.rounds * 10
        began = perf_counter()
        read = sum(1 for _ in using(robot.count, timeout=60)(parts=parts))
        return round(read / (perf_counter() - began))


def calls(rounds: int) -> tuple[dict[str, list[list[float]]], dict[str, float]]:
    """Return the seconds of each exchange by job and turn, and the other figures."""
    seconds: dict[str, list[list[float]]] = {}
    figures: dict[str, float] = {}

    class Pair(Application):
        """A robot in an OS process of its own."""

        def build(self) -> None:
            self.add_process("robot", Robot, mode="fork")

    with pipe(GRIP) as echo:
        made = {"rounds": rounds, "echo": staticmethod(echo), "seconds": seconds}
        main = type("Main", (Caller,), {**made, "figures": figures})
        Pair(main=main).run()
    return seconds, figures


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure, once pinned and once not."""
    with pinned():
        seconds, figures = calls(rounds)
    free_seconds, free = calls(rounds)
    every = {
        name: spread([each for turn in turns for each in turn]) for name, turns in seconds.items()
    }
    return {
        "call_vs_pipe": ratio(seconds["call"], seconds["pipe"]),
        **figures,
        **every,
        "service": service_figures.measure(rounds),
        "unpinned": {"call_vs_pipe": ratio(free_seconds["call"], free_seconds["pipe"]), **free},
    }


def main() -> None:
    """Measure and print."""
    given = arguments(__doc__.partition("\n")[0])
    show(measure(given.rounds), as_json=given.json)


if __name__ == "__main__":
    main()
