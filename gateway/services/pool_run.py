"""One run of a pool: its items, who carries them out, and what is told of them.

As many threads as the pool has workers take one item after the other. What happens
goes into a queue that one reader empties; of an item's progress it holds the latest
only, so that it has room for a few events an item and no more.

Refused: nothing; whatever goes wrong with an item is its outcome.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from gateway.errors import (
    CallCancelledError,
    CallTimeoutError,
    GatewayError,
    RecipientGoneError,
    error_from,
)
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.transaction import Transaction
from gateway.rpc.tree import later, using
from gateway.services.pool_events import Kind, Outcome, PoolEvent
from gateway.services.proxy import is_running, name_of


class Pool(Protocol):
    """What a run asks of its pool."""

    workers: int
    timeout: float
    report_every: float

    def take_worker(self) -> Any:
        """Return the proxy of a worker that is idle, or new."""
        ...

    def give_back(self, worker: Any) -> None:
        """Keep an idle worker for later."""
        ...

    def replace(self, worker: Any) -> None:
        """End a worker that is dead or does not answer."""
        ...

    def make_idle(self, worker: Any) -> bool:
        """Have whatever ``worker`` does end; tell whether it is fit for more."""
        ...


class PoolRun:
    """One run; it begins when its events are first read."""

    def __init__(self, pool: Pool, simulation: str, items: Sequence[Mapping[str, Any]]) -> None:
        self._pool = pool
        self._simulation = simulation
        self._items = items
        self._waiting = deque(enumerate(items))
        self._is_cancelled = False
        self._changed = threading.Condition()
        self._told: deque[PoolEvent] = deque()
        self._done = self._failed = 0
        self._seen: dict[int, tuple[str, int]] = {}
        self._threads: list[threading.Thread] = []

    def events(self) -> Iterator[PoolEvent]:
        """Give what happens until all is done."""
        for thread_number in range(min(self._pool.workers, len(self._items))):
            thread = threading.Thread(target=self._work, name=f"simulations {thread_number + 1}")
            self._threads.append(thread)
            thread.start()
        over = 0
        while over < len(self._items):
            with self._changed:
                # Every item ends within the pool's timeout, and wakes this.
                while not self._told:
                    self._changed.wait(1.0)
                event = self._told.popleft()
            over += event.outcome is not None
            yield event

    def cancel(self) -> None:
        """Begin nothing more, and have what is under way end."""
        self._is_cancelled = True

    def end(self) -> None:
        """End the run and its threads; each ends in a few seconds, whatever its worker does."""
        self.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    # On the threads of the run

    def _work(self) -> None:
        while True:
            try:
                number, parameters = self._waiting.popleft()
            except IndexError:
                return
            self._carry_out(number, parameters)

    def _carry_out(self, number: int, parameters: Mapping[str, Any]) -> None:
        name = f"{self._simulation.rpartition(':')[2]} {number}"
        outcome = Outcome(number, name, parameters)
        began = monotonic()
        kind: Kind = "finished"
        try:
            outcome = self._outcome(outcome)
        except Exception as bug:  # noqa: BLE001 - whoever reads the outcome is told
            kind, outcome = "failed", outcome._replace(error=as_gateway_error(bug))
            if self._is_cancelled and isinstance(bug, CallCancelledError):
                kind = "cancelled"
        worker, steps = self._seen.pop(number, ("", 0))
        outcome = outcome._replace(steps=steps, seconds=monotonic() - began, worker=worker)
        self._tell(kind, outcome, 1.0 if kind == "finished" else None, outcome.steps, ends=True)

    def _outcome(self, outcome: Outcome) -> Outcome:
        """Return what comes of an item; raise what it raises."""
        self._check()
        worker = self._pool.take_worker()
        is_fit = False
        self._seen[outcome.number] = name_of(worker), 0
        self._tell("started", outcome, 0.0, 0)
        try:
            patient = using(worker, timeout=self._pool.timeout)
            call = later(patient.work)(self._simulation, dict(outcome.parameters), outcome.name)
            told = self._answer(worker, call, outcome)
            is_fit = True
            self._seen[outcome.number] = name_of(worker), told["steps"]
        except GatewayError as error:
            if not is_running(worker):
                raise RecipientGoneError(
                    f"the worker of {outcome.name} died of it, or was killed; the log may say why"
                ) from error
            # What raised is over by now; what was given up may be anywhere.
            is_fit = self._pool.make_idle(worker)
            raise
        finally:
            if is_fit:
                self._pool.give_back(worker)
            else:
                self._pool.replace(worker)
        if "error" in told:
            raise error_from(told["error"])
        return outcome._replace(result=told["result"])

    def _answer(self, worker: Any, call: Transaction[Any], outcome: Outcome) -> Any:
        """Return the answer, and tell meanwhile how far it is."""
        quick = using(worker, timeout=max(1.0, self._pool.report_every))
        while True:
            try:
                return call.result(self._pool.report_every)
            except CallTimeoutError:
                if call.done():
                    raise
            self._check(call)
            try:
                seen = quick.look()
            except CallTimeoutError:
                # It is busy with something that lets nobody else have a turn.
                continue
            self._seen[outcome.number] = name_of(worker), seen["step"]
            self._tell("progress", outcome, seen["progress"], seen["step"])

    def _check(self, call: Transaction[Any] | None = None) -> None:
        if self._is_cancelled:
            if call is not None:
                call.cancel()
            raise CallCancelledError("its pool was cancelled, or closed")

    def _tell(
        self, kind: Kind, outcome: Outcome, progress: float | None, step: int, *, ends: bool = False
    ) -> None:
        with self._changed:
            self._done += ends
            self._failed += ends and outcome.error is not None
            event = PoolEvent(
                kind,
                outcome.number,
                outcome.name,
                progress,
                step,
                self._done,
                self._failed,
                len(self._items),
                outcome if ends else None,
            )
            if kind == "progress":
                stale = [
                    each for each in self._told if (each.kind, each.number) == (kind, event.number)
                ]
                for each in stale:
                    self._told.remove(each)
            self._told.append(event)
            self._changed.notify_all()
