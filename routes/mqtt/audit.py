"""Who did what to this gateway from afar, when, and how it ended: one line each, kept.

Each line goes to the log, from the logger ``gateway.audit`` at the level INFO, and as
JSON to a file where one is named. The file is bounded: a full one becomes ``….1`` in the
place of the one before. A file that cannot be written costs no command: that is logged
as an error, and counted.

Whoever must not wait for a card that stalls leaves a line for later, which a thread of
the book's own writes. Refused, with a count: more than `LATER` such lines at a time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.errors import BodyError
from gateway.mail.codec import to_json

log = logging.getLogger("gateway.audit")

LONGEST = 2000
"""Characters of a line; what is longer is cut."""


LATER = 64
"""Lines at the most that wait for the thread that writes them."""


class _Line(NamedTuple):
    said: str
    packed: bytes


class Audit:
    """The book of what was done; `work` is its own thread's, everything else any's."""

    def __init__(self, file: str = "", limit: int = 1 << 20) -> None:
        """Keep ``limit`` bytes in ``file``, and as many of before; nowhere where it is empty."""
        self._file = Path(file) if file else None
        self._limit = limit
        self._later: queue.Queue[_Line | None] = queue.Queue(LATER)
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._lost = 0

    @property
    def lost(self) -> int:
        """Lines that could not be written to the file, or were one too many."""
        return self._lost

    def note(
        self,
        *,
        time: float,
        command: str,
        topic: str,
        who: Mapping[str, str],
        arguments: Mapping[str, Any],
        result: str,
        begun: float | None = None,
        later: bool = False,
    ) -> None:
        """Note one command; ``result`` is ``begun``, ``ok``, or the error's code and reason.

        ``begun`` is the time at which it was begun, which all lines of a command bear that
        was. Where it is noted ``later``, by `work`, nobody waits here.
        """
        by = ", ".join(f"{name}={value}" for name, value in who.items()) or "an unnamed client"
        said = _plain(f"{command} {_short(arguments)} by {by} on {topic}: {result}")
        entry = {
            "time": time,
            "command": command,
            "arguments": _short(arguments),
            "who": {_plain(name): _plain(value) for name, value in who.items()},
            "topic": _plain(topic),
            "result": _plain(result),
            **({} if begun is None else {"begun": begun}),
        }
        line = _Line(said, to_json(entry) + b"\n")
        if not later:
            self._put_down(line)
            return
        try:
            self._later.put_nowait(line)
        except queue.Full:
            self._lose()

    def work(self) -> None:
        """Write what was left for later, until `end`."""
        while not (self._ended.is_set() and self._later.empty()):
            line = self._later.get()
            if line is not None:
                self._put_down(line)

    def end(self) -> None:
        """Have `work` return once all that was left is written."""
        self._ended.set()
        # Where there is no room, `work` has a line to wake up by.
        with contextlib.suppress(queue.Full):
            self._later.put_nowait(None)

    def _put_down(self, line: _Line) -> None:
        log.info("%s", line.said)
        if self._file is None:
            return
        try:
            with self._writing:
                self._write(self._file, line.packed)
        except OSError as error:
            self._lose()
            log.error("%s cannot be written: %s", self._file, error.strerror)

    def _lose(self) -> None:
        with self._counting:
            self._lost += 1

    def _write(self, file: Path, line: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size + len(line) > self._limit:
                file.replace(file.with_name(f"{file.name}.1"))
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(descriptor, line)
            if written < len(line):
                # The next line is to begin a line.
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def _short(arguments: Mapping[str, Any]) -> str:
    try:
        said = to_json(dict(arguments)).decode()
    except BodyError:
        said = repr(dict(arguments))
    return _plain(said)


def _plain(text: str) -> str:
    """Return ``text`` as one line that cannot write to a terminal's controls."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return cut if cut.isprintable() else ascii(cut)[1:-1]
