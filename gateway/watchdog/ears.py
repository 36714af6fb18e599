"""What the gateway tells of itself, kept for the report: states, moves, statistics, errors.

Holds the newest of everything, bounded; opens nothing and asks nobody. Used by
one thread. What a foreign process publishes in another shape, or under a name
that is longer than `NAME`, is left out, and texts are cut to `TEXT`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from gateway.mail.abridged import as_unicode
from gateway.mail.message import Message
from gateway.watchdog.health import NAME, ErrorLine, Facts, Told, flat
from gateway.watchdog.reading import Reading, failed

MOST = 4096
"""Names of one kind that are kept."""

TEXT = 1000
"""Characters of one error, or of one cause, that are kept."""

EVENTS = 32
"""Kinds of events that are counted of one device."""

_KEPT = ("state", "connected", "cause", "since", "mode", "restarts")
"""What is kept of a state."""


class Ears:
    """What was heard so far; ``errors`` is how many lines of the log are remembered."""

    def __init__(self, errors: int) -> None:
        self.processes: dict[str, Told] = {}
        self.stuck: dict[str, Told] = {}
        self.routes: dict[str, Told] = {}
        self.devices: dict[str, Told] = {}
        self.moves: dict[str, Told] = {}
        self.statistics: dict[str, Reading] = {}
        self._errors: deque[ErrorLine] = deque(maxlen=errors)
        self._errors_seen: Counter[str] = Counter()
        self._lost: dict[str, int] = {}
        self._lost_at: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}
        self._unwritten_at: dict[str, float] = {}

    def hear(self, message: Message, at: float) -> None:
        """Take in what was published on ``<kind>/<name>/state`` or ``devices/<name>/moves``.

        ``at`` is the moment at which it was heard.
        """
        kind, name, what = message.subject.split("/", 2)
        table = self.moves if what == "moves" else getattr(self, kind)
        name = as_unicode(name)
        if kind == "processes" and not _goes_on_living(message.body):
            self.stuck.pop(name, None)
        if message.body is None:
            table.pop(name, None)
        elif (
            isinstance(message.body, dict)
            and len(name) <= NAME
            and (name in table or len(table) < MOST)
        ):
            table[name] = Told(_kept(message.body), at)

    def hear_stuck(self, message: Message, at: float) -> None:
        """Take in what was published on ``processes/<name>/events/stuck`` or ``goes_on``."""
        _, name, _, what = message.subject.split("/", 3)
        name, body = as_unicode(name), message.body
        if what == "goes_on":
            self.stuck.pop(name, None)
        elif isinstance(body, dict) and name in self.processes:
            seconds = body.get("seconds")
            self.stuck[name] = Told(
                {"seconds": float(seconds) if isinstance(seconds, int | float) else 0.0}, at
            )

    def hear_error(self, body: object) -> None:
        """Take in a line of the log, as `gateway.process.log_stream` makes it."""
        if not isinstance(body, dict):
            return
        level = _text(body.get("level", ""))[:NAME]
        left_out = body.get("left_out")
        self._errors_seen[level] += left_out if isinstance(left_out, int) else 1
        line = ErrorLine(
            time=float(body.get("time", 0.0)),
            level=level,
            process=_text(body.get("process", "")),
            logger=_text(body.get("logger", "")),
            text=_text(body.get("text", "")),
        )
        self._errors.append(line)

    def hear_statistics(self, route: str, body: object, at: float) -> None:
        """Take in what ``route`` answered."""
        if not isinstance(body, dict):
            return
        self.statistics[route] = Reading(body, at)
        spool, unwritten = body.get("spool"), body.get("unwritten")
        dropped = spool.get("dropped") if isinstance(spool, dict) else None
        if isinstance(dropped, int):
            if dropped > self._lost.get(route, 0):
                self._lost_at[route] = at
            self._lost[route] = dropped
        if isinstance(unwritten, dict):
            lost = sum(count for count in unwritten.values() if isinstance(count, int))
            if lost > self._unwritten.get(route, 0):
                self._unwritten_at[route] = at
            self._unwritten[route] = lost

    def miss_statistics(self, route: str, at: float, reason: str) -> None:
        """Note that ``route`` does not answer, in place of what it answered before."""
        self.statistics[route] = failed(at, _text(reason))

    def facts(self, machine: Mapping[str, Reading]) -> Facts:
        """Return all of it, and what was read of the ``machine``."""
        return Facts(
            machine=machine,
            processes=self.processes,
            stuck=self.stuck,
            routes=self.routes,
            devices=self.devices,
            moves=self.moves,
            statistics=self.statistics,
            spool_losses=self._lost_at,
            unwritten=self._unwritten_at,
            errors=tuple(self._errors),
            errors_seen=self._errors_seen,
        )

    def counts(self) -> dict[str, Any]:
        """Return how much is kept."""
        return {
            "processes": len(self.processes),
            "routes": len(self.routes),
            "devices": len(self.devices),
            "errors": len(self._errors),
        }


def _goes_on_living(body: object) -> bool:
    return isinstance(body, dict) and body.get("state") in ("starting", "living")


def _kept(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report tells of a state, or of a device's moves."""
    kept: dict[str, Any] = {}
    for name in _KEPT:
        value = body.get(name)
        if isinstance(value, str):
            kept[name] = _text(value)
        elif isinstance(value, int | float):
            kept[name] = value
    if isinstance(counts := body.get("counts"), dict):
        kept["counts"] = dict(islice(flat(counts).items(), EVENTS))
    return kept


def _text(value: object) -> str:
    return as_unicode(str(value)[:TEXT])
