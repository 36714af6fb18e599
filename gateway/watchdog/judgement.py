"""What is not well, from the facts and the thresholds: one list of `Problem`, and since when.

Pure. A fact that is stale or could not be read is no good news: it is a
problem of its own. One that this machine cannot know (it is no Raspberry Pi) is
none. An absent device is a normal state, unless it was connected before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, Literal

import msgspec

from gateway.config.schema import HealthSettings
from gateway.watchdog.health import Facts, Problem

LOSS_REMEMBERED = 3600.0
"""Seconds for which letters that a spool has lost are a problem."""

_HEAT = "give it air or a heat sink, and look for what keeps the processor busy"
_SUPPLY = (
    "use the supply that is made for this Pi with a short thick cable, and feed motors from"
    " another one; 'gateway doctor' says more"
)
_STACKS = "its stacks in the log say where it hangs; 'gateway ps' shows its mail"
_LOOK = "'gateway ps' and the log say more"
_SAYS_WHY = "the log says why: a file system that is full, read-only or not ours; mend that"


def judge(facts: Facts, settings: HealthSettings, now: float) -> list[Problem]:
    """Return what is not well at the moment ``now``; `Problem.since` is for `Memory` to say."""
    return [*_machine(facts, settings), *_crew(facts), *_devices(facts), *_routes(facts, now)]


class Memory:
    """Since when each problem has been there; written by one thread."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def remember(self, problems: Iterable[Problem], now: float) -> list[Problem]:
        """Return ``problems`` with their beginning; forget those that are gone."""
        found = [
            msgspec.structs.replace(problem, since=self._since.get(problem.key, now))
            for problem in problems
        ]
        self._since = {problem.key: problem.since for problem in found}
        return found


def is_worse(problems: Iterable[Problem], than: Iterable[Problem]) -> bool:
    """Tell whether there is a problem that was not there before, or was less bad."""
    before = {problem.key: problem.level for problem in than}
    return any(
        problem.key not in before
        or (problem.level == "critical" and before[problem.key] == "warning")
        for problem in problems
    )


# The machine


def _machine(facts: Facts, settings: HealthSettings) -> Iterator[Problem]:
    for name, reading in facts.machine.items():
        if reading.quality == "failed":
            advice = "look at it yourself: as long as it cannot be read nobody warns of it"
            yield Problem(f"machine/{name}/failed", "warning", f"{name}: {reading.reason}", advice)
    values = {name: each.value for name, each in facts.machine.items() if each.value is not None}
    if (value := values.get("temperature")) is not None:
        yield from _temperature(value["celsius"], settings)
    if (value := values.get("power")) is not None:
        yield from _power(value)
    if (value := values.get("memory")) is not None and value["total"] > 0:
        yield from _memory(value["available"] / value["total"], settings)
    if (value := values.get("load")) is not None and value["cores"]:
        load = value["15m"] / value["cores"]
        if load > settings.load_warning:
            what = f"the load was {load:.1f} per core over the last 15 minutes"
            yield Problem("machine/load", "warning", what, "look for what keeps it busy: top")
    for name in ("disk_state", "disk_run"):
        if (value := values.get(name)) is not None:
            yield from _disk(name, value, settings)
    if (value := values.get("clock")) is not None and not value["synchronized"]:
        uptime = values.get("uptime")
        if uptime is None or uptime["seconds"] > settings.clock_grace:
            what = "the clock is set by nobody: its time may be wrong"
            advice = "give it a way to a time server: timedatectl timesync-status"
            yield Problem("machine/clock", "warning", what, advice)


def _temperature(celsius: float, settings: HealthSettings) -> Iterator[Problem]:
    level: Literal["warning", "critical"]
    if celsius >= settings.temperature_critical:
        level = "critical"
    elif celsius >= settings.temperature_warning:
        level = "warning"
    else:
        return
    yield Problem("machine/temperature", level, f"it is {celsius:.0f} °C hot", _HEAT)


def _power(value: dict[str, Any]) -> Iterator[Problem]:
    if value["under_voltage"]:
        what = "the supply is too weak now: USB devices drop out"
        yield Problem("machine/power/under_voltage", "critical", what, _SUPPLY)
    elif value["under_voltage_since_start"]:
        what = "the supply was too weak at some time since the start"
        yield Problem("machine/power/under_voltage", "warning", what, _SUPPLY)
    if value["throttled"] or value["frequency_capped"] or value["hot"]:
        what = "the processor is slowed down now, by heat or by a weak supply"
        yield Problem("machine/power/throttled", "warning", what, _HEAT)


def _memory(available: float, settings: HealthSettings) -> Iterator[Problem]:
    advice = "look for what takes it: ps aux --sort=-rss | head"
    what = f"{available:.0%} of the memory is available still"
    if available < settings.memory_critical:
        yield Problem("machine/memory", "critical", what, advice)
    elif available < settings.memory_warning:
        yield Problem("machine/memory", "warning", what, advice)


def _disk(name: str, value: dict[str, Any], settings: HealthSettings) -> Iterator[Problem]:
    place = value["path"]
    if value["read_only"]:
        what = f"{place} can only be read: the kernel does so when a card or disk fails"
        advice = "save what is on it, look into dmesg, and replace it"
        yield Problem(f"machine/{name}/read_only", "critical", what, advice)
    for what, free, total in (
        ("space", value["free"], value["total"]),
        ("inodes", value["inodes_free"], value["inodes"]),
    ):
        # Some file systems have no inodes to count.
        if total <= 0:
            continue
        left = free / total
        said = f"{left:.1%} of the {what} of {place} is free"
        advice = f"make room: du -xh --max-depth=2 {place} | sort -h | tail"
        if left < settings.disk_critical:
            yield Problem(f"machine/{name}/{what}", "critical", said, advice)
        elif left < settings.disk_warning:
            yield Problem(f"machine/{name}/{what}", "warning", said, advice)


# The bus


def _crew(facts: Facts) -> Iterator[Problem]:
    for name, told in facts.processes.items():
        state, cause = told.body.get("state"), told.body.get("cause", "")
        if state in ("failed", "degraded"):
            what = f"the process {name} {_is(state)}: {cause}"
            yield Problem(f"process/{name}", "critical", what, _LOOK)
    for name, told in facts.stuck.items():
        what = f"the process {name} makes no progress: found so after {told.body['seconds']:.0f} s"
        yield Problem(f"process/{name}/stuck", "critical", what, _STACKS)


def _devices(facts: Facts) -> Iterator[Problem]:
    for name, told in facts.devices.items():
        state, cause = told.body.get("state"), told.body.get("cause", "")
        advice = f"'gateway devices {name}' says how it came to that"
        if state == "failed":
            yield Problem(f"device/{name}", "critical", f"{name} failed: {cause}", advice)
        elif state == "stale":
            yield Problem(f"device/{name}", "warning", f"{name} is silent: {cause}", advice)
        elif state == "absent" and _was_connected(facts, name):
            yield Problem(f"device/{name}", "warning", f"{name} is gone: {cause}", advice)


def _was_connected(facts: Facts, name: str) -> bool:
    moves = facts.moves.get(name)
    counts = moves.body.get("counts") if moves is not None else None
    # Who was told to let go of it has not lost it.
    return isinstance(counts, dict) and bool(counts.get("proven")) and not counts.get("stopped", 0)


def _routes(facts: Facts, now: float) -> Iterator[Problem]:
    for name, told in facts.routes.items():
        state, cause = told.body.get("state"), told.body.get("cause", "")
        if state == "failed":
            yield Problem(f"route/{name}", "critical", f"the route {name} failed: {cause}", _LOOK)
        elif state == "waiting":
            yield Problem(f"route/{name}", "warning", f"the route {name} waits: {cause}", _LOOK)
        reading = facts.statistics.get(name)
        crew = facts.processes.get(name)
        # Who does not live owes no answer; where it should live that is a problem of its own.
        is_expected = crew is None or crew.body.get("state") == "living"
        if reading is not None and reading.quality == "failed" and is_expected:
            what = f"the route {name} {reading.reason}"
            yield Problem(f"route/{name}/silent", "warning", what, _LOOK)
        yield from _spool(facts, name, now)


def _spool(facts: Facts, name: str, now: float) -> Iterator[Problem]:
    """Judge what waits for a route, and what it has published for others."""
    if now - facts.spool_losses.get(name, -inf) < LOSS_REMEMBERED:
        what = f"the spool of {name} has lost letters"
        advice = "give it more room (bytes in its table spool), or look why the broker takes none"
        yield Problem(f"route/{name}/spool", "warning", what, advice)
    if now - facts.unwritten.get(name, -inf) < LOSS_REMEMBERED:
        what = f"what {name} published is lost: it could not be written down to wait for its reader"
        yield Problem(f"route/{name}/unwritten", "critical", what, _SAYS_WHY)
    reading = facts.statistics.get(name)
    spool = reading.value.get("spool") if reading is not None and reading.value else None
    flash = spool.get("flash") if isinstance(spool, dict) else None
    failing = flash.get("failing") if isinstance(flash, dict) else None
    if failing:
        what = f"what waits for {name} is in memory only, where a power cut takes it: {failing}"
        yield Problem(f"route/{name}/flash", "warning", what, _SAYS_WHY)


def _is(state: str) -> str:
    return "failed" if state == "failed" else "is given up for now"
