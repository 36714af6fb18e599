"""Several processes in one crew member: each on a thread of its own, all in one OS process.

A process ``left`` of the member ``drive`` has the address ``left@drive``, a
mailbox and a frequency of its own, and the whole vocabulary of a process. What
rules the member rules all of them: its start, its limit, its restart policy.
It lives once all of them do, and ends when the last one has ended. One that
fails ends the member, as failed, and the others die in order.

Where the member has a temporary folder each of them has one within it. The
member is stuck where one of them is.

A letter that was written before they lived is handed on to them. Refused:
letters to whom it does not hold (`AddressError`), and a class that is no
`Process` or has coroutines (`ConfigError`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.errors import AddressError, RecipientGoneError
from gateway.mail.message import Message
from gateway.process.context import Context, RunLevel
from gateway.process.process import Process
from gateway.process.runner import run
from gateway.supervision.spec import ProcessSpec

log = logging.getLogger(__name__)

HELD = "processes"
"""The parameter in which a member is told of its processes."""

LOOK = 0.02
"""Seconds between two looks at who is born."""


@dataclass(eq=False)
class _Place:
    """One of them, from before its birth until after its death."""

    spec: ProcessSpec
    box: Mailbox
    process: Process | None = None
    level: RunLevel = "unborn"
    over: bool = False


class Company(Process):
    """Runs the processes of one member; made by the application, not subclassed."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._places: list[_Place] = []

    def birth(self) -> None:
        """Have all of them born; return when they live."""
        self.add_filter(
            recipient=rf"@{re.escape(self.name)}\Z",
            callback=self._hand_on,
            description="was written before the mailbox was there",
        )
        for local, held in self.parameters[HELD].items():
            self._places.append(self._place(local, held))
        for place in self._places:
            self.add_child_thread(place.box.name, partial(self._run, place))
        while any(place.level in ("unborn", "born") and not place.over for place in self._places):
            if self._child_error is not None or not self.light_sleep(LOOK):
                return

    def death(self) -> None:
        """Have all of them die, within the time that the application has for it."""
        for place in self._places:
            if place.process is not None and not place.over:
                place.process.die()
        for name in self.join_child_threads(self.application.shutdown_timeout):
            log.error("%s does not end; its thread is left behind", name)
        if self._child_error is not None:
            raise self._child_error

    def loops(self) -> list[tuple[Mailbox, Process | None]]:
        """Return whom to watch: each mailbox that is read, and by which process."""
        return [(place.box, place.process) for place in self._places if not place.over]

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        levels = {place.box.name: place.level for place in self._places}
        return {HELD: levels, **super().statistics()}

    def _place(self, local: str, held: Mapping[str, Any]) -> _Place:
        spec = ProcessSpec(
            local,
            held["process"],
            frequency=held["frequency"],
            mailbox_size=held["mailbox_size"],
            parameters=held["parameters"],
        )
        return _Place(spec, self.open_mailbox(local, size=spec.mailbox_size))

    def _hand_on(self, message: Message) -> None:
        """Deliver what came to the member itself, since its recipient was not there yet."""
        for place in self._places:
            if place.box.name == message.recipient and not place.over:
                place.box.deliver(message, 0.0)
                return
        raise AddressError(f"nobody is called {message.recipient!r}, or it has ended")

    def _run(self, place: _Place) -> None:
        def note(level: RunLevel) -> None:
            place.level = level

        context = replace(
            self._context,
            name=place.box.name,
            mailbox=place.box,
            mode="thread",
            frequency=place.spec.frequency,
            parameters=place.spec.parameters,
            report=note,
            folder=self._folder_of(place.box.name.partition("@")[0]),
        )
        try:
            process = place.process = place.spec.make(context)
            if not self.is_active:
                process.die()
            run(process)
        except BaseException as error:
            log.error("%s failed, and %s with it", place.box.name, self.name)
            self._child_failed(error)
            raise
        finally:
            place.over = True
            try:
                self.close_mailbox(place.box)
            except RecipientGoneError:
                # The boss itself is gone, and everybody ends.
                log.debug("%s ended after its boss", place.box.name)
            if self._child_error is None and all(other.over for other in self._places):
                self.die()

    def _folder_of(self, local: str) -> Path | None:
        if self._context.folder is None:
            return None
        folder = self._context.folder / local
        folder.mkdir(mode=0o700)
        return folder
