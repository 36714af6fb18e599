"""What a process is given when it is made: its name, its mail, its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import RLock, Thread
from typing import Any, Literal

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.process.locks import Lock
from gateway.process.wakeup import Wakeup

Mode = Literal["thread", "fork", "asyncio", "external"]

RunLevel = Literal["unborn", "born", "living", "dying", "dead"]


@dataclass(frozen=True)
class Context:
    """Handed to `Process` by whoever runs it; authors never make one."""

    name: str
    office: Office
    mailbox: Mailbox
    mode: Mode = "thread"
    frequency: float | None = None
    route: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    application: Any = None
    report: Callable[[RunLevel], None] = lambda level: None
    folder: Path | None = None
    """The temporary folder of this life, where it has one."""
    random: Random = field(default_factory=Random)
    make_thread: Callable[..., Thread] = Thread
    """Makes its child threads; called as `threading.Thread` is."""
    make_lock: Callable[[], Lock] = RLock
    """Makes its named locks; called as `threading.RLock` is."""
    make_wakeup: Callable[[], Wakeup] = Wakeup
    serve_commands: Callable[[Any], None] = lambda process: None
    """Has the methods answered that the process marked with `command`; before birth."""
