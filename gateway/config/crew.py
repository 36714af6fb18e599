"""A crew member as it stands in the configuration, or travels in a letter.

::

    [crew.drive]
    tock = 0.02
    limit = 3600.0
    parameters = { port = "/dev/ttyUSB0" }

    [crew.drive.processes.left]
    process = "robot.wheels:Wheel"

    [crew.drive.processes.right]
    process = "robot.wheels:Wheel"

A member is one OS process (``mode = "fork"``), one thread, one coroutine on a
loop, or one program. It runs the class that ``process`` names, or, as threads
of its own, each of ``processes``, whose addresses are ``left@drive`` and
``right@drive``; one of the mode ``external`` has a ``command`` instead. All
times are in seconds.

Refused: what the types say, and what cannot go together. Whether the classes
are there, somebody else asks; nothing is imported or started here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z"
"""A name is part of addresses, of topics and of socket names, so it holds nothing odd."""

Name = Annotated[
    str, Meta(pattern=NAME, description="letters, digits, '-', '_' and '.', at most 63 of them")
]
ClassName = Annotated[
    str,
    Meta(pattern=r"^[\w.]+:[\w.]+\Z", description="a class of a module, as module:qualname"),
]
LONGEST = 2_000_000
"""Seconds, some 23 days: nobody waits for longer (`gateway.timeout`)."""
Seconds = Annotated[float, Meta(gt=0, le=LONGEST)]
Hertz = Annotated[float, Meta(ge=0, le=10_000)]
Letters = Annotated[int, Meta(ge=1)]
WhenStuck = Literal["report", "restart"]


class Restart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When and how often it is started again; see `gateway.supervision.restart`."""

    kind: Literal["permanent", "transient", "temporary"] = "permanent"
    most: Annotated[int, Meta(ge=0)] = 5
    within: Seconds = 60.0
    first: Seconds = 0.1
    ceiling: Seconds = 5.0
    slowly: Seconds = 60.0

    def __post_init__(self) -> None:
        if self.first > self.ceiling:
            raise ValueError(f"first is {self.first:g} s and ceiling less: {self.ceiling:g} s")


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an external program is started, as `gateway.supervision.program` says it."""

    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    folder: str | None = None
    environment: dict[str, str] = {}
    patience: Seconds = 5.0


class Held(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several processes of a member; what it does not say is the member's."""

    process: ClassName
    frequency: Hertz | None = None
    tock: Seconds | None = None
    mailbox_size: Letters = 256
    parameters: dict[str, Any] = {}

    def __post_init__(self) -> None:
        _refuse_both(self.tock, self.frequency)


class CrewMember(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member; see the module's head, and `Application.add_process` for what is the same.

    ``tock`` is the seconds that a frame takes, where that says more than
    ``frequency`` in hertz. ``start_after`` counts from the application's
    start, ``limit`` from that of each life. ``real`` is there to be refused:
    simulated time rules a whole application, and never one member of it.
    """

    process: ClassName | None = None
    processes: dict[Name, Held] = {}
    command: Launch | tuple[str, ...] | None = None
    mode: Literal["thread", "fork", "asyncio", "external"] = "fork"
    frequency: Hertz | None = None
    tock: Seconds | None = None
    real: bool = True
    autostart: bool = True
    depends: tuple[str, ...] = ()
    mailbox_size: Letters = 256
    mailbox_order: Literal["fifo", "priority"] = "fifo"
    mailbox_policy: Literal["block", "reject", "drop_oldest"] = "block"
    restart: Restart | None = None
    route: str = ""
    parameters: dict[str, Any] = {}
    bound_shutdown: bool = False
    force_stop: bool = False
    start_after: Annotated[float, Meta(ge=0, le=LONGEST)] = 0.0
    limit: Seconds | None = None
    temporary_folder: bool = False
    stuck_after: Seconds | None = None
    when_stuck: WhenStuck = "report"

    def __post_init__(self) -> None:
        external = self.mode == "external"
        if external != bool(self.command) or (
            sum(map(bool, (self.process, self.processes, self.command))) != 1
        ):
            raise ValueError(
                "has to have a process, or processes, or the mode 'external' and a command"
            )
        if self.processes and self.mode == "asyncio":
            raise ValueError("processes are threads of their member: use the mode fork or thread")
        if self.force_stop and self.mode in ("thread", "asyncio"):
            raise ValueError("force_stop cannot be kept, a thread cannot be killed: use mode fork")
        if self.bound_shutdown and self.restart is not None and self.restart.kind == "permanent":
            raise ValueError("bound_shutdown and a permanent restart: it would never be over")
        if not self.real:
            raise ValueError(
                "real = false asks for simulated time, which rules a whole application:"
                " leave it out"
            )
        _refuse_both(self.tock, self.frequency)

    def classes(self) -> dict[tuple[str, ...], str]:
        """Return the classes that it names, each by the keys under which it stands."""
        found: dict[tuple[str, ...], str] = {}
        if self.process:
            found["process",] = self.process
        for name, held in self.processes.items():
            found["processes", name, "process"] = held.process
        return found


def _refuse_both(tock: float | None, frequency: float | None) -> None:
    if tock is not None and frequency is not None:
        raise ValueError(f"tock = {tock:g} says the same as a frequency: no frequency beside it")
