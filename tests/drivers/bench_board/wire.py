"""Lines to and from a board on a terminal, with a deadline on everything."""

from __future__ import annotations

import os
import select
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from gateway.framing import CheckedLine, Frame, Garbage

SECONDS = 20.0


class Wire:
    """Speaks checked lines with whatever ``path`` leads to; ``with`` closes it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        # Not setraw's default, which throws away what has come in: the banner.
        tty.setraw(self._descriptor, termios.TCSANOW)
        self._framing = CheckedLine()
        self._decoder = self._framing.decoder()
        self._events: list[Frame | Garbage] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Send bytes as they are; the caller keeps them below what a terminal holds."""
        assert os.write(self._descriptor, data) == len(data)

    def send(self, *payloads: bytes) -> None:
        """Send a line for each of ``payloads``."""
        self.write(b"".join(map(self._framing.encode, payloads)))

    def event(self, seconds: float = SECONDS) -> Frame | Garbage:
        """Return the next line, good or bad."""
        deadline = time.monotonic() + seconds
        while not self._events:
            left = deadline - time.monotonic()
            assert left > 0, f"no line within {seconds:g} s"
            if select.select([self._descriptor], [], [], left)[0]:
                self._events += self._decoder.feed(os.read(self._descriptor, 4096))
        return self._events.pop(0)

    def line(self, seconds: float = SECONDS) -> bytes:
        """Return the next line's payload; a damaged line is an `AssertionError`."""
        event = self.event(seconds)
        assert isinstance(event, Frame), event
        return event.payload

    def line_that(self, fits: Callable[[bytes], bool], seconds: float = SECONDS) -> bytes:
        """Return the next good line that ``fits``; what comes before is thrown away."""
        deadline = time.monotonic() + seconds
        while True:
            event = self.event(max(0.0, deadline - time.monotonic()))
            if isinstance(event, Frame) and fits(event.payload):
                return event.payload

    def ask(self, payload: bytes) -> bytes:
        """Send one line and return the next that comes."""
        self.send(payload)
        return self.line()

    def is_silent_for(self, seconds: float) -> bool:
        """Say whether no byte comes in ``seconds``."""
        return not self._events and not select.select([self._descriptor], [], [], seconds)[0]
