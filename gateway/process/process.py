"""A worker with a birth, a life and a death, who writes letters.

Subclass `Process` and write `birth` (once), `life` (each frame, at
`frequency`) and `death` (once, whatever happened). Mail is handled between
frames, as it comes, by the methods marked with `gateway.on` and the callbacks
that `add_filter`, `subscribe` and `register_callbacks` name. All of it runs on
one thread, but for callbacks that are to run elsewhere; `send`, `publish` and
`wait_for_reply` may be called from any other.

An exception from a filter's callback: a `GatewayError` bounces to the sender and
is counted; anything else is a bug, of which the process dies, as it does of any
exception in `birth`, `life` or a subscription's callback; `death` runs all the
same. A bug in `death` itself makes that end a failure. A life that does not
return is handed no mail.

Refused: to be made by hand (an `Application` makes processes), bodies that no
letter can carry (`BodyError`), `wait_for_reply` without a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, ClassVar

from gateway.mail.message import Message
from gateway.process.callbacks import DEVICE_EVENTS, Callbacks, Event, EventCallback, check_callback
from gateway.process.context import Context, RunLevel
from gateway.process.marks import marks_of
from gateway.process.owner import Owner
from gateway.process.timing import Frames, TimeFrame
from gateway.timeout import FAR, in_seconds


class Process(Owner):
    """One worker of an application; see the module's head.

    >>> from gateway.testing.stage import play
    >>> class Patrol(Process):
    ...     def birth(self):
    ...         self.rounds = 0
    ...         self.add_filter(subject="^rounds$", callback=self.on_rounds)
    ...     def life(self):
    ...         self.rounds += 1
    ...     def on_rounds(self, message):
    ...         self.reply(message, self.rounds > 0)
    ...     def death(self):
    ...         print("the patrol is over")
    >>> play(lambda main: main.wait_for_reply(main.send("patrol", "rounds")).body, patrol=Patrol)
    the patrol is over
    True
    """

    def __init__(self, context: Context) -> None:
        super().__init__(
            context.name,
            context.office,
            context.mailbox,
            context.route,
            make_thread=context.make_thread,
            make_lock=context.make_lock,
        )
        self._context = context
        self._run_level: RunLevel = "unborn"
        self._frames = Frames(context.frequency, self._clock.monotonic())
        self._callbacks = Callbacks()
        self.random = context.random
        """Chance; in a simulation it comes from the seed."""
        self._ending = context.make_wakeup()

    is_on_loop: ClassVar[bool] = False
    """Whether it lives on an event loop, and what would wait is awaited."""

    # To be written by authors

    call_workers: ClassVar[int] = 0
    """Threads that carry out calls of the methods marked with `command`; 0 for none of their own.

    Without any they are carried out between frames, one after the other.
    """

    def birth(self) -> Awaitable[None] | None:
        """Get ready: open what is needed, add filters. The mailbox is open already."""

    def life(self) -> Awaitable[None] | None:
        """Do the work of one frame, and return."""

    def death(self) -> Awaitable[None] | None:
        """Put things back; runs whatever happened, unless the OS process is killed."""

    # Events

    def register_callbacks(self, device: str = "", **callbacks: EventCallback) -> None:
        """Name who is called for events.

        With ``device`` (a name, or ``+`` for all) these are the five that
        devices raise; without, events of this process's own, raised by
        `callback_event`.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.register_callbacks(docked=lambda event: print(event.details))
        ...     return main.callback_event("docked", place="kitchen")
        >>> play(scene)
        {'place': 'kitchen'}
        1
        """
        self._refuse_coroutines(*callbacks.values())
        # All are looked at before the first is registered.
        for event, callback in callbacks.items():
            if device and event not in DEVICE_EVENTS:
                raise ValueError(f"no device raises {event!r}: use {', '.join(DEVICE_EVENTS)}")
            check_callback(event, callback)
        for event, callback in callbacks.items():
            # One table a subscription: what two of them take is not fired twice.
            table = Callbacks() if device else self._callbacks
            table.register(device, event, callback)
            if device:
                raised = partial(_device_event, table)
                self.subscribe(f"devices/{device}/events/{event}", raised)

    def callback_event(self, event: str, **details: Any) -> int:
        """Call who registered for ``event``; return how many that were.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.callback_event("nobody registered for this"))
        0
        """
        return self._callbacks.fire(Event(event, "", details))

    def _add_marked_filters(self) -> None:
        for name, options in marks_of(type(self)):
            self.add_filter(callback=getattr(self, name), **options)

    # Time

    @property
    def frequency(self) -> float:
        """Frames a second, in hertz; 0 where `life` never runs.

        What is no number is a `TypeError`, what is not within 0 and 10,000 a `ValueError`.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.frequency = 50
        ...     return main.frequency
        >>> play(scene)
        50
        """
        return self._frames.frequency

    @frequency.setter
    def frequency(self, frequency: float | None) -> None:
        self._frames.set_frequency(frequency, self._clock.monotonic())
        self._box.wake()

    @property
    def current_frame(self) -> int:
        """Frames that have begun.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.current_frame)
        0
        """
        return self._frames.number

    @property
    def current_time_frame(self) -> TimeFrame:
        """When the frame that is under way began, and when the next is due.

        Seconds on the application's monotonic clock; ``end`` is infinite
        without a frequency.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.frequency = 0
        ...     return main.current_time_frame.end
        >>> play(scene)
        inf
        """
        return self._frames.current()

    def frequency_sleep(self) -> bool:
        """Sleep until the next frame is due and begin it; tell whether the process goes on.

        For a life, or a thread, that keeps a loop of its own. Raises
        `ValueError` where there is no frequency.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.frequency = 100
        ...     return main.frequency_sleep(), main.current_frame
        >>> play(scene)
        (True, 1)
        """
        goes_on = self.light_sleep(self._until_next_frame())
        if goes_on:
            self._frames.advance(self._clock.monotonic())
        return goes_on

    def _until_next_frame(self) -> float:
        """Return the seconds until the next frame is due; less than 0 where it is late."""
        due = self._frames.due
        if due is None:
            raise ValueError(f"{self.name!r} has no frequency to sleep by: give it one")
        return due - self._clock.monotonic()

    def light_sleep(self, seconds: float) -> bool:
        """Sleep, but wake at once when the process is to end; tell whether it goes on.

        ``seconds`` may be inf: until then.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     rested = main.light_sleep(0.01)
        ...     main.die()
        ...     return rested, main.light_sleep(3600)
        >>> play(scene)
        (True, False)
        """
        seconds = inf if seconds == inf else in_seconds(seconds, "a sleep", FAR)
        self._office.catch_up()
        return not self._ending.wait(seconds)

    # Ending

    @property
    def run_level(self) -> RunLevel:
        """How far its life has come: unborn, born, living, dying or dead.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.run_level)
        'born'
        """
        return self._run_level

    @property
    def is_active(self) -> bool:
        """Whether the process is to go on.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.is_active)
        True
        """
        return not self._ending.is_set

    def die(self) -> None:
        """End soon: `life` is not called again, then comes `death`. Safe in a signal handler.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: (main.die(), main.is_active))
        (None, False)
        """
        self._ending.set()
        self._box.wake()

    # Information

    @property
    def temporary_folder(self) -> Path:
        """The folder that this life alone has; raises `ValueError` where it asked for none.

        It was named with ``temporary_folder=True`` in `add_process`, is empty
        at birth, and is removed after death.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.temporary_folder)
        Traceback (most recent call last):
        ValueError: 'main' was added without temporary_folder=True
        """
        if self._context.folder is None:
            raise ValueError(f"{self.name!r} was added without temporary_folder=True")
        return self._context.folder

    @property
    def application(self) -> Any:
        """The application, as it was when this OS process was made.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.application.shutdown_timeout)
        10.0
        """
        return self._context.application

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What was handed to `add_process` as ``parameters``."""
        return self._context.parameters

    def parameter(self, name: str, default: Any = None) -> Any:
        """Return one of `parameters`.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.parameter("metres", 1.5))
        1.5
        """
        return self._context.parameters.get(name, default)

    def set_log_level(self, level: str, name: str = "", *, timeout: float = 5.0) -> dict[str, Any]:
        """Log from ``level`` upwards in the whole gateway, now and after restarts.

        ``level`` is debug, info, warning, error, critical, or default, which
        takes back what was set, or empty, which only asks; ``name`` a process,
        a logger, or ``""`` for all. Returns all levels that were set. Raises
        `ConfigError` for a level that is none, `AddressError` for a name that
        nobody bears.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     levels = main.set_log_level("debug", "echo")
        ...     main.set_log_level("default", "echo")
        ...     return levels["processes"]
        >>> play(scene, echo=Echo)
        {'echo': 'debug'}
        """
        timeout = in_seconds(timeout)
        asked = self._tell_boss("log-level", {"name": name, "level": level})
        levels: dict[str, Any] = self._box.wait_for(asked, timeout).body
        return levels

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.statistics()["frames_missed"])
        0
        """
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
