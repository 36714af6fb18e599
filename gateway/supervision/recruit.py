"""A crew member as plain data, as it can stand in a configuration or travel in a letter.

::

    {"name": "wheels", "process": "robot.wheels:Wheels", "tock": 0.02, "limit": 3600.0,
     "parameters": {"port": "/dev/ttyUSB0"}, "restart": {"kind": "transient"}}

``process`` names the class; one of the mode ``external`` has a ``command``
instead, an argument list or, by name, what `Program` takes. ``tock`` is the
seconds that a frame takes, where that says more than ``frequency`` in hertz.
The rest is what `Application.add_process` takes, by the same names.

Refused (`ConfigError`, which names the key): unknown keys, parameters that are
no plain data or pack to more than `LARGEST` bytes, ``tock`` beside
``frequency``, and ``real: false``, since simulated time rules a whole
application and never one OS process of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from gateway.bus.lanes import Order, Policy
from gateway.errors import ConfigError
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.supervision.program import Program
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.spec import ProcessSpec, WhenStuck

LARGEST = 32 * 1024
"""Bytes that one member's data may have, packed: it travels to the fork server in one packet."""


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an external program is started, as `Program` says it."""

    command: tuple[str, ...]
    folder: str | None = None
    environment: dict[str, str] = {}
    patience: float = 5.0


class Recruit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member; see the module's head."""

    name: str
    process: str = ""
    command: Launch | tuple[str, ...] | None = None
    mode: Mode = "fork"
    frequency: float | None = None
    tock: float | None = None
    real: bool = True
    autostart: bool = True
    depends: tuple[str, ...] = ()
    mailbox_size: int = 256
    mailbox_order: Order = "fifo"
    mailbox_policy: Policy = "block"
    restart: RestartPolicy | None = None
    route: str = ""
    parameters: dict[str, Any] = {}
    bound_shutdown: bool = False
    force_stop: bool = False
    start_after: float = 0.0
    limit: float | None = None
    temporary_folder: bool = False
    stuck_after: float | None = None
    when_stuck: WhenStuck = "report"


_FIELDS = [name for name in Recruit.__struct_fields__ if name in ProcessSpec.__dataclass_fields__]


def spec_of(data: Mapping[str, Any]) -> ProcessSpec:
    """Return the process that ``data`` describes; raise `ConfigError` for nonsense.

    >>> spec_of({"name": "arm", "process": "robot:Arm", "tock": 0.02}).frequency
    50.0
    """
    data = dict(data)
    try:
        packed = msgspec.msgpack.encode(data)
        recruit = msgspec.convert(data, Recruit)
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"the crew member {data.get('name')!r} cannot be: {error}") from error
    if len(packed) > LARGEST:
        raise ConfigError(
            f"the crew member {recruit.name!r} has {len(packed)} bytes of data;"
            f" {LARGEST} is the most: put the rest into a file and name that"
        )
    if not recruit.real:
        raise ConfigError(
            f"the crew member {recruit.name!r} asks for simulated time, which rules a whole"
            " application: leave 'real' out"
        )
    frequency = recruit.frequency
    if recruit.tock is not None:
        if frequency is not None or not 0 < recruit.tock < float("inf"):
            raise ConfigError(
                f"the crew member {recruit.name!r} has tock={recruit.tock}:"
                " use more than 0 seconds, and no frequency beside it"
            )
        frequency = 1.0 / recruit.tock
    fields = {name: getattr(recruit, name) for name in _FIELDS}
    fields["frequency"] = frequency
    fields["restart"] = recruit.restart or usual_restart(bound_shutdown=recruit.bound_shutdown)
    command = recruit.command
    if isinstance(command, Launch):
        fields["command"] = Program(**msgspec.structs.asdict(command))
    elif command is not None:
        fields["command"] = Program(command)
    if (recruit.mode == "external") != bool(command) or bool(command) == bool(recruit.process):
        raise ConfigError(
            f"the crew member {recruit.name!r} has to have a process, or the mode 'external'"
            " and a command"
        )
    return ProcessSpec(**fields, factory=recruit.process or Process, data=data)


def data_of(spec: ProcessSpec) -> dict[str, Any]:
    """Return the data that describe ``spec``, whose class is named; `spec_of` has the way back.

    >>> from dataclasses import replace
    >>> spec = ProcessSpec("arm", "robot:Arm", "fork", 50.0)
    >>> replace(spec_of(data_of(spec)), data=None) == spec
    True
    """
    data = {name: getattr(spec, name) for name in _FIELDS}
    data["restart"] = asdict(spec.restart)
    if spec.command is not None:
        program = asdict(spec.command)
        folder = program["folder"]
        program["folder"] = None if folder is None else str(folder)
        return {**data, "command": program}
    return {**data, "process": spec.factory}


def usual_restart(*, bound_shutdown: bool) -> RestartPolicy:
    """Return the policy of a process for which none was named."""
    return RestartPolicy("temporary" if bound_shutdown else "permanent")
