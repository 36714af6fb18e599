"""Which records are logged: a level for all, for single loggers, and for single processes.

`Levels` is data: the boss keeps it, tells it to every OS process in the book,
and so to each that is forked later; `apply` makes it hold in this one. Where
several processes share an OS process, `Sieve` tells their records apart.

Refused: levels that are none (`ValueError`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import msgspec

from gateway.process.whereabouts import here

NAMES = ("debug", "info", "warning", "error", "critical")
"""The levels, by what they are called here."""

NOTICE = "log_levels"
"""Under what the book carries them."""


class Levels(msgspec.Struct, frozen=True):
    """Levels by name. What is not in here is as it was at the start.

    ``default`` is for all, ``loggers`` for a logger and those below it
    (``routes.mqtt``), ``processes`` for all that one process logs. Where two
    of them name a record, the more talkative one holds.
    """

    default: str = ""
    loggers: dict[str, str] = {}
    processes: dict[str, str] = {}


def number(name: str) -> int:
    """Return a level's number; raise `ValueError` that says which there are.

    >>> number("warning")
    30
    >>> number("loud")
    Traceback (most recent call last):
    ValueError: 'loud' is no level: use debug, info, warning, error, critical
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is no level: use {', '.join(NAMES)}")
    return int(getattr(logging, name.upper()))


class Sieve:
    """A filter for handlers: notes where a record comes from, and lets through what is wanted."""

    def __init__(self) -> None:
        self._levels = Levels()
        self._default = 0
        self._floor: int | None = None
        self._is_lowered = False
        self._as_it_was: dict[str, int] = {}

    def __call__(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` is wanted; called by whoever logs, on its thread."""
        where = here()
        record.__dict__["whereabouts"] = where
        levels = self._levels
        if not levels.processes and not self._is_lowered:
            return True
        wanted = [
            number(level)
            for name, level in levels.loggers.items()
            if record.name == name or record.name.startswith(f"{name}.")
        ]
        level = levels.processes.get(where.process)
        if level is not None:
            wanted.append(number(level))
        return record.levelno >= (min(wanted) if wanted else self._default)

    def apply(self, levels: Levels, processes: Collection[str], floor: int | None = None) -> None:
        """Have ``levels`` hold in this OS process, where ``processes`` live.

        Records from ``floor`` upwards are made as well, for handlers that say by
        ``is_sieved = False`` that they judge for themselves.
        """
        root = logging.getLogger()
        if levels == self._levels and not levels.processes and floor == self._floor:
            return
        self._as_it_was.setdefault("root", root.level)
        own = {name: level for name, level in levels.processes.items() if name in processes}
        self._default = number(levels.default) if levels.default else self._as_it_was["root"]
        self._levels = msgspec.structs.replace(levels, processes=own)
        self._floor = floor
        # Only then are there records that the log which is written does not want.
        self._is_lowered = floor is not None and floor < self._default
        least = [self._default, *map(number, own.values())]
        root.setLevel(min(least if floor is None else [*least, floor]))
        for name in self._as_it_was.keys() - levels.loggers.keys() - {"root"}:
            logging.getLogger(name).setLevel(self._as_it_was.pop(name))
        for name, level in levels.loggers.items():
            logger = logging.getLogger(name)
            self._as_it_was.setdefault(name, logger.level)
            logger.setLevel(number(level))
        if floor is None and not levels.default and not own:
            # All is as it was at the start, and whoever else sets the level may do so.
            del self._as_it_was["root"]
        for handler in root.handlers:
            if getattr(handler, "is_sieved", True):
                handler.addFilter(self)


sieve = Sieve()
"""The one of this OS process, as `logging` itself is one."""
