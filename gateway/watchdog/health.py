"""The health report: what it is made of, and how it is put together from what was read and heard.

Pure: readings, publications and the time are handed in. Everything in it has an
age, in seconds, and a quality (`gateway.watchdog.reading`). Its size is
bounded: of each kind `MOST` are told, and how many were left out; `fitted` leaves
out what matters least until it has no more bytes than it may have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Literal

import msgspec

from gateway.mail.abridged import as_unicode
from gateway.watchdog.reading import Aged, Reading, aged

Verdict = Literal["fine", "warning", "critical"]

RANKS: dict[Verdict, int] = {"fine": 0, "warning": 1, "critical": 2}

MOST = 256
"""Processes, routes, devices and problems that one report names of each."""

COUNTERS = 96
"""Counters that are told of one route."""

NAME = 255
"""Characters of the longest name that is told, of a process or of a counter."""

BYTES = 60_000
"""Bytes of JSON of a report for who is far away: over MQTT 64 kB pass where nobody says more."""

WHOLE_BYTES = 500_000
"""Bytes of JSON of a report for who is in the house."""

_DEPTH = 4


class Problem(msgspec.Struct, frozen=True):
    """What is not well: ``what``, since when (seconds since 1970), and what to do about it."""

    key: str
    """By which it is known again, as ``device/wheels/failed``."""
    level: Literal["warning", "critical"]
    what: str
    advice: str
    since: float = 0.0
    """A moment within the gateway, seconds since 1970 in a report."""


class ErrorLine(msgspec.Struct, frozen=True):
    """A warning, or worse, of the log."""

    time: float
    level: str
    process: str
    logger: str
    text: str


class Told(msgspec.Struct, frozen=True):
    """How a process, a route or a device is, as it was told at the moment ``at``."""

    body: dict[str, Any]
    at: float


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one of them is; ``age`` is how long ago that was told, ``since`` when it came to it."""

    state: str
    cause: str
    since: float | None
    age: float
    quality: str = "good"
    connected: bool | None = None
    mode: str | None = None
    restarts: int | None = None
    counters: Aged | None = None
    """What a route, or the thread of a device's driver, has counted."""
    events: Aged | None = None
    """Of a device: how often each thing has happened to it, as of its last move."""


class Report(msgspec.Struct, frozen=True):
    """How one gateway is, at ``time`` in seconds since 1970."""

    time: float
    node: str
    version: str
    verdict: Verdict
    problems: tuple[Problem, ...]
    machine: dict[str, Aged]
    processes: dict[str, State]
    routes: dict[str, State]
    devices: dict[str, State]
    spools: dict[str, Aged]
    errors: tuple[ErrorLine, ...]
    errors_seen: dict[str, int]
    """How many warnings, errors and so on the log has had since the start."""
    left_out: dict[str, int]
    """How many more there are than the report names; by ``counters``, of how many devices
    those are not told."""


class Facts(msgspec.Struct, frozen=True):
    """What a report is made from; `gateway.watchdog.ears` keeps it."""

    machine: Mapping[str, Reading] = {}
    processes: Mapping[str, Told] = {}
    stuck: Mapping[str, Told] = {}
    """The processes that were found stuck, and did not go on or end since."""
    routes: Mapping[str, Told] = {}
    devices: Mapping[str, Told] = {}
    moves: Mapping[str, Told] = {}
    """Of the devices: what happened how often."""
    statistics: Mapping[str, Reading] = {}
    """Of the routes: what they answered when they were asked."""
    spool_losses: Mapping[str, float] = {}
    """When a route's spool has lost letters, the last time."""
    unwritten: Mapping[str, float] = {}
    """When what a route has published could not be written into a spool, the last time."""
    errors: tuple[ErrorLine, ...] = ()
    errors_seen: Mapping[str, int] = {}


def put_together(
    facts: Facts,
    problems: Iterable[Problem],
    *,
    moment: float,
    time: float,
    node: str,
    version: str,
    stale_after: float,
) -> Report:
    """Return the report of what is so at ``moment``, which is ``time`` in seconds since 1970."""
    found = [
        msgspec.structs.replace(problem, since=time - (moment - problem.since))
        for problem in sorted(problems, key=lambda each: (-RANKS[each.level], each.since))
    ]
    hosted = _hosted(facts.statistics)
    devices = {
        name: _state(
            told,
            moment,
            _counters(hosted.get(name), moment, stale_after),
            _happened(facts.moves.get(name), moment),
        )
        for name, told in _first(facts.devices)
    }
    routes = {
        name: _state(told, moment, _counters(_own(facts.statistics.get(name)), moment, stale_after))
        for name, told in _first(facts.routes)
    }
    spools = {
        name: aged(
            msgspec.structs.replace(reading, value=reading.value["spool"]), moment, stale_after
        )
        for name, reading in _first(facts.statistics)
        if reading.value is not None and isinstance(reading.value.get("spool"), dict)
    }
    kinds = {
        "processes": facts.processes,
        "routes": facts.routes,
        "devices": facts.devices,
        "problems": found,
    }
    return Report(
        time=time,
        node=node,
        version=version,
        verdict=worst(found),
        problems=tuple(found[:MOST]),
        machine={name: aged(each, moment, stale_after) for name, each in facts.machine.items()},
        processes={name: _state(told, moment) for name, told in _first(facts.processes)},
        routes=routes,
        devices=devices,
        spools=spools,
        errors=facts.errors,
        errors_seen=dict(facts.errors_seen),
        left_out={kind: len(all_) - MOST for kind, all_ in kinds.items() if len(all_) > MOST},
    )


def worst(problems: Iterable[Problem]) -> Verdict:
    """Return what they come to: as bad as the worst of them, ``fine`` where there is none."""
    return max((problem.level for problem in problems), key=RANKS.__getitem__, default="fine")


def fitted(report: Report, most: int) -> Report:
    """Return ``report`` in ``most`` bytes of JSON or less; `Report.left_out` tells what it lacks.

    Left out are, one after the other and as far as needed: what is counted of devices that
    are well; of all devices; half of every table, again and again.
    """
    for slimmer in _SLIMMER:
        if _size(report) <= most:
            break
        report = slimmer(report)
    return report


def _size(report: Report) -> int:
    try:
        return len(msgspec.json.encode(report))
    except UnicodeEncodeError:
        # A route said so within this OS process: whoever writes it as JSON will refuse it.
        return len(repr(report))


def _without_counters(report: Report, *, of_all: bool) -> Report:
    """Leave out what is counted of devices: ``of_all``, or of those that are well."""
    unwell = {problem.key for problem in report.problems}
    slim = {
        name: msgspec.structs.replace(state, counters=None)
        for name, state in report.devices.items()
        if of_all or f"device/{name}" not in unwell
    }
    devices = {**report.devices, **slim}
    left_out = {**report.left_out, "counters": len(slim)}
    return msgspec.structs.replace(report, devices=devices, left_out=left_out)


def _with_rows(report: Report, *, rows: int) -> Report:
    """Leave ``rows`` of every table, and as many of the last errors."""
    left_out = Counter(report.left_out)
    fewer: dict[str, Any] = {"errors": report.errors[max(0, len(report.errors) - rows) :]}
    for name in ("problems", "processes", "routes", "devices", "spools"):
        kept = getattr(report, name)
        left_out[name] += max(0, len(kept) - rows)
        fewer[name] = dict(islice(kept.items(), rows)) if isinstance(kept, dict) else kept[:rows]
    return msgspec.structs.replace(report, **fewer, left_out=dict(+left_out))


_SLIMMER: tuple[Callable[[Report], Report], ...] = (
    partial(_without_counters, of_all=False),
    partial(_without_counters, of_all=True),
    *(partial(_with_rows, rows=MOST >> halves) for halves in range(1, MOST.bit_length() + 1)),
)


def flat(value: Mapping[str, Any], prefix: str = "", depth: int = _DEPTH) -> dict[str, float]:
    """Return the numbers in ``value`` by dotted names; words and truth values are no counts.

    >>> flat({"mail": {"accepted": 3, "closed": False}, "connection": "waiting"})
    {'mail.accepted': 3}
    """
    found: dict[str, float] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and depth > 1:
            found.update(flat(inner, f"{prefix}{name}.", depth - 1))
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            found[f"{prefix}{name}"] = inner
    return found


def _first(table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, table[name]) for name in sorted(table)[:MOST]]


def _hosted(statistics: Mapping[str, Reading]) -> dict[str, Reading]:
    """Return what routes have counted of each device that they host."""
    found = {}
    for reading in statistics.values():
        devices = reading.value.get("devices") if reading.value is not None else None
        for name, counts in devices.items() if isinstance(devices, dict) else ():
            if isinstance(counts, dict):
                found[name] = msgspec.structs.replace(reading, value=counts)
    return found


def _own(reading: Reading | None) -> Reading | None:
    """Return what a route has counted, without its devices, which have their own place."""
    if (
        reading is None
        or reading.value is None
        or not isinstance(reading.value.get("devices"), dict)
    ):
        return reading
    value = {name: each for name, each in reading.value.items() if name != "devices"}
    return msgspec.structs.replace(reading, value=value)


def _state(
    told: Told, moment: float, counters: Aged | None = None, events: Aged | None = None
) -> State:
    body = told.body
    since, connected = body.get("since"), body.get("connected")
    mode, restarts = body.get("mode"), body.get("restarts")
    return State(
        state=str(body.get("state", "unknown")),
        cause=str(body.get("cause", "")),
        since=since if isinstance(since, int | float) else None,
        age=round(max(0.0, moment - told.at), 3),
        connected=connected if isinstance(connected, bool) else None,
        mode=mode if isinstance(mode, str) else None,
        restarts=restarts if isinstance(restarts, int) else None,
        counters=counters,
        events=events,
    )


def _counters(reading: Reading | None, moment: float, stale_after: float) -> Aged | None:
    if reading is None:
        return None
    if reading.value is None:
        return aged(reading, moment, stale_after)
    counted = sorted((as_unicode(name), number) for name, number in flat(reading.value).items())
    value = dict([(name, number) for name, number in counted if len(name) <= NAME][:COUNTERS])
    return aged(msgspec.structs.replace(reading, value=value), moment, stale_after)


def _happened(told: Told | None, moment: float) -> Aged | None:
    """Return how often what happened to a device; its moves are told when it makes them."""
    counts = told.body.get("counts") if told is not None else None
    if told is None or not isinstance(counts, dict):
        return None
    return Aged(dict(flat(counts)), "good", round(max(0.0, moment - told.at), 3))
