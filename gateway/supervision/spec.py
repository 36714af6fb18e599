"""One process, described by data: what `Application.add_process` was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.bus.lanes import Order, Policy
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.supervision.program import Program
from gateway.supervision.restart import RestartPolicy


@dataclass(frozen=True)
class ProcessSpec:
    """How one process is made, run and restarted.

    ``frequency`` is in hertz. ``depends`` names the processes that must live
    before this one is born. ``route`` is what the bus writes on its mail.
    ``command`` is what an external one runs.
    """

    name: str
    factory: type[Process]
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

    @property
    def kind(self) -> str:
        """What it is, for people: its class, or its command's first word."""
        return self.factory.__qualname__ if self.command is None else self.command.command[0]
