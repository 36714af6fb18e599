"""An application: the processes that `build` names, run around a main one.

::

    class Hello(Application):
        def build(self) -> None:
            self.add_process("worker", Worker, mode="fork")

    raise SystemExit(Hello(main=Main).run())

`run` forks the fork server, opens the mailboxes, starts the boss and, through
it, the crew; the main process lives on the calling thread. When that ends, or
on Ctrl-C or SIGTERM, the crew is stopped in parallel under one deadline, and
each ``death`` runs. `simulate` does the same in virtual time, on one seed,
with threads alone.

Refused: `add_process` after `run`, names that clash or are no names, unknown
modes, dependencies that go in circles (`ConfigError`), two applications on
one folder of sockets.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from inspect import iscoroutinefunction
from pathlib import Path
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Any, get_args

from gateway.bus.lanes import Order, Policy
from gateway.bus.ledger import SharedLedgers
from gateway.bus.office import BOSS, Office
from gateway.clock import Clock, RealClock
from gateway.errors import ConfigError
from gateway.mail.address import Address
from gateway.process.context import Context, Mode, RunLevel
from gateway.process.process import Process
from gateway.process.wakeup import Wakeup
from gateway.supervision.boss import Boss
from gateway.supervision.child import Child, tell_end
from gateway.supervision.errand import run_errand
from gateway.supervision.fork_server import ForkServer
from gateway.supervision.life import end_of
from gateway.supervision.member import Member
from gateway.supervision.order import waves
from gateway.supervision.program import Program
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.simulation import Outcome, Simulation
from gateway.supervision.spec import ProcessSpec

if TYPE_CHECKING:
    from gateway.supervision.loop_life import Loops

log = logging.getLogger(__name__)

MAIN = "main"
"""The name of the main process."""


class Application:
    """Builds the processes and runs them; see the module's head.

    ``sockets`` is the folder for the bus's sockets; a temporary one is made
    and removed where none is named.
    """

    global_frequency: float | None = 1.0
    """Frames a second, in hertz, of every process that is not given its own."""

    shutdown_timeout: float = 10.0
    """Seconds that all the deaths may take together, before TERM and KILL."""

    def __init__(
        self,
        *,
        main: type[Process] = Process,
        sockets: Path | str | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.brake = ""
        """Why the emergency brake was pulled; empty where it was not."""
        self._main = main
        self._sockets = Path(sockets) if sockets is not None else None
        self._clock = clock or RealClock()
        self._random = random or Random()
        self._specs: dict[str, ProcessSpec] = {}
        self._started = False
        self._go = Wakeup()
        self._stop_asked = False
        self._main_life: tuple[Member, Context] | None = None
        self._loops: Loops | None = None
        self._simulation: Simulation | None = None
        self._folder: Path
        self._ledgers: SharedLedgers
        self._office: Office

    # For authors

    def build(self) -> None:
        """Name the processes, by `add_process`."""

    def add_process(
        self,
        name: str,
        factory: type[Process] = Process,
        *,
        mode: Mode = "thread",
        command: Program | Sequence[str] | None = None,
        frequency: float | None = None,
        autostart: bool = True,
        depends: Sequence[str] = (),
        mailbox_size: int = 256,
        mailbox_order: Order = "fifo",
        mailbox_policy: Policy = "block",
        restart: RestartPolicy | None = None,
        route: str = "",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Have ``factory``, a `Process` class, run under ``name``.

        ``frequency`` is in hertz, `global_frequency` where None. ``depends``
        names what must live before it is born. ``mailbox_policy`` says what
        becomes of a letter that finds the mailbox full: it waits (``block``),
        is refused (``reject``), or the oldest gives way (``drop_oldest``).
        ``parameters`` are at hand
        there as `Process.parameter`. A process is restarted when it ends,
        unless ``restart`` says otherwise. With the mode ``external`` there is
        no ``factory`` but a ``command``: an argument list, or a `Program`.
        """
        if self._started:
            raise ConfigError(f"{name!r} comes too late: add processes in build()")
        if Address.parse(name).route or name in (MAIN, BOSS):
            raise ConfigError(f"a process cannot be called {name!r}: choose another name")
        if name in self._specs:
            raise ConfigError(f"there is a process {name!r} already")
        if mode not in get_args(Mode):
            raise ConfigError(f"{name!r} has the mode {mode!r}; use {' or '.join(get_args(Mode))}")
        if (mode == "external") != (command is not None):
            raise ConfigError(f"{name!r}: a command and the mode 'external' belong together")
        if mode in ("thread", "fork") and any(
            iscoroutinefunction(getattr(factory, method)) for method in ("birth", "life", "death")
        ):
            raise ConfigError(f"{name!r} has coroutines for its life: give it the mode 'asyncio'")
        if command is not None and not isinstance(command, Program):
            command = Program(command)
        self._specs[name] = ProcessSpec(
            name,
            factory,
            mode,
            self.global_frequency if frequency is None else frequency,
            autostart,
            tuple(depends),
            mailbox_size,
            mailbox_order,
            mailbox_policy,
            restart or RestartPolicy(),
            route,
            dict(parameters or {}),
            command,
        )

    def run(self) -> int:
        """Run until the main process ends; return 0, or 1 where something failed.

        Raises `ConfigError` where it cannot even begin.
        """
        order = self._build()
        with ExitStack() as stack:
            folder = self._claim_sockets(stack)
            self._ledgers = SharedLedgers()
            fork_server = ForkServer(self._child_main, self._errand_main)
            fork_server.start()
            # What was built stays: the collector need not look at it again.
            gc.freeze()
            stack.callback(fork_server.stop, self.shutdown_timeout)
            self._office = Office(folder, clock=self._clock, ledgers=self._ledgers)
            stack.callback(self._office.shut)
            self._office.clean()
            if any(spec.mode in ("asyncio", "external") for spec in self._specs.values()):
                # Here, since who has no loop should not pay for loading asyncio.
                from gateway.supervision.loop_life import Loops

                self._loops = Loops(self._office)
                stack.callback(self._loops.stop, 1.0)
            boss = Boss(
                self._office,
                list(self._specs.values()),
                [*order, [MAIN]],
                fork_server,
                random=self._random,
                start_thread=self._start_thread,
            )
            boss.on_brake = self.stop
            stack.enter_context(_Signals(self.stop))
            boss.start()
            return self._live(boss)

    def simulation(self, *, seed: int | str = 0, **limits: Any) -> Simulation:
        """Begin a run in virtual time and return it, to be stepped; it is a context manager.

        ``limits`` are those of `Simulation`. Raises `ConfigError` for a
        process that is no thread.
        """
        order = self._build()
        for name, spec in self._specs.items():
            if spec.mode != "thread":
                raise ConfigError(
                    f"{name!r} has the mode {spec.mode!r}: only threads can be simulated"
                )
        simulation = self._simulation = Simulation(seed=seed, **limits)
        self._clock, self._office = simulation.clock, simulation.office
        self._random = simulation.random("restarts")
        self._go.close()
        self._go = simulation.make_wakeup()
        boss = Boss(
            simulation.office,
            list(self._specs.values()),
            [*order, [MAIN]],
            None,
            random=self._random,
            start_thread=self._start_thread,
            make_thread=simulation.make_thread,
        )
        boss.on_brake = self.stop

        def run() -> int:
            boss.start()
            return self._live(boss)

        simulation.begin(run, self.stop)
        return simulation

    def simulate(self, *, until: float, seed: int | str = 0, **limits: Any) -> Outcome:
        """Run in virtual time for ``until`` seconds, stop in order, return what came of it.

        One ``seed`` gives one ledger and one order of mail. Raises `SimulationError`
        where a process has a bug, or never waits; see `Simulation` for the ``limits``.

        >>> outcome = Application().simulate(until=3600.0, seed=1)
        >>> outcome.status, outcome.ledger["boss"].is_balanced
        (0, True)
        """
        with self.simulation(seed=seed, until=until, **limits) as simulation:
            return simulation.run()

    def stop(self) -> None:
        """End the application soon, in order; any thread and any handler may call it."""
        self._stop_asked = True
        self._go.set()
        if self._main_life is not None and (process := self._main_life[0].process) is not None:
            process.die()

    # Within

    def _build(self) -> list[list[str]]:
        """Have the processes named; return the waves in which they start."""
        if self._started:
            raise ConfigError("an application runs once: make another one")
        self.build()
        self._started = True
        order = waves({name: spec.depends for name, spec in self._specs.items()})
        self._specs[MAIN] = ProcessSpec(
            MAIN,
            self._main,
            frequency=self.global_frequency,
            restart=RestartPolicy("temporary"),
        )
        return order

    def _live(self, boss: Boss) -> int:
        self._go.wait(float("inf"))
        error = ""
        try:
            if self._main_life is not None:
                error = self._run_life(*self._main_life)
        finally:
            left = boss.stop(self.shutdown_timeout)
            self.brake = boss.brake
            self._go.close()
        return 1 if error or left or boss.brake else 0

    def _start_thread(self, member: Member) -> threading.Thread | None:
        """Start one life on a thread; the main one on the thread that waits for it."""
        spec = member.spec
        assert member.box is not None
        office, box = self._office, member.box

        def report(level: RunLevel) -> None:
            office.tell_boss(box, "level", level)

        context = Context(
            spec.name,
            office,
            box,
            spec.mode,
            spec.frequency,
            spec.route,
            spec.parameters,
            self,
            report,
        )
        if self._simulation is not None:
            context = replace(
                context,
                random=self._simulation.random(f"{spec.name}.{member.incarnation}"),
                make_thread=self._simulation.make_thread,
                make_wakeup=self._simulation.make_wakeup,
            )
        if spec.name == MAIN:
            self._main_life = (member, context)
            self._go.set()
            return None
        if self._loops is not None and spec.mode != "thread":
            self._loops.start(member, context)
            return None
        make_thread = context.make_thread
        thread = make_thread(
            target=self._run_life, args=(member, context), name=spec.name, daemon=True
        )
        thread.start()
        return thread

    def _run_life(self, member: Member, context: Context) -> str:
        def make() -> Process:
            process = member.process = member.spec.factory(context)
            if member.told_to_die or (member.spec.name == MAIN and self._stop_asked):
                process.die()
            return process

        error = end_of(context.name, make)
        if error and self._simulation is not None:
            self._simulation.note_failure(context.name, error)
        self._office.close(context.mailbox)
        tell_end(self._office, context.mailbox, error)
        return error

    def _child_main(
        self, name: str, incarnation: int, sockets: tuple[socket.socket, socket.socket], row: int
    ) -> int:
        child = Child(
            self._specs[name],
            incarnation,
            sockets,
            row,
            folder=self._folder,
            clock=self._clock,
            ledgers=self._ledgers,
            application=self,
        )
        return child.run()

    def _errand_main(self, name: str, task: int, done: int) -> int:
        return run_errand(name, task, done, folder=self._folder, clock=self._clock)

    def _claim_sockets(self, stack: ExitStack) -> Path:
        """Make the sockets' folder ours, or say who has it; return it."""
        home = self._sockets
        if home is None:
            home = Path(tempfile.mkdtemp(prefix="gateway-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        try:
            home.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the sockets' folder {home} cannot be used: {error.strerror};"
                " name another one, or run as its owner"
            ) from error
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another gateway runs with the sockets in {home}: stop it, or name another folder"
            ) from error
        self._folder = home / "bus"
        return self._folder


class _Signals:
    """Ctrl-C and SIGTERM stop the application; a second Ctrl-C raises as ever.

    Elsewhere than on the main thread signals are somebody else's business.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self._asked = False

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        self._stop()
