"""One process, described by data: what `Application.add_process` was told.

Refused, with a `ConfigError` that names the process: numbers and words that make
no sense, and what cannot be kept, as to kill a thread, or a loop's life, which
shares one. It is refused here, since later it would be the boss that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Literal, NoReturn, get_args

from gateway.bus.lanes import Order, Policy
from gateway.bus.spool_terms import SpoolTerms
from gateway.config.qualname import named
from gateway.errors import AddressError, ConfigError
from gateway.mail.address import LIMIT, Address
from gateway.mail.filters import in_short
from gateway.mail.topic import check_pattern
from gateway.process.context import Context, Mode
from gateway.process.process import Process
from gateway.process.timing import HIGHEST
from gateway.supervision.program import Program
from gateway.supervision.restart import RestartPolicy
from gateway.timeout import MOST

WhenStuck = Literal["report", "restart"]

_WORDS: dict[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "mailbox_order": get_args(Order),
    "mailbox_policy": get_args(Policy),
    "when_stuck": get_args(WhenStuck),
}


_SWITCHES = ("autostart", "bound_shutdown", "force_stop", "temporary_folder", "ephemeral")


def _is_within(value: object, least: float, most: float = MOST) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value <= most


@dataclass(frozen=True)
class ProcessSpec:
    """How one process is made, run and restarted.

    ``factory`` is a class, or its name as ``module:qualname``. ``frequency``
    is in hertz. ``depends`` names the processes that must live before this one
    is born. ``mailbox_size`` is in letters, of which those from another OS process are taken
    only as they are read; while nothing is, its socket has room for 11 (net.unix.max_dgram_qlen
    and one). ``route`` is what the bus writes on its mail. ``command`` is what
    an external one runs. ``start_after``, ``limit`` and ``stuck_after`` are in
    seconds; see `Application.add_process`. ``data`` is what it was made from,
    where that was plain data (`gateway.supervision.recruit`). One that is
    ``ephemeral`` is forgotten when it is over and not restarted. A forked one is killed
    where it has not ended after ``grace`` seconds, the application's where None. What is
    published on the patterns ``spools`` waits for it, also before its first life.
    """

    name: str
    factory: type[Process] | str
    mode: Mode = "thread"
    frequency: float | None = None
    autostart: bool = True
    depends: tuple[str, ...] = ()
    mailbox_size: int = 256
    mailbox_order: Order = "fifo"
    mailbox_policy: Policy = "block"
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    route: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    command: Program | None = None
    bound_shutdown: bool = False
    force_stop: bool = False
    start_after: float = 0.0
    limit: float | None = None
    temporary_folder: bool = False
    stuck_after: float | None = None
    when_stuck: WhenStuck = "report"
    data: Mapping[str, Any] | None = None
    ephemeral: bool = False
    grace: float | None = None
    spools: Mapping[str, SpoolTerms] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            route = Address.parse(self.name).route
        except AddressError as error:
            raise ConfigError(
                f"a process cannot be called {in_short(str(self.name))}: use text such as 'patrol',"
                f" of up to {LIMIT} bytes, without control characters"
            ) from error
        if route:
            self._refuse("a name with a route, which only addresses have")
        for key, known in _WORDS.items():
            if (value := getattr(self, key)) not in known:
                words = f"{', '.join(known[:-1])} or {known[-1]}"
                self._refuse(f"{key}={value!r}: use {words}")
        for key in _SWITCHES:
            # Any text is true, "no" as well.
            if not isinstance(value := getattr(self, key), bool):
                self._refuse(f"{key}={value!r}: use True or False")
        if not isinstance(self.route, str):
            self._refuse(f"route={self.route!r}: use the name of a route, which is text")
        self._check_spools()
        if type(self.mailbox_size) is not int or self.mailbox_size < 1:
            size = repr(self.mailbox_size)
            self._refuse(f"mailbox_size={size}: use a whole number of letters from 1")
        if self.frequency is not None and not _is_within(self.frequency, 0, HIGHEST):
            self._refuse(f"frequency={self.frequency!r}: use 0 to {HIGHEST:,.0f} Hz, or None")
        if not _is_within(self.start_after, 0):
            self._refuse(f"start_after={self.start_after!r}: use 0 to {MOST:,.0f} seconds")
        for key in ("limit", "stuck_after", "grace"):
            seconds = getattr(self, key)
            if seconds is not None and not (_is_within(seconds, 0) and seconds):
                self._refuse(
                    f"{key}={seconds!r}: use more than 0 seconds and at most {MOST:,.0f}, or None"
                )
        restart: object = self.restart
        if not isinstance(restart, RestartPolicy):
            self._refuse(f"restart={restart!r}: use a policy, such as RestartPolicy('transient')")
        if self.force_stop and self.mode in ("thread", "asyncio"):
            self._refuse("force_stop, but a thread cannot be killed: use mode='fork'")
        if self.ephemeral and not self.autostart:
            self._refuse("nobody who starts it, and would be forgotten: not both in one")
        if self.bound_shutdown and self.restart.kind == "permanent":
            self._refuse("bound_shutdown and a permanent restart, so it would never be over")
        if isinstance(self.factory, str):
            if not all(self.factory.partition(":")):
                self._refuse(f"the class {self.factory!r}: write 'module:qualname'")
        else:
            self._check(self.factory)

    def _check_spools(self) -> None:
        pattern: object
        terms: object
        for pattern, terms in self.spools.items():
            if not isinstance(terms, SpoolTerms):
                self._refuse(f"spools[{pattern!r}]={terms!r}: use SpoolTerms(limit=…)")
            if not isinstance(pattern, str):
                self._refuse(f"spools[{pattern!r}]: use a pattern of topics, such as 'devices/#'")
            try:
                check_pattern(pattern)
            except ValueError as error:
                self._refuse(f"spools[{pattern!r}]: {error}")

    def _check(self, factory: object) -> None:
        if not (isinstance(factory, type) and issubclass(factory, Process)):
            self._refuse(f"{factory!r}, which is no class of processes: derive it from Process")
        if self.mode in ("thread", "fork") and any(
            iscoroutinefunction(getattr(factory, method)) for method in ("birth", "life", "death")
        ):
            self._refuse("coroutines for its life: give it the mode 'asyncio'")

    def _refuse(self, what: str) -> NoReturn:
        raise ConfigError(f"the process {self.name!r} has {what}")

    @property
    def kind(self) -> str:
        """What it is, for people: its class, or its command's first word."""
        if self.command is not None:
            return self.command.command[0]
        if isinstance(self.factory, str):
            return self.factory.partition(":")[2]
        return self.factory.__qualname__

    @property
    def is_killed_in_death(self) -> bool:
        """Whether that is what was asked for: by force, or as a service that has its own time."""
        return self.force_stop or self.ephemeral

    def find_class(self) -> type[Process]:
        """Return its class, imported where it is only named; `ConfigError` where it cannot be."""
        factory = self.factory
        if isinstance(factory, str):
            factory = class_named(factory)
            self._check(factory)
        return factory

    def make(self, context: Context) -> Process:
        """Make the process; import its class where it is only named."""
        return self.find_class()(context)


def refuse_in_simulation(spec: ProcessSpec) -> None:
    """Raise `ConfigError` for a process that virtual time cannot rule."""
    if spec.mode != "thread":
        raise ConfigError(
            f"{spec.name!r} has the mode {spec.mode!r}: only threads can be simulated"
        )
    if spec.temporary_folder:
        raise ConfigError(f"{spec.name!r} wants a temporary folder: a simulation has no files")


def class_named(name: str) -> type[Process]:
    """Return the class that ``module:qualname`` names; `ConfigError` where that is none.

    >>> class_named("gateway.process.process:Process").__name__
    'Process'
    """
    found = named(name)
    if not (isinstance(found, type) and issubclass(found, Process)):
        raise ConfigError(f"{name!r} is no Process")
    return found
