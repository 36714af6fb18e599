"""Where the log goes, and what a line of it looks like.

To a terminal or a file a line a record goes to standard error: time, level,
process and device, text, the thread of the mail. In colour only on a terminal.
With ``json`` each line is an object, for whatever collects logs. Where systemd
has put its journal behind standard error, records go there with their fields
(`gateway.process.journal`).

Handlers and levels outlive a fork: children log to the same place, by their
own names. Refused: a format or a level that is none (`ValueError`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Literal, TextIO, get_args

from gateway.process.journal import SOCKET, JournalHandler, is_the_journal
from gateway.process.log_levels import number, sieve
from gateway.process.whereabouts import Whereabouts, here

Format = Literal["auto", "text", "json", "journal"]

FORMATS: tuple[Format, ...] = get_args(Format)
"""``auto`` is the journal where systemd has connected it, else text."""

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def start_logging(
    level: str,
    *,
    form: Format = "auto",
    identifier: str = "gateway",
    stream: TextIO | None = None,
    journal: str = SOCKET,
) -> logging.Handler:
    """Log from ``level`` ("info", …) upwards, from now on, in children too; return the handler.

    ``stream`` is standard error unless another is given; ``identifier`` is
    what journalctl's ``-t`` finds.
    """
    if form not in FORMATS:
        raise ValueError(f"{form!r} is no format of the log: use {', '.join(FORMATS)}")
    stream = stream or sys.stderr
    least = number(level)
    handler: logging.Handler
    if form == "auto":
        own = is_the_journal(_fileno(stream), os.environ.get("JOURNAL_STREAM"))
        form = "journal" if own else "text"
    if form == "journal":
        handler = JournalHandler(identifier, path=journal, stderr=_fileno(stream))
    else:
        handler = logging.StreamHandler(stream)
        is_terminal = stream.isatty()
        colours = is_terminal and not os.environ.get("NO_COLOR")
        handler.setFormatter(
            JsonLines() if form == "json" else TextLines(is_terminal=is_terminal, colours=colours)
        )
    handler.addFilter(sieve)
    logging.basicConfig(level=least, handlers=[handler], force=True)
    return handler


def _fileno(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except OSError:
        return 2


def _where(record: logging.LogRecord) -> Whereabouts:
    # Noted by `Sieve`; a record that came another way is written where it was made.
    found: Whereabouts = getattr(record, "whereabouts", None) or here()
    return found


class TextLines(logging.Formatter):
    """A line for people: ``12:00:01.042 WARNING  serial/board: the cable is out [c0ffee-7]``."""

    def __init__(self, *, is_terminal: bool = False, colours: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return ``record`` as a line, and its traceback below."""
        where = _where(record)
        level = record.levelname
        text = super().format(record)
        if self._is_terminal and not text.isprintable():
            # A board's bytes are not to move the cursor of whoever reads.
            text = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
        who = f"{where.process}/{where.device}" if where.device else where.process
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        shown = f"{level:8}"
        if self._colours and level in _COLOURS:
            shown = f"\x1b[{_COLOURS[level]}m{shown}\x1b[0m"
        first, *rest = text.split("\n")
        thread = f" [{where.mail_thread}]" if where.mail_thread else ""
        line = f"{clock}.{int(record.msecs):03} {shown} {who}: {first}{thread}"
        return "\n".join([line, *rest])


class JsonLines(logging.Formatter):
    """An object a line; ``device``, ``thread`` (of the mail) and ``traceback`` where there are."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``record`` as one line of JSON."""
        where = _where(record)
        entry: dict[str, object] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "process": where.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if where.device:
            entry["device"] = where.device
        if where.mail_thread:
            entry["thread"] = where.mail_thread
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
