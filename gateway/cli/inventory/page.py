"""``gateway devices NAME``: all that is known of one device, as a page.

How it is and why, who it is, what it can be told and what it says, how it came to be
as it is, and what was counted. Pure: shows what was published, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.cli.inventory.house import HousedDevice
from gateway.cli.inventory.sight import id_of, name_of, serial_of
from gateway.cli.table import coloured, duration, hanging, table, text
from gateway.hosting.plugged import PluggedDevice

NEWEST = 10
"""Moves that are shown; ``--json`` has all that are kept."""


def as_json(device: HousedDevice, plugged: PluggedDevice | None) -> dict[str, Any]:
    """Return the device as data, as it was published."""
    return {
        "device": device.name,
        "state": device.state,
        "claim": device.claim,
        "plugged": plugged and {"name": name_of(plugged), "links": list(plugged.names[1:])},
        "info": device.info,
        "moves": device.moves,
        "counters": device.counters,
    }


def render(
    device: HousedDevice, plugged: PluggedDevice | None, now: float, columns: int, *, colour: bool
) -> list[str]:
    """Return the page, wrapped to ``columns`` where that is not 0."""
    parts = [
        _state(device, now, columns, colour=colour),
        _identity(device, plugged, columns),
        _commands(device.info or {}, columns),
        _publications(device.info or {}, columns),
        _moves(device.moves or {}, now, columns, colour=colour),
        _counters(device, columns),
    ]
    lines: list[str] = []
    for part in parts:
        if part:
            lines += ["", *part] if lines else part
    return lines


def _state(device: HousedDevice, now: float, columns: int, *, colour: bool) -> list[str]:
    state = text(device.state.get("state"))
    began = device.state.get("since")
    since = f" for {duration(now - began)}" if isinstance(began, int | float) and began > 0 else ""
    head = f"{text(device.name)} is {coloured(state, state, on=colour)}{since}: "
    return hanging(head, text(device.state.get("cause")), columns)


def _identity(device: HousedDevice, plugged: PluggedDevice | None, columns: int) -> list[str]:
    info = device.info or {}
    who = info.get("identity") or {}
    board = [f"{key.replace('_', ' ')} {value}" for key, value in who.items() if value]
    facts = {"driver": info.get("driver"), "board": ", ".join(board)}
    if device.claim:
        facts["port"] = device.node or device.sys_path
    if plugged is not None:
        number = f", serial number {serial_of(plugged)}" if serial_of(plugged) else ""
        facts["plugged in"] = f"{name_of(plugged)} {id_of(plugged)}{number}".strip()
        facts["also called"] = " ".join(plugged.names[1:])
    known = {key: str(value) for key, value in facts.items() if value}
    if not known:
        return []
    width = max(map(len, known))
    lines = []
    for key, value in known.items():
        lines += hanging(f"{key.ljust(width)}  ", text(value), columns)
    return lines


def _commands(info: Mapping[str, Any], columns: int) -> list[str]:
    commands = _tables(info.get("commands"))
    if not commands:
        return []
    lines = ["it can be told:"]
    for name, command in commands.items():
        parameters = ", ".join(
            _parameter(each, about) for each, about in _tables(command.get("parameters")).items()
        )
        returns = str(command.get("returns") or "None")
        unit = _in_brackets(command.get("returns_unit"))
        answer = "" if returns == "None" else f" → {returns}{unit}"
        lines += hanging(f"  {text(name)}(", text(f"{parameters}){answer}"), columns)
        lines += _described(command, columns)
    return lines


def _parameter(name: str, about: Mapping[str, Any]) -> str:
    unit = _in_brackets(about.get("unit"))
    optional = "" if about.get("required", True) else " (optional)"
    return f"{name}: {about.get('type', '?')}{unit}{optional}"


def _described(command: Mapping[str, Any], columns: int) -> list[str]:
    first = str(command.get("description") or "").partition("\n")[0]
    return hanging("      ", text(first), columns) if first else []


def _publications(info: Mapping[str, Any], columns: int) -> list[str]:
    publications = _list(info.get("publications"))
    if not publications:
        return []
    lines = ["it says:"]
    for each in publications:
        fields = ", ".join(
            _parameter(name, about) for name, about in _tables(each.get("fields")).items()
        )
        unit = _in_brackets(each.get("unit"))
        body = fields or f"{each.get('body', '?')}{unit}"
        lines += hanging(f"  {text(each.get('topic'))}: ", text(body), columns)
    return lines


def _moves(moves: Mapping[str, Any], now: float, columns: int, *, colour: bool) -> list[str]:
    kept = _list(moves.get("moves"))[-NEWEST:]
    if not kept:
        return []
    cells = [(_when(each.get("at"), now), text(each.get("state"))) for each in kept]
    head, *rest = table(
        ("WHEN", "MOVED TO"),
        cells,
        paint=lambda row, column, cell: (
            coloured(cell, cells[row][1], on=colour) if column == 1 else cell
        ),
    )
    width = max(len(cell) for _, cell in [*cells, ("", "MOVED TO")])
    lines = [f"{head}  BECAUSE"]
    for line, each, (_, state) in zip(rest, kept, cells, strict=True):
        padding = " " * (width - len(state))
        lines += hanging(f"{line}{padding}  ", text(each.get("cause")), columns)
    return lines


def _when(at: object, now: float) -> str:
    if not isinstance(at, int | float):
        return "-"
    try:
        moment = datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):
        # A clock that was never set, or nonsense: no year has it.
        return "-"
    return f"{moment:%Y-%m-%d %H:%M:%S} ({duration(now - at)} ago)"


def _counters(device: HousedDevice, columns: int) -> list[str]:
    happened = (device.moves or {}).get("counts")
    counted = {
        **{f"{event}": count for event, count in _numbers(happened).items()},
        **{name: count for name, count in _numbers(device.counters).items() if count},
    }
    if not counted:
        return []
    said = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counted.items())
    return hanging("counted: ", text(said), columns)


def _numbers(table: object) -> dict[str, int]:
    if not isinstance(table, Mapping):
        return {}
    return {str(name): each for name, each in table.items() if type(each) is int}


def _tables(value: object) -> dict[str, Mapping[str, Any]]:
    """Return the tables in a table, by name."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): each for name, each in value.items() if isinstance(each, Mapping)}


def _list(value: object) -> list[Mapping[str, Any]]:
    """Return the tables in an array."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def _in_brackets(unit: str | None) -> str:
    """Return a unit as it stands behind a type; a mere number has none to show."""
    return f" [{unit}]" if unit and unit != "1" else ""
