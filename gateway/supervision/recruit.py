"""A crew member as plain data, as it can stand in a configuration or travel in a letter.

::

    {"name": "wheels", "process": "robot.wheels:Wheels", "tock": 0.02, "limit": 3600.0,
     "parameters": {"port": "/dev/ttyUSB0"}, "restart": {"kind": "transient"}}

What may be said of it is what ``[crew.<name>]`` may say (`gateway.config.crew`).
``process`` names the class. Several ``processes`` run as threads of the one
member (`gateway.supervision.company`)::

    {"name": "drive", "tock": 0.02, "processes": {"left": {"process": "robot.wheels:Wheel"},
                                                  "right": {"process": "robot.wheels:Wheel"}}}

Refused (`ConfigError`, which names the key): unknown keys, what cannot go
together, parameters that are no plain data or pack to more than `LARGEST` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec

from gateway.config.crew import CrewMember, Held, Launch
from gateway.errors import ConfigError
from gateway.process.process import Process
from gateway.supervision.company import HELD
from gateway.supervision.program import Program
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.spec import ProcessSpec

LARGEST = 32 * 1024
"""Bytes that one member's data may have, packed: it travels to the fork server in one packet."""


class Recruit(CrewMember, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member, with its name beside what the configuration says of it."""

    name: str
    ephemeral: bool = False
    """Whether it is forgotten when it is over, so that its name is free again."""
    grace: float | None = None
    """Seconds that it has to end before it is killed, the application's where None."""


# msgspec learns a Struct when it is first asked for one, and crashes where two threads have
# it learn the same one at once. So it learns this one here.
msgspec.msgpack.Decoder(Recruit)

_FIELDS = [name for name in Recruit.__struct_fields__ if name in ProcessSpec.__dataclass_fields__]

COMPANY = "gateway.supervision.company:Company"
"""What runs the processes of a member that has several."""


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
    fields = {name: getattr(recruit, name) for name in _FIELDS}
    fields["frequency"] = _frequency(recruit.frequency, recruit.tock)
    policy = recruit.restart
    fields["restart"] = (
        RestartPolicy(**msgspec.structs.asdict(policy))
        if policy is not None
        else usual_restart(bound_shutdown=recruit.bound_shutdown)
    )
    command = recruit.command
    if isinstance(command, Launch):
        fields["command"] = Program(**msgspec.structs.asdict(command))
    elif command is not None:
        fields["command"] = Program(command)
    factory = recruit.process or Process
    if recruit.processes:
        factory = COMPANY
        fields["parameters"] = {
            HELD: {name: _held(recruit, held) for name, held in recruit.processes.items()}
        }
        # Its own work is to wait for them.
        fields["frequency"] = 0.0
    return ProcessSpec(**fields, factory=factory, data=data)


def _held(recruit: Recruit, held: Held) -> dict[str, Any]:
    frequency = _frequency(held.frequency, held.tock)
    return {
        "process": held.process,
        "frequency": _frequency(recruit.frequency, recruit.tock)
        if frequency is None
        else frequency,
        "mailbox_size": held.mailbox_size,
        "parameters": {**recruit.parameters, **held.parameters},
    }


def _frequency(frequency: float | None, tock: float | None) -> float | None:
    return frequency if tock is None else 1.0 / tock


def data_of_member(member: CrewMember) -> dict[str, Any]:
    """Return a member of the configuration as plain data, which its name completes.

    >>> data_of_member(CrewMember(process="robot:Arm", tock=0.02))["tock"]
    0.02
    """
    data: dict[str, Any] = msgspec.to_builtins(member, builtin_types=(bytes, datetime))
    return data


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
