"""``gateway devices``: what is plugged in beside who claims it, as rows and as JSON.

Pure. Each thing that is plugged in is a row; the gateway's devices that have nothing
plugged in come after them, and what the gateway calls connected yet nobody can see
(``socket://…``) among these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.cli.inventory.house import House, HousedDevice
from gateway.cli.inventory.sight import Sighting, id_of, listed, name_of, serial_of
from gateway.cli.table import coloured, hanging, since, table, text
from gateway.hosting.plugged import PluggedDevice

STRANGER = "stranger"
SHORTEST = 16
"""Characters that are left of a name, however narrow the screen."""
_NAME = 1


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is plugged in, and the device of the gateway's that has it."""

    plugged: PluggedDevice
    holder: HousedDevice | None = None


def rows(sighting: Sighting, house: House) -> tuple[list[Row], list[HousedDevice]]:
    """Return what is plugged in, and which of the gateway's devices have none of that."""
    shown = listed(sighting.devices)
    here = {device.sys_path for device in shown}
    # What is claimed is shown whatever it is.
    shown += [
        device
        for device in sighting.devices
        if device.sys_path not in here and house.holder(device.node, device.sys_path)
    ]
    found = [
        Row(plugged=device, holder=house.holder(device.node, device.sys_path)) for device in shown
    ]
    seen = {row.holder.name for row in found if row.holder is not None}
    return found, [device for name, device in sorted(house.devices.items()) if name not in seen]


def as_json(sighting: Sighting, house: House) -> dict[str, Any]:
    """Return the same as data."""
    plugged, unplugged = rows(sighting, house)
    return {
        "gateway": {"reached": not house.trouble, "trouble": house.trouble},
        "note": sighting.note,
        "plugged": [
            {
                "node": row.plugged.node,
                "path": row.plugged.sys_path,
                "subsystem": row.plugged.subsystem,
                "name": name_of(row.plugged),
                "id": id_of(row.plugged),
                "serial": serial_of(row.plugged),
                "links": list(row.plugged.names[1:]),
                "device": row.holder.name if row.holder else None,
                "state": row.holder.state if row.holder else None,
            }
            for row in plugged
        ],
        "unplugged": [{"device": device.name, "state": device.state} for device in unplugged],
    }


def render(sighting: Sighting, house: House, columns: int, *, colour: bool) -> list[str]:
    """Return the same as lines for people, wrapped to ``columns`` where that is not 0."""
    plugged, unplugged = rows(sighting, house)
    lines: list[str] = []
    if plugged:
        lines += _plugged(plugged, house, columns, colour=colour)
    else:
        lines += hanging("", "nothing is plugged in that a gateway could talk to", columns)
    if unplugged:
        lines += ["", *_unplugged(unplugged, house.time, columns, colour=colour)]
    notes = [note for note in (house.trouble, sighting.note) if note]
    if house.trouble:
        notes[0] = f"who claims what is not known: {house.trouble}"
    strangers = [row for row in plugged if row.holder is None]
    if strangers and not house.trouble:
        example = strangers[0].plugged.node or strangers[0].plugged.sys_path
        notes.append(f"what to write for a stranger: gateway devices {example}")
    if notes:
        lines.append("")
    for note in notes:
        lines += hanging("", text(note), columns)
    return lines


def _plugged(plugged: Sequence[Row], house: House, columns: int, *, colour: bool) -> list[str]:
    header = ("PORT", "WHAT IT IS", "ID", "SERIAL", "DEVICE", "STATE", "SINCE")
    cells = []
    for row in plugged:
        device, holder = row.plugged, row.holder
        state = holder.state if holder else {}
        word = text(state.get("state")) if holder else "" if house.trouble else STRANGER
        cells.append(
            (
                text(device.node or device.sys_path),
                text(name_of(device)),
                id_of(device) or "-",
                text(serial_of(device) or "-"),
                text(holder.name) if holder else "-",
                word or "?",
                since(state, house.time),
            )
        )
    lines = table(
        header,
        _cut_to(columns, header, cells),
        right=frozenset({6}),
        paint=lambda row, column, cell: (
            coloured(cell, cells[row][5], on=colour) if column == 5 else cell
        ),
    )
    for row in plugged:
        cause = row.holder.state.get("cause") if row.holder else None
        if cause and row.holder and row.holder.state.get("state") not in ("healthy", "proven"):
            lines += hanging(f"  {text(row.holder.name)}: ", text(cause), columns)
    return lines


def _cut_to(
    columns: int, header: Sequence[str], cells: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Return ``cells`` with names that let each row fit on a line, as far as that may be."""
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    too_wide = sum(widths) + 2 * (len(widths) - 1) - columns if columns else 0
    room = max(SHORTEST, widths[_NAME] - max(0, too_wide))
    return [
        (*row[:_NAME], name if len(name) <= room else f"{name[: room - 1]}…", *row[_NAME + 1 :])
        for row in cells
        for name in [row[_NAME]]
    ]


def _unplugged(
    devices: Sequence[HousedDevice], now: float, columns: int, *, colour: bool
) -> list[str]:
    cells = [
        (
            text(each.name),
            text(each.state.get("state")),
            since(each.state, now),
            text(each.node or "-"),
        )
        for each in devices
    ]
    head, *rest = table(
        ("NOT AMONG THESE", "STATE", "SINCE", "PORT"),
        cells,
        right=frozenset({2}),
        paint=lambda row, column, cell: (
            coloured(cell, cells[row][1], on=colour) if column == 1 else cell
        ),
    )
    width = max(len("PORT"), *(len(port) for *_, port in cells))
    lines = [f"{head}{' ' * (width - len('PORT'))}  CAUSE"]
    for line, (*_, port), device in zip(rest, cells, devices, strict=True):
        padding = " " * (width - len(port))
        lines += hanging(f"{line}{padding}  ", text(device.state.get("cause")), columns)
    return lines
