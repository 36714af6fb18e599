"""What lives in each worker of a pool: it runs one simulation after the other.

A service like any other, with a process group of its own: what its simulations
start and leave behind ends with it.

Refused: a second simulation at a time (`RefusedError`), what is no simulation
(`ConfigError`).
"""

from __future__ import annotations

import os
import signal
import threading
from types import TracebackType
from typing import Any, Self

from gateway.config.qualname import named
from gateway.errors import ConfigError, RefusedError, described
from gateway.rpc.failure import as_gateway_error
from gateway.services.simulation import Simulation


class PoolWorker:
    """Runs simulations, one at a time; meant to be a service with at least two threads."""

    def __init__(self) -> None:
        os.setpgid(0, 0)
        self._busy = threading.Lock()
        self._current: Simulation | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.group:
            # This process hears it too, and is ending anyway.
            os.killpg(self.group, signal.SIGTERM)

    @property
    def group(self) -> int:
        """The number of its process group; 0 where that is somebody else's."""
        return os.getpid() if os.getpgrp() == os.getpid() else 0

    def work(self, simulation: str, parameters: dict[str, Any], name: str) -> dict[str, Any]:
        """Run the ``simulation``, a ``module:class``, to its end; return what came of it.

        What it raises is its outcome, ``error``, and nothing that anybody has to log.
        """
        if not self._busy.acquire(blocking=False):
            raise RefusedError(f"{self._current!r} is at work here: one at a time")
        self._current = None
        told: dict[str, Any] = {}
        try:
            made = self._current = _made(simulation, parameters, name)
            told["result"] = made.run()
        except Exception as bug:  # noqa: BLE001 - whoever runs the pool is told
            told["error"] = described(as_gateway_error(bug), inside=True)
        finally:
            self._busy.release()
        return {**told, "steps": self._steps()}

    def look(self) -> dict[str, Any]:
        """Return how far the simulation is that runs, or ran last."""
        current = self._current
        return {
            "step": self._steps(),
            "progress": None if current is None else current.progress,
            "busy": self._busy.locked(),
        }

    def stop(self) -> None:
        """Have what runs end at once."""
        current = self._current
        if current is not None:
            current.stop(terminate=True)

    def rest(self, seconds: float) -> bool:
        """Wait until nothing runs, ``seconds`` at the most; tell whether that is so."""
        rested = self._busy.acquire(timeout=seconds)
        if rested:
            self._busy.release()
        return rested

    def _steps(self) -> int:
        current = self._current
        return 0 if current is None else current.current_step - current.beginning_step


def _made(simulation: str, parameters: dict[str, Any], name: str) -> Simulation:
    kind = named(simulation)
    if not (isinstance(kind, type) and issubclass(kind, Simulation)):
        raise ConfigError(f"{simulation} is no Simulation")
    made = kind(**parameters)
    made.name = name
    return made
