"""A thread-mode application in virtual time, deterministic, faster than real time.

One thread runs at a time; where nobody has anything to do, time jumps. The
same boss supervises as in real life. Chance, ids and the order of what is due
at one instant come from the seed, so that one seed gives one ledger and one
order of mail::

    with Hello().simulation(seed=7) as simulation:
        simulation.run_until(60.0)
        print(simulation.time, simulation.ledger()["worker"].delivered)

Refused, by `SimulationError` that names who did it: a bug in a process (unless
``fail_fast`` is off: then its restart policy decides), everybody waiting for
ever, more events than are allowed, a process that neither waits nor writes,
threads that the simulation does not know, real descriptors. Whatever happens,
every thread has ended afterwards, but for one that is stuck in a real wait. A
time or a limit that is no number is a `TypeError`; nan and what is negative,
for which time would never come, a `ValueError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from random import Random
from threading import Thread
from typing import Any

from gateway.bus.baton import AT_ONCE, PATIENCE, Baton, Strand
from gateway.bus.ledger import Balance
from gateway.bus.simulated_office import SimulatedOffice
from gateway.clock import VirtualClock
from gateway.errors import SimulationError
from gateway.process.locks import Lock
from gateway.process.simulated_lock import SimulatedLock
from gateway.process.simulated_wakeup import SimulatedWakeup
from gateway.process.wakeup import Wakeup
from gateway.timeout import MOST, is_number


@dataclass(frozen=True)
class Failure:
    """A life that ended by a bug, and when, in virtual seconds."""

    time: float
    process: str
    error: str


@dataclass(frozen=True)
class Outcome:
    """What a simulation came to.

    ``status`` is what `Application.run` returns. ``time`` is in virtual
    seconds. ``events`` counts waits and letters written. ``digest`` stands for
    every letter that was read, in its order; ``ledger`` has a balance for each
    mailbox.
    """

    status: int
    time: float
    events: int
    digest: str
    ledger: dict[str, Balance]
    failures: tuple[Failure, ...]


class Simulation:
    """One run of an application in virtual time; made by `Application.simulation`.

    ``until`` is the virtual second at which the application is stopped, in
    order. ``most_events`` bounds the waits and letters in all and ``at_once``
    those at one instant; ``patience`` is how many seconds of real time a
    process may go without either. Each is a number from 0; inf is fine.
    """

    def __init__(
        self,
        *,
        seed: int | str = 0,
        until: float = inf,
        most_events: float = inf,
        at_once: int = AT_ONCE,
        patience: float = PATIENCE,
        fail_fast: bool = True,
    ) -> None:
        until = _from_0(until, "until", "virtual seconds")
        _from_0(most_events, "most_events", "waits and letters")
        _from_0(at_once, "at_once", "waits and letters")
        patience = _from_0(patience, "patience", "real seconds")
        self._seed = seed
        self._until = until
        self._fail_fast = fail_fast
        self.clock = VirtualClock()
        self.baton = Baton(
            self.clock,
            self.random("order"),
            most=most_events,
            at_once=at_once,
            patience=min(patience, MOST),
        )
        self.office = SimulatedOffice(self.baton, self.random("ids"))
        self._failures: list[Failure] = []
        self._stop: Callable[[], None] = lambda: None
        self._main: Strand | None = None
        self._status: int | None = None
        self._closed = False

    # For the application

    def random(self, purpose: str) -> Random:
        """Return the randomness for one purpose; it comes from the seed alone."""
        return Random(f"{self._seed}/{purpose}")

    def make_thread(self, target: Callable[..., object], **options: Any) -> Thread:
        """Make a thread that runs in turn with all others."""
        return self.baton.thread(target, **options)

    def make_lock(self) -> Lock:
        """Make a lock for which threads wait in virtual time."""
        return SimulatedLock(self.baton)

    def make_wakeup(self) -> Wakeup:
        """Make a wake-up whose sleepers wait in virtual time."""
        return SimulatedWakeup(self.baton)

    def begin(self, run: Callable[[], int], stop: Callable[[], None]) -> None:
        """Have ``run`` be the main thread of the simulation, and ``stop`` what ends it."""

        def main() -> None:
            self._status = run()

        self._stop = stop
        self._main = self.baton.thread(main, name="main")
        with as_batch_on_one_core():
            self._main.start()

    def note_failure(self, process: str, error: str) -> None:
        """Note a life that ended by a bug; end everything where that is wanted."""
        self._failures.append(Failure(self.time, process, error))
        if self._fail_fast:
            self.baton.fail(
                SimulationError(f"the process {process!r} failed at {self.time:g} s: {error}")
            )

    # For whoever simulates

    @property
    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self.clock.now

    @property
    def has_ended(self) -> bool:
        """Whether the application has ended."""
        return self._status is not None or self._closed

    def step(self, tock: float | None = None) -> float:
        """Go on by ``tock`` seconds, or to the next instant at which something is to be done.

        Returns the time then. Raises `SimulationError` where nothing will ever
        be done again.
        """
        if tock is not None:
            tock = _from_0(tock, "a step", "virtual seconds")
            if tock == inf:
                raise ValueError("a step is a number of virtual seconds that end, not inf")
            return self.run_until(self.time + tock)
        if self.has_ended:
            return self.time
        due = self.baton.next_due()
        if due == inf and self._until == inf:
            raise self._deadlock()
        return self.run_until(due)

    def run_until(self, time: float) -> float:
        """Go on to the virtual second ``time``, or to the end; return the time then.

        With inf it goes on to the end of the application, and raises
        `SimulationError` where that would never come.
        """
        time = _from_0(time, "a time", "virtual seconds")
        if time < self.time:
            raise ValueError(f"it is {self.time:g} s already, and time never goes back to {time:g}")
        if self.has_ended:
            return self.time
        horizon = min(time, self._until)
        self._run(horizon)
        if self._status is not None:
            self.close()
        elif horizon == inf:
            raise self._deadlock()
        else:
            self.clock.now = horizon
            if horizon == self._until:
                self.stop()
        return self.time

    def run(self) -> Outcome:
        """Run to the end, or to ``until``, and return what came of it."""
        self.run_until(inf)
        return self.outcome()

    def stop(self) -> int:
        """Stop the application in order, as at its end in real life; return its status."""
        if not self.has_ended:
            self._stop()
            self._run(inf)
            if self._status is None:
                raise self._deadlock()
        self.close()
        return self._status if self._status is not None else 1

    def close(self) -> None:
        """End every thread, whatever it is doing; twice is fine."""
        if not self._closed:
            self._closed = True
            left = self.baton.end()
            self.office.shut()
            if left:
                self._status = 1

    def outcome(self) -> Outcome:
        """Return what came of it so far."""
        return Outcome(
            1 if self._status is None else self._status,
            self.time,
            self.baton.events,
            self.digest(),
            self.ledger(),
            tuple(self._failures),
        )

    def digest(self) -> str:
        """Return a digest of every letter that was read, in the order of reading."""
        return self.office.digest()

    def ledger(self) -> dict[str, Balance]:
        """Return the balance of each mailbox by name, all of its lives together."""
        return self.office.ledger()

    def statistics(self) -> dict[str, Any]:
        """Return counts: virtual seconds, waits and letters, letters read, threads."""
        return {
            "time": self.time,
            "events": self.baton.events,
            "letters_read": self.office.letters_read,
            "threads": len(self.baton.strands),
        }

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Within

    def _run(self, horizon: float) -> None:
        try:
            self.baton.run(horizon)
        except BaseException:
            self.close()
            raise

    def _deadlock(self) -> SimulationError:
        names = ", ".join(repr(strand.name) for strand in self.baton.strands)
        self.close()
        return SimulationError(f"nothing will ever happen again: {names} wait for ever")


def _from_0(given: Any, what: str, unit: str) -> float:
    """Return ``given`` as a float from 0 to inf; errors say that ``what`` is so many ``unit``."""
    if not is_number(given):
        raise TypeError(f"{what} is a number of {unit}, not {given!r}")
    # Whatever nan is compared with, it is not less.
    if given < 0 or not given <= inf:
        raise ValueError(f"{what} is a number of {unit} from 0, not {given!r}")
    try:
        return float(given)
    except OverflowError:
        return inf


@contextmanager
def as_batch_on_one_core() -> Iterator[None]:
    """Have the threads that are started here stay on one core, as a batch.

    Only one of them runs at a time. Who is woken on another core costs four
    times as much; who interrupts the one that woke it, as is usual outside of a
    batch, finds the interpreter taken and has to wait once more: that costs double.
    """
    cores, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
        if policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, cores)
            if policy == os.SCHED_OTHER:
                os.sched_setscheduler(0, policy, os.sched_param(0))
