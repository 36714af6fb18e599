"""An application: the processes that `build` names, run around a main one.

::

    class Hello(Application):
        def build(self) -> None:
            self.add_process("worker", Worker, mode="fork")

    raise SystemExit(Hello(main=Main).run())

`run` forks the fork server, opens the mailboxes, starts the boss and, through
it, the crew; the main process lives on the calling thread. When that ends, or
on Ctrl-C, SIGTERM or SIGHUP, the crew is stopped in parallel under one
deadline, and each ``death`` runs. A second Ctrl-C interrupts main and kills the
rest. Where the calling thread belongs to another
loop, as a GUI's, `running` takes the place of `run`. `simulate` does the same
as `run` in virtual time, on one seed, with threads alone.

While it runs, processes are started, stopped, restarted and added from any
OS process of it. Where it is a unit of systemd that is told how it goes.

Refused, as `ConfigError`: a class that comes after `run` (a name,
``module:qualname``, may), names that clash or are no names, unknown modes,
dependencies that go in circles, two applications on one folder of sockets.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, get_args

from gateway.bus.directory import BOSS
from gateway.bus.doorbell import Doorbell
from gateway.bus.lanes import Order, Policy
from gateway.bus.ledger import ROWS, SharedLedgers
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.rings import Rings
from gateway.bus.self_pipe import SelfPipe
from gateway.bus.spool_terms import SpoolTerms
from gateway.clock import Clock, RealClock
from gateway.errors import ConfigError, GatewayError, in_words
from gateway.process.context import Mode
from gateway.process.correspondent import STATISTICS
from gateway.process.process import Process
from gateway.process.runner import begin, end
from gateway.process.stepper import Stepper
from gateway.process.wakeup import Wakeup
from gateway.supervision.boss import Boss
from gateway.supervision.child import Child
from gateway.supervision.death_watch import DeathWatch
from gateway.supervision.errand import run_errand
from gateway.supervision.fork_server import ForkServer
from gateway.supervision.lives import LOOPS, Lives
from gateway.supervision.notices import heed_no_more
from gateway.supervision.order import waves
from gateway.supervision.order_desk import OrderDesk
from gateway.supervision.program import Program
from gateway.supervision.recruit import data_of, spec_of, usual_restart
from gateway.supervision.rehearsal import rehearse
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.robust_locks import RobustLocks
from gateway.supervision.simulation import Outcome, Simulation
from gateway.supervision.sockets_folder import claim
from gateway.supervision.spec import ProcessSpec, WhenStuck, class_named, refuse_in_simulation
from gateway.supervision.stop_signals import StopSignals
from gateway.supervision.systemd import Systemd
from gateway.supervision.temporary import clear
from gateway.supervision.undoing import Undoing
from gateway.timeout import MOST

log = logging.getLogger(__name__)

MAIN = "main"
"""The name of the main process."""

INTERRUPTED = 128 + signal.SIGINT
"""The status of an application that was stopped by force."""


class Application:
    """Builds the processes and runs them; see the module's head.

    ``sockets`` is the folder for the bus's sockets; a temporary one is made
    and removed where none is named, also where all are killed: then by whoever runs next.
    """

    global_frequency: float | None = 1.0
    """Frames a second, in hertz, of every process that is not given its own."""

    shutdown_timeout: float = 10.0
    """Seconds that all the deaths may take together, before TERM and KILL.

    As many has main before, from when it is told to end or its own death begins, until it is
    interrupted.
    """

    mailbox_size: int = 256
    """Letters that a mailbox holds, of every process that is not given its own size.

    See `add_process` for those from another OS process, of which fewer may wait.
    """

    mailbox_order: Order = "fifo"
    """How a mailbox is read, likewise: ``fifo`` or ``priority``."""

    mailbox_policy: Policy = "block"
    """What becomes of a letter that finds it full, likewise; see `add_process`."""

    stuck_after: float | None = None
    """Seconds without progress after which a process is stuck, likewise, and of the main one.

    None for never. A callback that waits makes no progress meanwhile.
    """

    when_stuck: WhenStuck = "report"
    """What is done about one that is stuck, likewise: ``report`` or ``restart``."""

    def __init__(
        self,
        *,
        main: type[Process] = Process,
        sockets: Path | str | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``environment`` says how systemd is told, that of this OS process unless said."""
        self.brake = ""
        """Why the emergency brake was pulled; empty where it was not."""
        self._main = main
        self._sockets = Path(sockets) if sockets is not None else None
        self._clock = clock or RealClock()
        self._random = random or Random()
        self._specs: dict[str, ProcessSpec] = {}
        self._environment = os.environ if environment is None else environment
        self._started = False
        self._begun = threading.Event()
        self._desk = OrderDesk()
        self._systemd = Systemd()
        self.status = 0
        """What `run` returned, or `running` would have."""
        self._is_forced = False
        self._is_interruptible = False
        self._boss: Boss | None = None
        self._self_pipe = SelfPipe()
        self._go = self._make_wakeup()
        self._stop_asked = False
        self._main_error = ""
        self._lives: Lives | None = None
        self._folder: Path
        self._ledgers: SharedLedgers
        self._locks: RobustLocks
        self._rings: Rings
        self._temporary: Path
        self._office: Office

    # For authors

    def build(self) -> None:
        """Name the processes, by `add_process`."""

    def add_process(
        self,
        name: str,
        factory: type[Process] | str = Process,
        *,
        mode: Mode = "thread",
        command: Program | Sequence[str] | None = None,
        frequency: float | None = None,
        autostart: bool = True,
        depends: Sequence[str] = (),
        mailbox_size: int | None = None,
        mailbox_order: Order | None = None,
        mailbox_policy: Policy | None = None,
        restart: RestartPolicy | None = None,
        route: str = "",
        parameters: Mapping[str, Any] | None = None,
        bound_shutdown: bool = False,
        force_stop: bool = False,
        start_after: float = 0.0,
        limit: float | None = None,
        temporary_folder: bool = False,
        stuck_after: float | None = None,
        when_stuck: WhenStuck | None = None,
        spools: Mapping[str, SpoolTerms] | None = None,
    ) -> None:
        """Have ``factory``, a `Process` class, run under ``name``.

        In `build` that is a class or its name, ``module:qualname``. Once the
        application runs it is a name, the parameters are plain data, and what
        `add_member` raises is raised here.

        ``frequency`` is in hertz, `global_frequency` where None. ``depends``
        names what must live before it is born. ``mailbox_size`` is in letters,
        and ``mailbox_policy`` says what becomes of one that finds the mailbox
        full: it waits (``block``), is refused (``reject``), or the oldest
        gives way (``drop_oldest``). From another OS process, as to every forked
        one, there is room for 11 letters while their reader reads nothing,
        whatever its size: they lie in a socket (docs/processes.md).
        ``parameters`` are at hand there as `Process.parameter`. A process is
        restarted when it ends, unless ``restart`` says otherwise. Without
        ``autostart`` it waits for `start_process`; with it, for ``start_after``
        seconds. With the mode
        ``external`` there is no ``factory`` but a ``command``: an argument
        list, or a `Program`.

        ``bound_shutdown``: the application stops when this process is over,
        which then is not restarted unless ``restart`` says so. ``force_stop``:
        at the stop it is told like everybody, and killed a tenth of a second
        later, whatever its ``death`` does. ``limit``: after so many seconds
        its life is ended, in order, and judged like any end.
        ``temporary_folder``: each life has `Process.temporary_folder`.
        ``stuck_after`` and ``when_stuck`` are the application's where None;
        see `gateway.supervision.heartbeats` for what they are in each mode.
        ``spools``, in `build` alone: patterns whose publications wait for it in
        files, from the first on, until it opens its spool (`Process.open_spool`).
        """
        size = self.mailbox_size if mailbox_size is None else mailbox_size
        order = self.mailbox_order if mailbox_order is None else mailbox_order
        if mode not in get_args(Mode):
            raise ConfigError(f"{name!r} has the mode {mode!r}; use {' or '.join(get_args(Mode))}")
        if isinstance(depends, str) or not isinstance(depends, Iterable):
            raise ConfigError(f"{name!r} has depends={depends!r}: use a list of names")
        if not isinstance(parameters, Mapping | None):
            raise ConfigError(f"{name!r} has parameters={parameters!r}: use a dict, by name")
        if not isinstance(spools, Mapping | None):
            raise ConfigError(f"{name!r} has spools={spools!r}: use a dict, SpoolTerms by pattern")
        if (mode == "external") != (command is not None):
            raise ConfigError(f"{name!r}: a command and the mode 'external' belong together")
        if command is not None and not isinstance(command, Program):
            command = Program(command)
        spec = ProcessSpec(
            name,
            factory,
            mode,
            self.global_frequency if frequency is None else frequency,
            autostart,
            tuple(depends),
            size,
            order,
            self.mailbox_policy if mailbox_policy is None else mailbox_policy,
            usual_restart(bound_shutdown=bound_shutdown) if restart is None else restart,
            route,
            dict(parameters or {}),
            command,
            bound_shutdown,
            force_stop,
            start_after,
            limit,
            temporary_folder,
            self.stuck_after if stuck_after is None else stuck_after,
            self.when_stuck if when_stuck is None else when_stuck,
            spools=dict(spools or {}),
        )
        if not self._started:
            self._enter(spec)
            return
        if spools:
            raise ConfigError(f"{name!r} comes too late for spools: add it in build()")
        if command is None and not isinstance(factory, str):
            raise ConfigError(
                f"{name!r} comes too late for a class: add that in build(), or name it"
                " as 'module:qualname', with plain parameters"
            )
        self.add_member(data_of(spec))

    def add_member(self, data: Mapping[str, Any], *, timeout: float = 5.0) -> int:
        """Add a crew member that plain data describe, now or while the application runs.

        Returns the number of the life that it begins, 0 where it has to wait for that.
        See `gateway.supervision.recruit`. Raises `ConfigError` for data that
        cannot stand; while the application runs also `RefusedError` where the
        name is taken, and `CallTimeoutError` after ``timeout`` seconds.
        """
        spec = spec_of(data)
        if spec.frequency is None:
            data = {**data, "frequency": self.global_frequency}
            spec = replace(spec, frequency=self.global_frequency, data=data)
        if not self._started:
            self._enter(spec)
            return 0
        if isinstance(spec.factory, str):
            # A name that is wrong is the caller's mistake, and no process's death.
            class_named(spec.factory)
        life: int = self._desk.ask("add", dict(data), timeout)
        return life

    def run(self) -> int:
        """Run until the main process ends; return 0, or 1 where something failed.

        That is main itself, whom the application is bound to, a ``death`` that raised or crashed
        at the stop, whoever did not end in time and had to be killed or left behind, or the
        emergency brake. Who failed before was its restart policy's business, and who is added with
        ``force_stop`` is to be killed. 130 where Ctrl-C was pressed twice. Raises `ConfigError`
        where it cannot even begin.
        """
        with Undoing() as stack:
            boss, lives = self._begin(stack, {})
            stack.callback(self._finish, boss)
            self._live(lives)
        return self.status

    @contextmanager
    def running(self) -> Iterator[Stepper]:
        """Run for as long as the ``with`` lasts, in a loop of the caller's, such as a GUI's.

        ::

            with application.running() as main:
                window.tk.createfilehandler(main, tkinter.READABLE, on_mail)
                window.mainloop()

        What is given is a `Stepper`: watch its descriptor, call its `step`
        then, and leave the loop when it `is_active` no more. The main process
        is born on entry and dies on leaving; both, and its callbacks, run on
        the caller's thread. Raises what its birth raises. Afterwards `status`
        is what `run` would have returned.
        """
        with Undoing() as stack:
            boss, lives = self._begin(stack, {MAIN: Doorbell})
            stack.callback(self._finish, boss)
            if not self._begun.wait(10.0) or lives.main is None:
                raise GatewayError("the boss started no main process: the log says why")
            member, context = lives.main
            stack.callback(lambda: lives.tell_end(context, self._main_error))
            try:
                self._is_interruptible = True
                with Undoing() as life:
                    process = lives.make(member, context)
                    life.callback(end, process)
                    begin(process)
                    yield Stepper(process)
            except BaseException as bug:
                self._main_error = in_words(bug)
                raise
            finally:
                self._is_interruptible = False

    # While it runs, from any OS process of it.
    # On the thread of an event loop all of these raise `RuntimeError`, since they would
    # hold up everybody there: await the methods of the same names of an asyncio process.

    def start_process(self, name: str, *, timeout: float = 10.0) -> None:
        """Have the process ``name`` started, and return when it lives.

        Within a process use `Process.start_process`, which says the same in
        its name; within an asyncio one that is awaited, and this raises
        `RuntimeError`, as it does on any event loop's thread. Raises
        `RefusedError`, which says why, where it cannot live, and
        `CallTimeoutError` after ``timeout`` seconds.
        """
        self._desk.ask("start", name, timeout)

    def stop_process(self, name: str, *, timeout: float = 15.0) -> None:
        """Have the process ``name`` end, and return when it has; see `start_process`."""
        self._desk.ask("stop", name, timeout)

    def restart_process(self, name: str, *, timeout: float = 25.0) -> None:
        """Have the process ``name`` end and start again; see `start_process`."""
        self._desk.ask("restart", name, timeout)

    def statistics(self, *, timeout: float = 5.0) -> dict[str, Any]:
        """Return the supervisor's counts: its crew, orders, topics and mail."""
        found: dict[str, Any] = self._desk.ask(STATISTICS, None, timeout)
        return found

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Have systemd know that the configuration is read again, for as long as this lasts."""
        self._systemd.reloading(self._clock.monotonic())
        try:
            yield
        finally:
            self._systemd.reloaded()

    def simulation(self, *, seed: int | str = 0, **limits: Any) -> Simulation:
        """Begin a run in virtual time and return it, to be stepped; it is a context manager.

        ``limits`` are those of `Simulation`. Raises `ConfigError` for a
        process that is no thread, and what `Simulation` raises for its limits.
        """
        # First: where its limits are wrong this may be called again.
        simulation = Simulation(seed=seed, **limits)
        order = self._build()
        for spec in self._specs.values():
            refuse_in_simulation(spec)
        self._clock, self._office = simulation.clock, simulation.office
        self._random = simulation.random("restarts")
        self._go.close()
        self._go = simulation.make_wakeup()
        lives = self._make_lives(simulation=simulation)
        boss = Boss(
            simulation.office,
            list(self._specs.values()),
            [*order, [MAIN]],
            None,
            random=self._random,
            start_thread=lives.start,
            make_thread=simulation.make_thread,
            make_wakeup=simulation.make_wakeup,
            patience=self.shutdown_timeout,
        )

        def run() -> int:
            self._boss = boss
            self._start_boss(boss)
            try:
                self._live(lives)
            finally:
                self._finish(boss)
            return self.status

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
        """End the application soon, in order; any thread and any handler may call it.

        So may a forked process; there it raises what `Process.send` raises.
        """
        if self._desk.is_forked:
            self._desk.tell("shutdown")
            return
        self._stop_asked = True
        self._go.set()
        if self._lives is not None:
            self._lives.stop_main()
        if self._boss is not None:
            # Main, whose thread would end the rest, may be busy for long.
            self._boss.expect_stop()

    # Within

    def _build(self) -> list[list[str]]:
        """Have the processes named; return the waves in which they start."""
        if self._started:
            raise ConfigError("an application runs once: make another one")
        self.build()
        timeout: object = self.shutdown_timeout
        if not isinstance(timeout, int | float) or not 0 <= timeout <= MOST:
            raise ConfigError(f"shutdown_timeout={timeout!r}: use seconds from 0 to {MOST:,.0f}")
        self._started = True
        order = waves({name: spec.depends for name, spec in self._specs.items()})
        self._specs[MAIN] = ProcessSpec(
            MAIN,
            self._main,
            frequency=self.global_frequency,
            mailbox_size=self.mailbox_size,
            mailbox_order=self.mailbox_order,
            mailbox_policy=self.mailbox_policy,
            restart=RestartPolicy("temporary"),
            stuck_after=self.stuck_after,
            when_stuck=self.when_stuck,
        )
        return order

    def _enter(self, spec: ProcessSpec) -> None:
        name = spec.name
        if name in (MAIN, BOSS):
            raise ConfigError(f"a process cannot be called {name!r}: choose another name")
        if name in self._specs:
            raise ConfigError(f"there is a process {name!r} already")
        if MAIN in spec.depends:
            raise ConfigError(
                f"{name!r} depends on {MAIN!r}, which starts last: leave that out, or add it with"
                f" autostart=False and have {MAIN!r} start it"
            )
        self._specs[name] = spec

    def _begin(
        self, stack: ExitStack, mailboxes: Mapping[str, type[Mailbox]]
    ) -> tuple[Boss, Lives]:
        """Build, and start whatever runs beside the main process."""
        order = self._build()
        # First, and so put back last: whoever presses once more meets nothing half done.
        signals = StopSignals(self.stop, self._force, clock=self._clock)
        stack.enter_context(signals)
        folder = claim(self._sockets, stack)
        self._folder, self._temporary = folder.bus, folder.temporary
        self._ledgers = SharedLedgers()
        self._locks = RobustLocks(ROWS)
        self._rings = Rings()
        stack.callback(self._rings.close)
        if any(spec.spools for spec in self._specs.values()):
            # SQLite, which few need: here it is loaded once for all that are forked.
            import_module("gateway.bus.spool")
        if any(spec.mode == "fork" for spec in self._specs.values()):
            with folder.explained():
                rehearse(folder.bus, self._clock)
        # What was built stays: the collector need not look at it again, here or in a fork.
        gc.collect()
        gc.freeze()
        fork_server = ForkServer(
            self._child_main,
            self._errand_main,
            unneeded=folder.of_main_alone,
            outlived=folder.outlived,
        )
        fork_server.start()
        stack.callback(fork_server.stop)
        # From here on there is nobody who would inherit it.
        stack.enter_context(self._self_pipe)
        clear(self._temporary)
        stack.callback(clear, self._temporary)
        self._systemd = Systemd.from_environment(self._environment, os.getpid())
        stack.callback(self._systemd.close)
        with folder.explained():
            self._office = Office(
                folder.bus,
                clock=self._clock,
                ledgers=self._ledgers,
                rings=self._rings,
                self_pipe=self._self_pipe,
            )
        stack.callback(self._office.shut)
        stack.callback(heed_no_more, self._office)
        self._office.clean()
        lives = self._make_lives(
            temporary=self._temporary,
            make_wakeup=self._make_wakeup,
            interrupt=lambda: signals.interrupt(self._is_to_be_interrupted),
        )
        stack.callback(lives.stop_loops)
        if any(spec.mode in LOOPS for spec in self._specs.values()):
            lives.make_loops()
        with folder.explained():
            death_watch = DeathWatch(self._locks)
            stack.callback(death_watch.close)
            boss = self._make_boss(order, fork_server, death_watch, lives, mailboxes)
            self._boss = boss
            if self._stop_asked:
                boss.expect_stop()
            if self._is_forced:
                boss.hurry()
            self._start_boss(boss)
        return boss, lives

    def _make_boss(
        self,
        order: list[list[str]],
        fork_server: ForkServer,
        death_watch: DeathWatch,
        lives: Lives,
        mailboxes: Mapping[str, type[Mailbox]],
    ) -> Boss:
        return Boss(
            self._office,
            list(self._specs.values()),
            [*order, [MAIN]],
            fork_server,
            random=self._random,
            start_thread=lives.start,
            make_wakeup=self._make_wakeup,
            temporary=self._temporary,
            patience=self.shutdown_timeout,
            systemd=self._systemd,
            mailboxes=mailboxes,
            death_watch=death_watch,
        )

    def _start_boss(self, boss: Boss) -> None:
        boss.on_brake = boss.on_end = self.stop
        self._desk.await_opening()
        try:
            boss.start()
        except BaseException:
            self._desk.close()
            raise
        main_box = boss.members[MAIN].box
        assert main_box is not None
        self._desk.open(self._office, main_box)

    def _force(self) -> bool:
        """Wait for nobody any longer, in a signal's handler; tell whether to interrupt main."""
        self._is_forced = True
        self.stop()
        if self._boss is not None:
            self._boss.hurry()
        return self._is_interruptible

    def _is_to_be_interrupted(self) -> bool:
        """Tell whether an interrupt that the boss sent still finds main, and comes first."""
        return self._is_interruptible and not self._is_forced

    def _finish(self, boss: Boss) -> None:
        """Stop the crew, and say how it all ended."""
        self._desk.close()
        self._self_pipe.take()
        left = boss.stop()
        self.brake = boss.brake
        self._go.close()
        failed = self._main_error or left or boss.brake or boss.bound_failure
        self.status = 1 if failed or boss.failed_death else 0
        if self._is_forced:
            log.critical("stopped by force: Ctrl-C was pressed twice")
            self.status = INTERRUPTED

    def _make_lives(self, **how: Any) -> Lives:
        lives = self._lives = Lives(self._office, self, main=MAIN, on_main=self._on_main, **how)
        if self._stop_asked:
            # Before there was anybody to be told.
            lives.stop_main()
        return lives

    def _make_wakeup(self) -> Wakeup:
        """Make one that hears signals, for who waits on the main thread."""
        return Wakeup(self._self_pipe)

    def _on_main(self) -> None:
        self._go.set()
        self._begun.set()

    def _live(self, lives: Lives) -> None:
        self._go.wait(float("inf"))
        if lives.main is None:
            return
        try:
            self._is_interruptible = True
            self._main_error = lives.run(*lives.main)
        except KeyboardInterrupt:
            # It came when the life was over.
            self._main_error = "it was interrupted"
        finally:
            self._is_interruptible = False

    def _child_main(
        self,
        name: str,
        incarnation: int,
        sockets: tuple[socket.socket, socket.socket],
        row: int,
        data: Mapping[str, Any] | None,
    ) -> int:
        with self._self_pipe:
            child = Child(
                self._specs[name] if data is None else spec_of(data),
                incarnation,
                sockets,
                row,
                folder=self._folder,
                clock=self._clock,
                ledgers=self._ledgers,
                locks=self._locks,
                rings=self._rings,
                self_pipe=self._self_pipe,
                application=self,
                temporary=self._temporary,
            )
            self._desk.open(child.office, child.box, is_forked=True)
            return child.run()

    def _errand_main(self, name: str, task: int, done: int) -> int:
        return run_errand(name, task, done, folder=self._folder, clock=self._clock)
