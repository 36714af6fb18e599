"""The health report as lines that a technician understands at a glance.

What is not well comes first, with what to do about it. Every verdict is a word;
colours only repeat it. Prints nothing, and asks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gateway.cli.table import coloured, count, duration, hanging, table, text

_COLOUR_OF = {
    "fine": "fine",
    "warning": "stale",
    "critical": "failed",
    "stale": "stale",
    "unread": "stale",
    "unknown": "dim",
    "living": "fine",
    "waiting": "stale",
    "degraded": "failed",
    "ended": "dim",
    "stopped": "dim",
    "error": "failed",
}
"""The words of this page, by words that `gateway.cli.table` has a colour for."""

_RANK = {"fine": 0, "unknown": 0, "warning": 1, "critical": 2}


def render(report: dict[str, Any], columns: int = 0, *, colour: bool = False) -> list[str]:
    """Return ``report`` as lines, wrapped to ``columns`` where that is not 0."""
    page = _Page(report, columns, colour=colour)
    sections = [
        page.head(),
        page.problems(),
        page.machine(),
        *(page.states(title) for title in ("processes", "routes", "devices")),
        page.errors(),
    ]
    lines: list[str] = []
    for section in sections:
        if found := list(section):
            lines += ["", *found] if lines else found
    return lines


class _Page:
    def __init__(self, report: dict[str, Any], columns: int, *, colour: bool) -> None:
        self._report = report
        self._columns = columns
        self._colour = colour
        self._now = float(report.get("time") or 0.0)

    def head(self) -> Iterator[str]:
        report = self._report
        verdict, problems = text(report.get("verdict")), report.get("problems", ())
        said = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "well"
        uptime = (_value(report, "uptime") or {}).get("seconds")
        up = f", machine up {duration(uptime)}" if isinstance(uptime, int | float) else ""
        yield f"{text(report.get('node'))}: {self._word(verdict, verdict.upper())}, {said}"
        yield f"version {text(report.get('version'))}{up}, told at {self._clock(self._now)}"

    def problems(self) -> Iterator[str]:
        for problem in self._report.get("problems", ()):
            level = text(problem.get("level"))
            start = self._word(level, f"{level.upper():8}") + "  "
            since = problem.get("since")
            began = f" (for {duration(self._now - since)})" if since else ""
            yield from hanging(start, text(problem.get("what")) + began, self._columns)
            yield from hanging(" " * 10 + "→ ", text(problem.get("advice")), self._columns)

    def machine(self) -> Iterator[str]:
        machine = self._report.get("machine", {})
        rows, said = [], []
        for name, show in _SHOWN.items():
            if (reading := machine.get(name)) is not None:
                word, value = self._judged(name, reading), reading.get("value")
                shown = show(value) if value else text(reading.get("reason"))
                age = reading.get("age") or 0.0
                said.append(shown + (f" ({duration(age)} ago)" if word == "stale" else ""))
                rows.append((_NAMES.get(name, name), word))
        yield from self._table("MACHINE", "VALUE", rows, said)

    def states(self, title: str) -> Iterator[str]:
        states = self._report.get(title, {})
        singular = {"processes": "PROCESS", "routes": "ROUTE", "devices": "DEVICE"}[title]
        rows = [(text(name), text(each.get("state"))) for name, each in states.items()]
        said = []
        for name, each in states.items():
            since = each.get("since")
            told = f"{duration(self._now - since)}: " if since else ""
            said.append(told + text(each.get("cause")) + self._counted(title, name, each))
        yield from self._table(singular, "FOR HOW LONG, AND WHY", rows, said)
        if left_out := (self._report.get("left_out") or {}).get(title):
            yield f"… and {left_out} more"

    def errors(self) -> Iterator[str]:
        errors = self._report.get("errors", ())
        if errors:
            yield "LAST WARNINGS AND ERRORS"
        for line in errors:
            level = text(line.get("level"))
            word, process = self._word(level, f"{level:8}"), text(line.get("process"))
            start = f"{self._clock(line.get('time') or 0.0)} {word} {process}: "
            first, *_ = str(line.get("text", "")).split("\n")
            yield from hanging(start, text(first), self._columns)

    def _table(
        self, title: str, what: str, rows: list[tuple[str, str]], said: list[str]
    ) -> Iterator[str]:
        if not rows:
            return
        head, *lines = table(
            (title, "STATE"),
            # As wide as its heading, that what is said stands below what it is about.
            [(name, word) for name, word in rows],
            paint=lambda row, column, cell: self._word(rows[row][column], cell) if column else cell,
        )
        width = max(len("STATE"), *(len(word) for _, word in rows))
        yield f"{head}{' ' * (width - len('STATE'))}  {what}"
        for line, (_, word), more in zip(lines, rows, said, strict=True):
            yield from hanging(f"{line}{' ' * (width - len(word))}  ", more, self._columns)

    def _judged(self, name: str, reading: dict[str, Any]) -> str:
        """Return the word for one reading: that of the problems about it, or its quality."""
        quality = reading.get("quality")
        if quality == "absent":
            return "unknown"
        if quality == "failed":
            return "unread"
        words = ["stale" if quality == "stale" else "fine"]
        for problem in self._report.get("problems", ()):
            parts = str(problem.get("key", "")).split("/")
            if parts[:2] == ["machine", name]:
                words.append(text(problem.get("level")))
        return max(words, key=lambda word: _RANK.get(word, 0))

    def _clock(self, moment: float) -> str:
        """Return the time of day, with its date where that is not the report's."""
        day, clock = (time.strftime(form, time.localtime(moment)) for form in ("%F", "%T"))
        today = time.strftime("%F", time.localtime(self._now))
        return clock if day == today else f"{day} {clock}"

    def _counted(self, title: str, name: str, state: dict[str, Any]) -> str:
        events = (state.get("events") or {}).get("value") or {}
        if title == "processes" and state.get("restarts"):
            return f" (restarted {_times(state['restarts'])})"
        if title == "devices" and events.get("proven", 0) > 1:
            return f" (connected {_times(int(events['proven']))})"
        if title == "routes":
            counters = state.get("counters") or {}
            if counters.get("quality") == "failed" and state.get("state") != "stopped":
                return f" (but it {text(counters.get('reason'))})"
            spool = (self._report.get("spools", {}).get(name) or {}).get("value") or {}
            if isinstance(waiting := spool.get("queued"), int) and waiting:
                return f" ({count(waiting)} wait{'s' * (waiting == 1)} in its spool)"
        return ""

    def _word(self, word: str, shown: str) -> str:
        return coloured(shown, _COLOUR_OF.get(word, word), on=self._colour)


def _value(report: dict[str, Any], name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (report.get("machine", {}).get(name) or {}).get("value")
    return found


def _times(number: int) -> str:
    return "once" if number == 1 else f"{count(number)} times"


def _temperature(value: dict[str, Any]) -> str:
    return f"{value['celsius']:.1f} °C"


def _power(value: dict[str, Any]) -> str:
    now = [name for name in ("under_voltage", "throttled", "frequency_capped") if value.get(name)]
    earlier = [name for name in ("under_voltage", "throttled") if value.get(f"{name}_since_start")]
    if now:
        return ", ".join(now).replace("_", "-") + " now"
    if earlier:
        return ", ".join(earlier).replace("_", "-") + " since the start, not now"
    return "enough"


def _memory(value: dict[str, Any]) -> str:
    return f"{_size(value['available'])} of {_size(value['total'])} available"


def _load(value: dict[str, Any]) -> str:
    cores = f" on {value['cores']} cores" if value.get("cores") else ""
    return f"{value['1m']:.2f} {value['5m']:.2f} {value['15m']:.2f}{cores}"


def _disk(value: dict[str, Any]) -> str:
    kind = f" ({text(value['type'])})" if value.get("type") else ""
    mode = ", READ-ONLY" if value.get("read_only") else ""
    return (
        f"{text(value['path'])}{kind}: {_size(value['free'])} of {_size(value['total'])} free{mode}"
    )


def _clock(value: dict[str, Any]) -> str:
    if not value.get("synchronized"):
        return "set by nobody"
    error = value.get("error_seconds")
    return "synchronized" + (f", to {error:.3f} s" if isinstance(error, int | float) else "")


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit in ("B", "kB") else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


_SHOWN = {
    "temperature": _temperature,
    "power": _power,
    "memory": _memory,
    "load": _load,
    "disk_state": _disk,
    "disk_run": _disk,
    "clock": _clock,
}
"""The readings in their order, and what is shown of each."""

_NAMES = {"disk_state": "disk", "disk_run": "sockets"}
