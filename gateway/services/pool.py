"""Many simulations at a time, in OS processes of their own.

::

    with services() as house, SimulationPool(house, workers=4) as pool:
        for outcome in pool.run(Drive, [{"speed": v / 10} for v in range(100)]):
            print(outcome.parameters, outcome.get())

Outcomes come in the order of the parameters, each with its result or with its error;
one that raises, hangs or takes its worker with it costs no other. Who wants to see it
go gives `run` a function, or reads `events`.

Its workers are services: started when there is work, kept from one run to the next,
and replaced where they die. A worker may start processes and services of its own; what
it leaves behind ends with it.

Refused: parameters that no letter can carry and results that none can (`BodyError`, of
that item), a class that other OS processes cannot find (`ConfigError`), two runs at a
time (`RefusedError`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from gateway.errors import GatewayError, RefusedError
from gateway.rpc.tree import using
from gateway.services.pool_events import Outcome, PoolEvent, in_order
from gateway.services.pool_run import PoolRun
from gateway.services.pool_worker import PoolWorker
from gateway.services.proxy import is_running, name_of
from gateway.services.registry import Services
from gateway.services.simulation import Simulation
from gateway.services.start_terms import name_of as class_name

GRACE = 1.0
"""Seconds that a simulation has to put things back when it is told to end."""

THREADS = 2
"""Of each worker: one simulates, the other looks."""

_pools = itertools.count(1)


class SimulationPool:
    """Workers for simulations; close it, or use it as a context."""

    def __init__(
        self,
        services: Services,
        *,
        workers: int = 0,
        timeout: float = 3600.0,
        report_every: float = 0.1,
        name: str = "",
    ) -> None:
        """Have up to ``workers`` at work at a time, one for each processor unless said.

        One simulation may take ``timeout`` seconds. How far each is is asked every
        ``report_every`` seconds. The workers are called by the pool's ``name``.
        """
        if workers < 0 or report_every <= 0 or not 0 < timeout <= 86_400:
            raise ValueError(
                f"{workers} workers, {timeout} s for each simulation, a look every"
                f" {report_every} s: give 0 or more, more than 0 up to a day, and more than 0"
            )
        self.workers = workers or len(os.sched_getaffinity(0))
        """How many are at work at a time."""
        self.replaced = 0
        """Workers that died, or had to be ended."""
        self.timeout = timeout
        self.report_every = report_every
        self._services = services.using(workers=THREADS, grace=GRACE)
        self._name = name or f"pool{next(_pools)}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._groups: dict[str, int] = {}
        self._run: PoolRun | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self,
        simulation: type[Simulation] | str,
        parameters: Iterable[Mapping[str, Any]],
        *,
        progress: Callable[[PoolEvent], object] | None = None,
    ) -> list[Outcome]:
        """Run ``simulation`` with each of the ``parameters``; return all outcomes, in order.

        ``progress`` is called with each event, on this thread.
        """
        outcomes: list[Outcome] = []
        with contextlib.closing(self.events(simulation, parameters)) as events:
            for event in events:
                if event.outcome is not None:
                    outcomes.append(event.outcome)
                if progress is not None:
                    progress(event)
        return in_order(outcomes)

    def events(
        self, simulation: type[Simulation] | str, parameters: Iterable[Mapping[str, Any]]
    ) -> Generator[PoolEvent, None, None]:
        """Run ``simulation`` with each of the ``parameters``; give what happens as it happens.

        Of progress that was not read the latest is kept. Who leaves the loop
        ends the run.
        """
        return self._events_of(PoolRun(self, class_name(simulation), list(parameters)))

    def _events_of(self, run: PoolRun) -> Generator[PoolEvent, None, None]:
        with self._lock:
            if self._is_closed:
                raise RefusedError("this pool is closed: make another one")
            if self._run is not None:
                raise RefusedError("this pool runs already: one run at a time")
            self._run = run
        try:
            yield from run.events()
        finally:
            run.end()
            with self._lock:
                self._run = None

    def cancel(self) -> None:
        """End the run that is under way: what has not begun never does, the rest ends at once.

        Their outcomes say so. Any thread may call it, and ``progress``.
        """
        run = self._run
        if run is not None:
            run.cancel()

    def close(self) -> None:
        """End the run and all workers, and what they have left behind; a second time is fine."""
        with self._lock:
            self._is_closed = True
            run, idle, self._idle = self._run, self._idle, []
        if run is not None:
            run.end()
            idle += self._idle
        for worker in idle:
            self.end_worker(worker, kindly=True)

    # For the run

    def take_worker(self) -> Any:
        """Return the proxy of a worker that is idle, or new; raises what its start raises."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if is_running(worker):
                    return worker
            number = next(self._numbers)
        worker = self._services.start(f"{self._name}-{number}", PoolWorker)
        self._groups[name_of(worker)] = worker.group
        return worker

    def give_back(self, worker: Any) -> None:
        """Keep an idle worker for later."""
        with self._lock:
            self._idle.append(worker)

    def replace(self, worker: Any) -> None:
        """End a worker that is dead or does not answer; the next that is taken is a new one."""
        self.replaced += 1
        self.end_worker(worker, kindly=False)

    def end_worker(self, worker: Any, *, kindly: bool) -> None:
        """End a worker and its processes."""
        group = self._groups.pop(name_of(worker), 0)
        if kindly:
            with contextlib.suppress(GatewayError):
                self._services.close(worker)
        if group:
            # While one of them is left nobody else is given the number of their group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def make_idle(self, worker: Any) -> bool:
        """Have whatever ``worker`` does end; tell whether it is fit for more."""
        try:
            quick = using(worker, timeout=2 * GRACE)
            quick.stop()
            return bool(quick.rest(GRACE))
        except GatewayError:
            return False
