"""How soon a caller knows that whom it called was killed, for each kind of call.

The peer's OS process is sent SIGKILL at a random moment within each kind of call;
measured is the time from there to the typed error at the caller. The kinds are a call
that waits, a future, a callback, a semaphore, a stream in its middle, and a property
of a service that is read or set. ``transactions_left`` counts what is still open after
all of it, and is to be 0.

A killed process gives its memory back before anybody is told, so that the figures are
those of a process of the usual size, as this program starts them.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import monotonic, sleep
from typing import Any

from benchmarks.measure import arguments, show
from gateway import Process
from gateway.errors import AddressError, RecipientGoneError
from gateway.rpc import command, later, remote, using
from gateway.services import Services, services
from gateway.testing.stage import play

ROUNDS = 200
ENDLESS = 30.0
"""Seconds that whatever is killed would take."""

WITHIN = (0.002, 0.01)
"""Seconds from which and until which it goes on before it is killed."""

Call = Callable[[Process, Any], Any]


class Doomed(Process):
    """Is killed in the middle of whatever it does."""

    @command
    def pid(self) -> int:
        """Return the OS process."""
        return os.getpid()

    @command
    def hang(self) -> None:
        """Wait for the end."""
        sleep(ENDLESS)

    @command
    def drip(self) -> Iterator[int]:
        """Yield one part, and wait for the end."""
        yield 1
        sleep(ENDLESS)


class DoomedObject:
    """Is killed while somebody reads or sets what it has."""

    @property
    def pid(self) -> int:
        """The OS process."""
        return os.getpid()

    @property
    def endless(self) -> int:
        """Nothing that anybody has ever read."""
        sleep(ENDLESS)
        return 0

    @endless.setter
    def endless(self, value: int) -> None:
        sleep(ENDLESS)


# The kinds


def sync(main: Process, doomed: Any) -> Any:
    """Call and wait."""
    return doomed.hang()


def future(main: Process, doomed: Any) -> Any:
    """Call, and ask for the result."""
    return later(doomed.hang)().result()


def callback(main: Process, doomed: Any) -> Any:
    """Call, and be called back."""
    ended: list[Any] = []
    using(doomed.hang, callback=ended.append)()
    while not ended:
        main.mailman(timeout=5.0)
    return ended[0].result()


def semaphore(main: Process, doomed: Any) -> Any:
    """Call, and be released."""
    done = threading.Semaphore(0)
    begun = using(doomed.hang, release=done)()
    if not done.acquire(timeout=5):
        raise TimeoutError("nobody was released")
    return begun.result()


def stream(main: Process, doomed: Any) -> Any:
    """Read a stream to its end."""
    return list(doomed.drip())


def reading(doomed: Any) -> Any:
    """Read a property."""
    return doomed.endless


def setting(doomed: Any) -> None:
    """Set a property."""
    doomed.endless = 1


CALLS: dict[str, Call] = {
    each.__name__: each for each in (sync, future, callback, semaphore, stream)
}
USES: dict[str, Callable[[Any], Any]] = {
    "property_read": reading,
    "property_set": setting,
}


def killed_in(act: Callable[[], Any], pid: int, chance: random.Random) -> float:
    """Return the seconds from the SIGKILL of ``pid``, within ``act()``, to its typed error."""
    killed_at: list[float] = []

    def kill() -> None:
        killed_at.append(monotonic())
        os.kill(pid, signal.SIGKILL)

    killer = threading.Timer(chance.uniform(*WITHIN), kill)
    killer.start()
    try:
        act()
    except RecipientGoneError:
        told_at = monotonic()
    else:
        raise SystemExit("whoever was called is dead, and nobody was told")
    finally:
        killer.join()
    if told_at < killed_at[0]:
        raise SystemExit("whoever was called is said to be dead, and lived")
    return told_at - killed_at[0]


def left_open(process: Process) -> int:
    """Return how many calls ``process`` still has open, in any of its tables."""
    calls = process.calls
    tables = (calls._open, calls._ended, calls._attended, process._box._lanes.open_calls())
    return int(calls.statistics()["under_way"]) + sum(len(table) for table in tables)


def of_a_process(kind: Call, rounds: int, chance: random.Random) -> tuple[list[float], int]:
    """Return the seconds of each death of a process, and the calls that are left open."""

    def scene(main: Process) -> tuple[list[float], int]:
        doomed = remote(main, "doomed", timeout=10)
        seconds = []
        for _ in range(rounds):
            pid = _pid_of(main, doomed)
            seconds.append(killed_in(partial(kind, main, doomed), pid, chance))
        return seconds, left_open(main)

    found: tuple[list[float], int] = play(scene, doomed=(Doomed, "fork"))
    return found


def _pid_of(main: Process, doomed: Any) -> int:
    """Return the OS process of the next life, once there is one.

    Who was killed may still pass for alive when somebody wants it started.
    """
    deadline = monotonic() + 20
    while True:
        main.start_process("doomed")
        try:
            pid: int = doomed.pid()
        except (AddressError, RecipientGoneError):
            if monotonic() > deadline:
                raise
        else:
            return pid


def of_a_service(
    house: Services, use: Callable[[Any], Any], rounds: int, chance: random.Random
) -> list[float]:
    """Return the seconds of each death of a service."""
    seconds = []
    for _ in range(rounds):
        doomed = house.start("doomed", DoomedObject)
        seconds.append(killed_in(partial(use, doomed), doomed.pid, chance))
    return seconds


def in_milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    ordered = sorted(seconds)
    return {
        "median_ms": round(median(ordered) * 1e3, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 2),
    }


def measure(rounds: int, seed: int) -> dict[str, Any]:
    """Return the figures of every kind."""
    # Each death is told of, as it should be, and is no news here.
    logging.getLogger("gateway").setLevel(logging.CRITICAL)
    chance = random.Random(seed)
    result: dict[str, Any] = {"seed": seed, "rounds": rounds}
    left = 0
    for name, kind in CALLS.items():
        seconds, open_now = of_a_process(kind, rounds, chance)
        result[name] = in_milliseconds(seconds)
        left += open_now
    with services() as house:
        for name, use in USES.items():
            result[name] = in_milliseconds(of_a_service(house, use, rounds, chance))
        left += left_open(house.process)
    return {**result, "transactions_left": left}


def main() -> None:
    """Kill, measure and print."""
    chosen = arguments("How soon a caller knows that whom it called was killed.", rounds=ROUNDS)
    show(measure(chosen.rounds, random.randrange(1 << 30)), as_json=chosen.json)


if __name__ == "__main__":
    main()
