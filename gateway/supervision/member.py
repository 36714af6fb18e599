"""One process as the boss sees it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.bus.known import Known
from gateway.bus.ledger import Balance
from gateway.bus.mailbox import Mailbox
from gateway.process.context import RunLevel
from gateway.process.process import Process
from gateway.supervision.pulse import LoopPulse, Pulse
from gateway.supervision.restart import Restarts
from gateway.supervision.spec import ProcessSpec

State = Literal[
    "stopped", "waiting", "starting", "living", "stopping", "ended", "failed", "degraded"
]
"""``ended``: in order, and it is to be started again; ``stopped``: it is not."""

DOES_NOT_END = "does not end"

KILLED = "its OS process was killed, crashed, or left by os._exit"
"""What is known of a life that did not say how it ended, until it was reaped."""


@dataclass
class Member:
    """What is known of one process; only the boss's thread writes here."""

    spec: ProcessSpec
    restarts: Restarts
    state: State = "stopped"
    cause: str = "not started yet"
    since: float = 0.0
    incarnation: int = 0
    lives_before: int = 0
    """The last life there was before it was taken into the crew, of somebody else by this name."""
    sent_back: Known = field(default_factory=Known)
    """Letters that it handed on, and that were counted as bounced since."""
    pid: int = 0
    pidfd: int = -1
    box: Mailbox | None = None
    process: Process | None = None
    thread: threading.Thread | None = None
    mailboxes: dict[str, int | None] = field(default_factory=dict)
    """Further mailboxes that this life has opened, for what is behind it, and their rows."""
    hands: dict[str, tuple[socket.socket, socket.socket]] = field(default_factory=dict)
    """Copies of the sockets of those mailboxes, where it is forked."""
    hurry: Callable[[signal.Signals], None] | None = None
    """What presses a life on a loop to end, where there is one."""
    interrupt: Callable[[], bool] | None = None
    """What tears the main life out of what it does, and tells whether it could."""
    call_soon: Callable[[Callable[[], object]], None] | None = None
    """What has something called on its loop's thread, where it shares a loop."""
    held_up_by: Callable[[], str] | None = None
    """What returns the task that blocks its loop since it was told to end, where it has one."""
    said_dead: bool = False
    """Whether this life reported that its `death` has run."""
    unread: str = ""
    """Why nobody reads its mail any more, though its OS process is there; empty otherwise."""
    level: RunLevel = "unborn"
    """How far the present life has come, as it says: ``dying`` for good where `death` raised."""
    told_to_die: bool = False
    after: Literal["judge", "stop", "restart"] = "judge"
    """What follows the present life; judged by the restart policy unless somebody ordered."""
    why: str = ""
    """Why this life was ended from outside; empty where it was not."""
    stop_by: float | None = None
    """When it is killed, should it not have ended, on the monotonic clock."""
    until: float | None = None
    """When its ``limit`` is over, on the monotonic clock."""
    exit_status: int | None = None
    """How the present life's OS process ended, negative by a signal, once it was reaped."""
    registered: bool = False
    """Whether the present life, in an OS process of its own, has registered."""
    pressed: int = 0
    """How often a life on a loop that does not end was pressed to, by order."""
    pulse: Pulse | LoopPulse | None = None
    progressed: float = 0.0
    """When its loop was last known to progress, on the monotonic clock."""
    stuck: bool = False
    due: float | None = None
    """When it is restarted, on the monotonic clock."""
    sockets: Any = None
    """The bound sockets of a forked life's mailbox: what it leaves unread is found there."""
    row: int | None = None
    """Where a forked life counts its mail."""
    past: Balance = field(default_factory=Balance)
    """What the lives that are over have counted."""

    @property
    def is_over(self) -> bool:
        """Whether no life of it is under way, and none is due."""
        return not self.runs and self.state != "waiting" and self.due is None

    @property
    def runs(self) -> bool:
        """Whether a life of it is under way."""
        return self.state in ("starting", "living", "stopping")

    @property
    def takes_mail(self) -> bool:
        """Whether a life of it is under way, or about to begin, that its mail is for."""
        return (self.runs or self.state == "waiting") and not self.unread

    @property
    def absence(self) -> str:
        """Why it takes no mail, while there is nobody who does."""
        if self.unread:
            return self.unread
        return f"{self.cause}; it is to be started again" if self.due is not None else self.cause

    def hindrance(self) -> str:
        """Return what there is to say of its not ending: that, or who blocks its loop."""
        task = self.held_up_by() if self.held_up_by is not None else ""
        if not task:
            return DOES_NOT_END
        if task == self.spec.name:
            return f"{DOES_NOT_END} and blocks its loop"
        return f"cannot end: {task!r} blocks its loop"

    def begin_anew(self) -> None:
        """Forget how the last life went: the next one begins."""
        self.incarnation += 1
        self.said_dead = self.told_to_die = self.stuck = self.registered = False
        self.unread = ""
        self.after, self.why, self.level = "judge", "", "unborn"
        self.stop_by = self.until = self.pulse = self.exit_status = None
        self.pressed = 0

    def forget_life(self) -> None:
        """Let go of what the life had that is over."""
        self.stop_by = self.until = None
        self.stuck, self.unread = False, ""
        self.process = self.thread = None
        self.hurry = self.call_soon = self.held_up_by = self.interrupt = None
        self.pid = 0

    def describe(self) -> dict[str, Any]:
        """Return what `gateway ps` shows of it."""
        return {
            "name": self.spec.name,
            "mode": self.spec.mode,
            "state": self.state,
            "cause": self.cause,
            "since": self.since,
            "incarnation": self.incarnation,
            "pid": self.pid,
            "restarts": self.restarts.count,
            "kind": self.spec.kind,
            "stuck": self.stuck,
        }
