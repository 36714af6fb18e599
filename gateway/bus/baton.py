"""One thread at a time: the baton that the threads of a simulation hand on.

Whoever holds the baton runs. Who waits hands it to the next one that has
something to do; where there is none, time jumps to the earliest deadline, as
far as the horizon of the thread that drives. Who is woken queues first come
first; between deadlines at the same instant a seeded draw decides. So one seed
gives one order, whatever the machine does.

Refused, by `SimulationError`: waiting or writing on a thread that was not
started as a `Strand`; more events than are allowed, in all or at one instant;
a strand that keeps the baton for ``patience`` seconds of real time. Real waits
(`time.sleep`, a `threading.Lock` that another strand holds) hold up everybody.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import traceback
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf, nextafter
from random import Random
from typing import Any, NoReturn

from gateway.clock import VirtualClock
from gateway.errors import SimulationError

log = logging.getLogger(__name__)

AT_ONCE = 200_000
"""Waits and letters at one instant, after which time is said to stand still."""

PATIENCE = 10.0
"""Real seconds that a strand may keep the baton without waiting or writing."""

LEAVE = 1.0
"""Real seconds that a strand has for its way out at the least, however busy the machine."""


class Leave(SystemExit):
    """Raised out of every wait once the simulation is over, so that its threads end."""


class Driver:
    """The thread outside that drives; it holds the baton whenever nobody in it runs."""

    name = "the driving thread"

    def __init__(self) -> None:
        self.turn = allocate_lock()
        self.turn.acquire()
        self.number = get_ident()


class Strand(threading.Thread):
    """A thread that runs only while it holds the baton; `start` and `join` are virtual."""

    # A thread deletes some of its attributes as it runs, which makes all others slow.
    __slots__ = ("asleep", "baton", "deadline", "ended", "number", "ticket", "timer", "turn")

    def __init__(
        self,
        baton: Baton,
        target: Callable[..., object],
        *,
        args: tuple[Any, ...] = (),
        name: str | None = None,
        daemon: bool = True,
    ) -> None:
        super().__init__(target=target, args=args, name=name, daemon=daemon)
        self.baton = baton
        self.turn = allocate_lock()
        self.turn.acquire()
        self.number = 0
        self.asleep = False
        self.deadline = inf
        self.timer = inf
        """The deadline that stands in the baton's timers for it."""
        self.ticket = 0
        """Which of the baton's timers is the one that counts."""
        self.ended = False
        self._joiners: list[Strand] = []

    def start(self) -> None:
        """Line up for the baton."""
        self.baton.check("start a thread")
        if self.baton.over:
            raise Leave
        super().start()
        self.number = get_ident() if self.ident is None else self.ident
        self.baton.strands[self] = None
        self.baton.ready.append(self)

    def run(self) -> None:
        """Run, with the baton in hand."""
        self.turn.acquire()
        try:
            if not self.baton.over:
                super().run()
        except Leave:
            return
        finally:
            self.ended = True
            for strand in self._joiners:
                self.baton.wake(strand)
            self.baton.finish(self)

    def join(self, timeout: float | None = None) -> None:
        """Wait, in virtual seconds, until it has ended."""
        baton = self.baton
        deadline = inf if timeout is None else baton.after(timeout)
        while not self.ended and deadline > baton.clock.now:
            me = baton.me("join a thread")
            self._joiners.append(me)
            try:
                baton.wait(deadline)
            finally:
                self._joiners.remove(me)

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self.number != 0 and not self.ended

    def join_really(self, timeout: float) -> None:
        """Wait in real seconds for the thread underneath."""
        super().join(timeout)


class Baton:
    """Who runs, who is next, and how far time may go.

    ``most`` bounds the events (waits and letters) in all, ``at_once`` those at
    one instant.
    """

    def __init__(
        self,
        clock: VirtualClock,
        random: Random,
        *,
        most: float = inf,
        at_once: int = AT_ONCE,
        patience: float = PATIENCE,
    ) -> None:
        self.clock = clock
        self.over = False
        """Whether everybody is to leave."""
        self.failure: SimulationError | None = None
        """Why it cannot go on."""
        self.events = 0
        self.limit = min(most, at_once)
        """Events after which something is wrong, unless time moves on before."""
        self.strands: dict[Strand, None] = {}
        self.ready: deque[Strand] = deque()
        self._draw = random.random
        self._most = most
        self._at_once = at_once
        self._patience = patience
        self._timers: list[tuple[float, float, int, Strand]] = []
        self._many = 64
        self._horizon = 0.0
        self._driver = Driver()
        self.holder: Strand | Driver = self._driver
        self.number = self._driver.number
        """The identifier of the thread that holds the baton."""

    # For whoever runs in it

    def thread(self, target: Callable[..., object], **options: Any) -> Strand:
        """Make a strand, as `threading.Thread` makes a thread."""
        return Strand(self, target, **options)

    def check(self, what: str) -> None:
        """Raise `SimulationError` on a thread that does not hold the baton."""
        if get_ident() != self.number:
            self.refuse(what)

    def refuse(self, what: str) -> NoReturn:
        """Raise `SimulationError`: this thread may not do that; the simulation ends as well."""
        name = threading.current_thread().name
        error = SimulationError(
            f"the thread {name!r} does not belong to the simulation and may not {what};"
            " start it as a child thread of its process"
        )
        if self.failure is None and not self.over:
            self.failure = error
            self.limit = -1
        raise error

    def me(self, what: str) -> Strand:
        """Return the strand that runs; raise `SimulationError` on any other thread."""
        if get_ident() != self.number:
            self.refuse(what)
        holder = self.holder
        if isinstance(holder, Driver):
            raise SimulationError(f"the thread that drives a simulation may not {what}: step it")
        return holder

    def after(self, seconds: float) -> float:
        """Return the moment ``seconds`` from now; later than now where they are not zero."""
        now = self.clock.now
        moment = now + seconds
        return nextafter(now, inf) if moment <= now and seconds > 0 else moment

    def left_until(self, deadline: float) -> float | None:
        """Return the seconds until ``deadline``; None where that never comes."""
        return None if deadline == inf else max(0.0, deadline - self.clock.now)

    def wait(self, deadline: float) -> None:
        """Hand the baton on; come back when woken, or at ``deadline`` on the clock.

        Raises `Leave` when the simulation is over.
        """
        self.sleep(self.me("wait"), deadline)

    def sleep(self, me: Strand, deadline: float) -> None:
        """Do what `wait` does, where ``me`` is known to be the strand that runs."""
        if self.over:
            raise Leave
        self.events = events = self.events + 1
        if events > self.limit:
            self._fail_at_limit()
        me.asleep = True
        me.deadline = deadline
        if deadline != me.timer and deadline != inf:
            # Every wait has another number, and so has what it leaves in the timers.
            me.timer = deadline
            me.ticket = events
            heappush(self._timers, (deadline, self._draw(), events, me))
            if len(self._timers) > self._many:
                self._drop_stale_timers()
        following = self.ready.popleft() if self.ready else self._next()
        if following is not me:
            self.holder = following
            self.number = following.number
            following.turn.release()
            me.turn.acquire()
            if self.over:
                raise Leave

    def wake(self, strand: Strand) -> None:
        """Have ``strand``, where it waits, run after those who are ready already."""
        if strand.asleep:
            strand.asleep = False
            self.ready.append(strand)

    def count(self) -> None:
        """Count one event; end everything where there are too many."""
        self.events += 1
        if self.events > self.limit:
            self._fail_at_limit()

    def fail(self, error: SimulationError) -> NoReturn:
        """End everything, on the thread that runs, because of ``error``."""
        if self.failure is None:
            self.failure = error
        if isinstance(self.holder, Driver):
            raise self.failure
        self.over = True
        raise Leave

    def finish(self, strand: Strand) -> None:
        """Hand the baton on for good."""
        self.strands.pop(strand, None)
        if self.holder is not strand:
            # It was given up, and the baton taken from it.
            return
        following = self._next()
        self.holder = following
        self.number = following.number
        following.turn.release()

    # For the thread that drives

    def run(self, horizon: float) -> None:
        """Let everybody run until nothing is left to do up to ``horizon``.

        Raises the `SimulationError` for which it cannot go on; then nobody runs any more.
        """
        if not isinstance(self.holder, Driver):
            self.refuse("drive it")
        self._driver.number = self.number = get_ident()
        self._horizon = horizon
        following = self._next()
        try:
            if isinstance(following, Strand):
                self._hand_to(following)
                self._take_back()
            if self.failure is not None:
                raise self.failure
        except BaseException:
            self.end()
            raise

    def next_due(self) -> float:
        """Return when something is to be done next, inf for never."""
        if self.ready:
            return self.clock.now
        self._look_ahead()
        return self._timers[0][0] if self._timers else inf

    def end(self) -> list[str]:
        """Have every strand leave, one after the other; return who had to be left behind."""
        self.over = True
        left = []
        # Where the driver was interrupted, somebody runs still.
        if isinstance(self.holder, Strand) and not self._comes_back():
            left.append(self.holder)
        while staying := [strand for strand in list(self.strands) if strand not in left]:
            self._hand_to(staying[0])
            if not self._comes_back():
                left.append(staying[0])
        self.holder = self._driver
        self.number = self._driver.number
        for thread in threading.enumerate():
            if isinstance(thread, Strand) and thread.baton is self and thread not in left:
                thread.join_really(self._patience)
        names = [strand.name for strand in left]
        if names:
            log.error("threads of a simulation were left behind: %s", ", ".join(names))
        return names

    # Within

    def _next(self) -> Strand | Driver:
        """Return who is to run next; move time on where nobody is ready."""
        if self.over:
            return self._driver
        if self.ready:
            return self.ready.popleft()
        timers = self._timers
        while timers:
            deadline, _, ticket, strand = timers[0]
            if strand.ticket == ticket:
                if deadline > self._horizon:
                    return self._driver
                strand.timer = inf
                strand.ticket = 0
                if strand.asleep and strand.deadline <= deadline:
                    heappop(timers)
                    if deadline > self.clock.now:
                        self.clock.now = deadline
                        if self.failure is None:
                            self.limit = min(self._most, self.events + self._at_once)
                    strand.asleep = False
                    return strand
            heappop(timers)
        return self._driver

    def _drop_stale_timers(self) -> None:
        """Forget what was left behind by those who were woken early."""
        self._timers = [timer for timer in self._timers if timer[3].ticket == timer[2]]
        heapify(self._timers)
        self._many = 64 + 8 * len(self._timers)

    def _look_ahead(self) -> None:
        timers = self._timers
        while timers:
            deadline, _, ticket, strand = timers[0]
            if strand.ticket == ticket and strand.asleep and strand.deadline <= deadline:
                return
            if strand.ticket == ticket:
                strand.timer, strand.ticket = inf, 0
            heappop(timers)

    def _fail_at_limit(self) -> NoReturn:
        name, now = self.holder.name, self.clock.now
        if self.events > self._most:
            why = f"it was {name!r} that ran at {now:g} s when {self._most:g} events were over"
        else:
            why = (
                f"time stands still at {now:g} s: {self._at_once} waits and letters, the last"
                f" by {name!r}, which never waits for time to pass"
            )
        self.fail(SimulationError(why))

    def _hand_to(self, strand: Strand) -> None:
        strand.asleep = False
        self.holder = strand
        self.number = strand.number
        strand.turn.release()

    def _take_back(self) -> None:
        """Wait until the baton comes back; give up where nothing moves."""
        seen = -1
        while not self._driver.turn.acquire(timeout=self._patience):
            if seen == self.events:
                raise self._stuck()
            seen = self.events

    def _stuck(self) -> SimulationError:
        frame = sys._current_frames().get(self.number)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        log.error("%s neither waits nor writes:\n%s", self.holder.name, stack)
        return SimulationError(
            f"{self.holder.name!r} neither waits nor writes: it has kept everybody for"
            f" {self._patience:g} s of real time at {self.clock.now:g} s"
        )

    def _comes_back(self) -> bool:
        """Wait until the baton comes back; interrupt who has it where it does not."""
        if self._driver.turn.acquire(timeout=LEAVE):
            return True
        # What runs Python without an end can be interrupted; a real wait cannot.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.number), ctypes.py_object(Leave)
        )
        return self._driver.turn.acquire(timeout=max(LEAVE, self._patience))
