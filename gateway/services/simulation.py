"""A simulation: what its author writes, and the lifecycle that is carried out around it.

Subclass `Simulation`, annotate its parameters, write what happens in each step::

    class Drive(Simulation):
        speed: float = 1.0
        steps = 100

        def on_init(self) -> None:
            self.metres = 0.0

        def on_step(self) -> bool:
            self.metres += self.speed * 0.1
            return self.metres > 50  # true says that this was the last one

        def on_finish(self) -> float:
            return self.metres

    Drive(speed=2.0).run()

`Simulation.run` goes through init → start → step … → finish → stop, and returns
what ``on_finish`` returned. Each phase can be had by itself, which
`gateway.services.execution_context` makes easy. It needs no process and no proxy; behind
one it has the same words: ``drive.run()`` waits there, ``later(drive.run)()`` and
``drive.inside_run()`` do not.

One thread at a time has it take its steps; any other may look, `steer` and `stop`.
What a hook raises ends in the state failed, with `error_message`, and is raised
where the phase was asked for. Time comes from the clock that is handed in: under a
`VirtualClock` a day takes no longer than its steps.

Refused (`RefusedError`): a phase that does not come now, a second thread beside the
one that runs it, values that do not fit their annotation, parameters that it has not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from gateway.clock import Clock, RealClock, VirtualClock
from gateway.errors import CallTimeoutError, RefusedError, in_words
from gateway.services.execution_context import execution
from gateway.services.lifecycle import Lifecycle
from gateway.services.parameters import Parameters
from gateway.services.simulation_state import Event, State


class Simulation:
    """One simulation; see the module's head.

    >>> class Drive(Simulation):
    ...     speed: float = 1.0
    ...     steps = 3
    ...     def on_init(self):
    ...         self.metres = 0.0
    ...     def on_step(self):
    ...         self.metres += self.speed
    ...     def on_finish(self):
    ...         return self.metres
    >>> drive = Drive(speed=2.0)
    >>> drive.run(), drive.status, drive.current_step
    (6.0, 'stopped', 3)
    """

    make_clock: ClassVar[Callable[[], Clock]] = RealClock
    """Makes its clock where none is handed in: `RealClock`, or `VirtualClock`."""

    steps: int | None = None
    """Steps that it takes at the most; None where ``on_step`` alone says when it is over."""
    period: float = 0.0
    """Seconds, on its clock, from the beginning of one step to that of the next; 0 for none."""

    def __init__(
        self, *, name: str = "", clock: Clock | None = None, beginning_step: int = 0, **values: Any
    ) -> None:
        """Take the parameters; nothing is carried out yet.

        ``beginning_step`` is the number of its first step, for one that goes
        on where another left off.
        """
        self._life = Lifecycle(name or type(self).__name__, self._give_back)
        self._clock = clock or type(self).make_clock()
        self._beginning_step = beginning_step
        self._parameters = Parameters(type(self))
        self._steering: deque[dict[str, Any]] = deque()
        self._result: Any = None
        self._forget()
        self._take(self._parameters.check(values))

    # What an author writes

    def on_init(self) -> None:
        """Get ready: load, build, connect. Done again each time that it runs."""

    def on_start(self) -> None:
        """Begin: the first step follows."""

    def on_step(self) -> Any:
        """Do one step; return something true where that was the last."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a step is: on_step")

    def on_finish(self) -> Any:
        """Come to the result, once the last step is done; what is returned is what `run` returns.

        Not called where it is stopped before.
        """

    def on_stop(self) -> None:
        """Give back what it holds: called at the end of all that was begun, also on error."""

    def on_steer(self, before: dict[str, Any]) -> None:
        """See what was changed, between two steps: by name, with the values of ``before``."""

    # What an author uses

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self._clock

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` of its clock pass; ends at once where it is to stop at once."""
        if isinstance(self._clock, VirtualClock):
            self._clock.now += max(0.0, seconds)
        else:
            self._life.sleep(seconds, self._clock)

    # The whole of it

    def run(self) -> Any:
        """Run it from beginning to end, and return its result; None where it was stopped before.

        Raises what a hook raised.
        """
        with self._life.conducting(), execution(self) as steps:
            for _ in steps:
                pass
        return self._result

    def inside_run(self) -> None:
        """Run it on a thread of its own, inside this OS process, and return at once.

        Many of them run side by side, each until its end; `wait` for them. One
        that does not stop when it is told ends with its OS process.

        >>> class Nap(Simulation):
        ...     steps = 1
        ...     def on_step(self):
        ...         self.sleep(0.01)
        ...     def on_finish(self):
        ...         return self.name
        >>> naps = [Nap(name=f"nap {number}") for number in range(3)]
        >>> for nap in naps:
        ...     nap.inside_run()
        >>> [nap.wait() for nap in naps]
        ['nap 0', 'nap 1', 'nap 2']
        """
        self._life.claim()
        thread = threading.Thread(target=self._run_inside, name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._life.release()
            raise

    def wait(self, timeout: float = 5.0) -> Any:
        """Wait for the end of its run, ``timeout`` seconds at the most; return or raise as `run`.

        Raises `CallTimeoutError` where it goes on.
        """
        if not self._life.wait_until_over(timeout):
            raise CallTimeoutError(
                f"{self.name} is {self.status} after {timeout:g} s: wait longer,"
                " or stop it at once with stop(terminate=True)"
            )
        if self._life.error is not None:
            raise self._life.error
        return self._result

    def stop(self, *, terminate: bool = False) -> None:
        """Have it stop: after the phase or step that is under way, or, to ``terminate``, at once.

        In any state; returns at once where another thread carries out a step,
        and `wait` tells when it has stopped. At once means that its `sleep`
        ends, and its code at the next instruction of Python; what waits in C
        goes on until it comes back, or until its service is closed.
        """
        self._life.stop(terminate=terminate)

    # The parts of it

    def init(self) -> bool:
        """Have it get ready; tell whether it goes on, and was not stopped."""
        with self._life.conducting():
            if self._life.heeds_stop():
                return False
            self._life.carry_out(Event.INIT, self._get_ready)
            return self._life.state is State.INITIALIZED

    def start(self) -> bool:
        """Have it begin; tell whether there is a step to take, and it was not stopped."""
        with self._life.conducting():
            if not self._is_stopped():
                self._life.carry_out(Event.START, self._begin)
            return self._goes_on()

    def step(self, count: int = 1) -> bool:
        """Have it take ``count`` steps, or fewer where it ends; tell whether there is another."""
        with self._life.conducting():
            if self._is_running() and not self._goes_on():
                raise RefusedError(f"{self.name} has taken its last step: finish it")
            for _ in range(count):
                if self._is_stopped():
                    return False
                self._step()
                if not self._goes_on():
                    return False
            return self._goes_on()

    def finish(self) -> Any:
        """Have it come to its result, and return that; None where it was stopped meanwhile."""
        with self._life.conducting():
            if not self._is_stopped():
                self._result = self._life.carry_out(Event.FINISH, self.on_finish)
                self._has_finished = self._life.state is State.FINISHED
            return self._result

    # Steering

    def steer(self, **values: Any) -> None:
        """Change parameters: before the next step where it runs, else now.

        Raises `RefusedError` for values that do not fit; then nothing is changed.
        """
        self._steering.append(self._parameters.check(values))
        if self._life.is_within_hook():
            return
        with self._life.at_rest() as mine:
            if mine:
                self._apply_steering()

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as they are now."""
        return self._parameters.of(self)

    # What is seen of it

    @property
    def name(self) -> str:
        """What it is called where people read: its class, unless said."""
        return self._life.name

    @name.setter
    def name(self, name: str) -> None:
        self._life.name = name

    @property
    def status(self) -> str:
        """How far it is: one of `State`."""
        return str(self._life.state)

    @property
    def beginning_step(self) -> int:
        """The number of its first step."""
        return self._beginning_step

    @property
    def current_step(self) -> int:
        """The number of the step that is under way, or comes next."""
        return self._current_step

    @property
    def progress(self) -> float | None:
        """How much of its ``steps`` is done, 0 to 1; None where nobody can tell."""
        if self._has_finished:
            return 1.0
        if not self.steps:
            return None
        return min(1.0, (self._current_step - self._beginning_step) / self.steps)

    @property
    def time(self) -> float:
        """Seconds, on its clock, since it was last started; 0 before."""
        return 0.0 if self._began_at is None else self._clock.monotonic() - self._began_at

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end, and was not stopped before."""
        return self._has_finished

    @property
    def result(self) -> Any:
        """What ``on_finish`` returned; None before."""
        return self._result

    @property
    def error_message(self) -> str:
        """What a hook raised, with its type; empty where none did."""
        error = self._life.error
        return "" if error is None else in_words(error)

    def profiler_report(self) -> dict[str, dict[str, float]]:
        """Return what each phase has cost since it was last begun.

        By phase: how many ``times``, ``seconds``, ``processor_seconds``, and the
        ``longest`` of them in seconds, all in real time.
        """
        return self._life.profile.report()

    def __repr__(self) -> str:
        return f"<simulation {self.name}: {self.status}, step {self._current_step}>"

    # Within

    def _forget(self) -> None:
        """Know nothing of an earlier run."""
        self._current_step = self._beginning_step
        self._result = None
        self._has_finished = self._said_last = False
        self._began_at: float | None = None
        self._due: float | None = None
        self._life.profile.clear()

    def _take(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def _run_inside(self) -> None:
        self._life.adopt()
        try:
            try:
                self.run()
            finally:
                self._life.release()
        except Exception as bug:  # noqa: BLE001 - whoever waits is told
            self._life.error = self._life.error or bug

    def _get_ready(self) -> None:
        self._forget()
        self.on_init()

    def _begin(self) -> None:
        self._began_at = self._clock.monotonic()
        self.on_start()

    def _give_back(self) -> None:
        self.on_stop()

    def _is_running(self) -> bool:
        return self._life.state is State.RUNNING

    def _is_stopped(self) -> bool:
        """Whether somebody had it stopped, just now or since its last phase."""
        return self._life.heeds_stop() or self._life.state is State.STOPPED

    def _goes_on(self) -> bool:
        if not self._is_running() or self._said_last:
            return False
        return self.steps is None or self._current_step - self._beginning_step < self.steps

    def _step(self) -> None:
        self._apply_steering()
        if self._is_running() and self.period > 0:
            self._pace()
        if self._life.heeds_stop():
            return
        said_last = self._life.carry_out(Event.STEP, self.on_step)
        if self._is_running():
            self._current_step += 1
            self._said_last = bool(said_last)

    def _pace(self) -> None:
        """Wait until the next step is due, or a stop is wanted."""
        now = self._clock.monotonic()
        # One that was late is not made up for.
        self._due = now if self._due is None else max(now, self._due + self.period)
        if isinstance(self._clock, VirtualClock):
            self._clock.now = self._due
        else:
            self._life.pause(self._due, self._clock)

    def _apply_steering(self) -> None:
        wanted: dict[str, Any] = {}
        while self._steering:
            wanted.update(self._steering.popleft())
        if not wanted:
            return
        before = {name: getattr(self, name) for name in wanted}
        self._take(wanted)
        if self._is_running():
            self._life.carry_out(Event.STEP, partial(self.on_steer, before), phase="steer")
