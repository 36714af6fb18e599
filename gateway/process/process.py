"""A worker with a birth, a life and a death, who writes letters.

Subclass `Process` and write `birth` (once), `life` (each frame, at
`frequency`) and `death` (once, whatever happened). Mail is handled between
frames, as it comes, by the callbacks that `add_filter`, `subscribe` and
`register_callbacks` name. All of it runs on one thread; `send`, `publish` and
`wait_for_reply` may be called from any other.

An exception from a callback: a `GatewayError` bounces to the sender and is
counted; anything else is a bug, of which the process dies.

Refused: to be made by hand (an `Application` makes processes), bodies that no
letter can carry (`BodyError`), `wait_for_reply` without a deadline.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gateway.mail.message import Message
from gateway.process.callbacks import DEVICE_EVENTS, Callbacks, Event, EventCallback
from gateway.process.context import Context, RunLevel
from gateway.process.correspondent import Correspondent
from gateway.process.threads import ChildThreads
from gateway.process.timing import Frames
from gateway.process.wakeup import Wakeup

log = logging.getLogger(__name__)


class Process(Correspondent):
    """One worker of an application; see the module's head."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.name, context.office, context.mailbox, context.route)
        self.run_level: RunLevel = "unborn"
        self._context = context
        self._frames = Frames(context.frequency, self._clock.monotonic())
        self._callbacks = Callbacks()
        self._ending = Wakeup()
        self._child_error: BaseException | None = None
        self._child_threads = ChildThreads(self.name, self._child_failed)

    # To be written by authors

    def birth(self) -> None:
        """Get ready: open what is needed, add filters. The mailbox is open already."""

    def life(self) -> None:
        """Do the work of one frame, and return."""

    def death(self) -> None:
        """Put things back; runs whatever happened, unless the OS process is killed."""

    # Events

    def register_callbacks(self, device: str = "", **callbacks: EventCallback) -> None:
        """Name who is called for events.

        With ``device`` (a name, or ``+`` for all) these are the five that
        devices raise; without, events of this process's own, raised by
        `callback_event`.
        """
        for event, callback in callbacks.items():
            if device and event not in DEVICE_EVENTS:
                raise ValueError(f"no device raises {event!r}: use {', '.join(DEVICE_EVENTS)}")
            # One table a subscription: what two of them take is not fired twice.
            table = Callbacks() if device else self._callbacks
            table.register(device, event, callback)
            if device:
                raised = partial(_device_event, table)
                self.subscribe(f"devices/{device}/events/{event}", raised)

    def callback_event(self, event: str, **details: Any) -> int:
        """Call who registered for ``event``; return how many that were."""
        return self._callbacks.fire(Event(event, "", details))

    # Time

    @property
    def frequency(self) -> float:
        """Frames a second, in hertz; 0 where `life` never runs."""
        return self._frames.frequency

    @frequency.setter
    def frequency(self, frequency: float | None) -> None:
        self._frames.set_frequency(frequency, self._clock.monotonic())
        self._box.wake()

    @property
    def current_frame(self) -> int:
        """Frames that have begun."""
        return self._frames.number

    def light_sleep(self, seconds: float) -> bool:
        """Sleep, but wake at once when the process is to end; tell whether it goes on."""
        return not self._ending.wait(seconds)

    # Ending

    @property
    def is_active(self) -> bool:
        """Whether the process is to go on."""
        return not self._ending.is_set

    def die(self) -> None:
        """End soon: `life` is not called again, then comes `death`. Safe in a signal handler."""
        self._ending.set()
        self._box.wake()

    def ebrake(self, reason: str) -> None:
        """Stop the whole application at once, as failed, and say why."""
        log.critical("%s pulled the emergency brake: %s", self.name, reason)
        self._tell_boss("ebrake", reason)

    # Child threads

    def launch_threads(self) -> list[str]:
        """Start every method called ``_thread_*`` as a child thread; return their names."""
        names = [name for name in dir(type(self)) if name.startswith("_thread_")]
        for name in names:
            self.add_child_thread(name.removeprefix("_thread_"), getattr(self, name))
        return names

    def add_child_thread(self, name: str, target: Callable[[], object]) -> None:
        """Start ``target`` on a thread that this process owns and dies with."""
        self._child_threads.start(name, target)

    def child_threads_alive(self) -> list[str]:
        """Return the names of the child threads that run."""
        return self._child_threads.alive()

    def join_child_threads(self, timeout: float = 2.0) -> list[str]:
        """Wait for the child threads; return the names of those that still run."""
        return self._child_threads.join(timeout)

    def child_thread_janitor(self) -> int:
        """Forget the child threads that have ended; return how many."""
        return self._child_threads.clear_ended()

    def _child_failed(self, error: BaseException) -> None:
        self._child_error = error
        self._box.wake()

    # Descriptors

    def watch(self, fd: int, callback: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call ``callback(events)`` on this process's thread whenever ``fd`` is ready."""
        self._box.watch(fd, callback, events)

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer; do so before it is closed."""
        self._box.unwatch(fd)

    # The crew

    def start_process(self, name: str, *, timeout: float = 10.0) -> None:
        """Have the process ``name`` started, and return when it lives.

        Raises `RefusedError`, which says why, where it cannot live, and
        `CallTimeoutError` after ``timeout`` seconds. One that lives already is fine.
        """
        self._order("start", name, timeout)

    def stop_process(self, name: str, *, timeout: float = 15.0) -> None:
        """Have the process ``name`` end, and return when it has; raises as `start_process`.

        It stays away until somebody starts it. Who depends on it goes on.
        """
        self._order("stop", name, timeout)

    def restart_process(self, name: str, *, timeout: float = 25.0) -> None:
        """Have the process ``name`` end and start again; raises as `start_process`.

        A process that orders this of itself goes on until it reads its mail.
        """
        self._order("restart", name, timeout)

    def _order(self, verb: str, name: str, timeout: float) -> None:
        self._box.wait_for(self._tell_boss(verb, name), timeout)

    # Information

    @property
    def temporary_folder(self) -> Path:
        """The folder that this life alone has; raises `ValueError` where it asked for none.

        It was named with ``temporary_folder=True`` in `add_process`, is empty
        at birth, and is removed after death.
        """
        if self._context.folder is None:
            raise ValueError(f"{self.name!r} was added without temporary_folder=True")
        return self._context.folder

    @property
    def application(self) -> Any:
        """The application, as it was when this OS process was made."""
        return self._context.application

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What was handed to `add_process` as ``parameters``."""
        return self._context.parameters

    def parameter(self, name: str, default: Any = None) -> Any:
        """Return one of `parameters`."""
        return self._context.parameters.get(name, default)

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        return {
            "run_level": self.run_level,
            "frames": self._frames.number,
            "frames_missed": self._frames.missed,
            "threads": self._child_threads.alive(),
            **super().statistics(),
        }


def _device_event(table: Callbacks, message: Message) -> None:
    _, device, _, event = message.subject.split("/")
    details = message.body if isinstance(message.body, dict) else {}
    table.fire(Event(event, device, details))
