"""Who did what to this gateway from afar, when, and how it ended: one line each, kept.

Each line goes to the log, from the logger ``gateway.audit`` at the level INFO, and as
JSON to a file where one is named. The file is bounded: a full one becomes ``….1`` in the
place of the one before. A file that cannot be written costs no command: that is logged
as an error, and counted.

Used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.errors import BodyError
from gateway.mail.codec import to_json

log = logging.getLogger("gateway.audit")

LONGEST = 2000
"""Characters of a line; what is longer is cut."""


class Audit:
    """The book of what was done."""

    def __init__(self, file: str = "", limit: int = 1 << 20) -> None:
        """Keep ``limit`` bytes in ``file``, and as many of before; nowhere where it is empty."""
        self._file = Path(file) if file else None
        self._limit = limit
        self.lost = 0
        """Lines that could not be written to the file."""

    def note(
        self,
        *,
        time: float,
        command: str,
        topic: str,
        who: Mapping[str, str],
        arguments: Mapping[str, Any],
        result: str,
    ) -> None:
        """Note one command; ``result`` is ``ok``, or the error's code and reason."""
        by = ", ".join(f"{name}={value}" for name, value in who.items()) or "an unnamed client"
        said = _plain(f"{command} {_short(arguments)} by {by} on {topic}: {result}")
        log.info("%s", said)
        if self._file is None:
            return
        entry = {
            "time": time,
            "command": command,
            "arguments": _short(arguments),
            "who": {_plain(name): _plain(value) for name, value in who.items()},
            "topic": _plain(topic),
            "result": _plain(result),
        }
        try:
            self._write(self._file, to_json(entry) + b"\n")
        except OSError as error:
            self.lost += 1
            log.error("%s cannot be written: %s", self._file, error.strerror)

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
