"""Lines that people read: aligned columns, wrapped causes, spans of time, colours.

What comes from outside is shown by `text`, so that no name of a device can write to
the terminal's controls. Prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

Paint = Callable[[int, int, str], str]
"""Colours the cell in a row and column (both from 0, the header is no row), padded already."""

_COLOURS = {
    **dict.fromkeys(("healthy", "proven", "fine", "connected"), "32"),
    **dict.fromkeys(("stale", "open", "present", "unknown", "stranger", "waiting"), "33"),
    **dict.fromkeys(("failed", "wrong"), "31"),
    **dict.fromkeys(("absent", "dim"), "2"),
}
"""What a word stands for, as a terminal's colour."""
_ESCAPE = re.compile(r"\x1b\[\d*m")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    paint: Paint | None = None,
) -> list[str]:
    """Return aligned lines; the columns ``right`` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for number, row in enumerate((header, *rows), -1):
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        cells[-1] = cells[-1].rstrip()
        if paint and number >= 0:
            cells = [paint(number, column, cell) for column, cell in enumerate(cells)]
        lines.append("  ".join(cells).rstrip())
    return lines


def coloured(shown: str, word: str, *, on: bool) -> str:
    """Return ``shown`` in the colour that ``word``, a state or a verdict, has on terminals."""
    code = _COLOURS.get(word.strip())
    return f"\x1b[{code}m{shown}\x1b[0m" if on and code else shown


def hanging(start: str, said: str, columns: int) -> list[str]:
    """Return ``start`` and ``said``, which goes on below itself where a line is full."""
    width = len(_ESCAPE.sub("", start))
    room = columns - width
    fits = not columns or not said or room < 20
    first, *rest = [said] if fits else wrap(said, room, break_on_hyphens=False)
    return [(start + first).rstrip(), *(" " * width + more for more in rest)]


def since(state: dict[str, Any], now: float) -> str:
    """Return for how long ``state`` has been as it is; a dash where nobody knows."""
    began = state.get("since")
    return duration(now - began) if isinstance(began, int | float) and began > 0 else "-"


def duration(seconds: float) -> str:
    """Return a span of time in two units at the most.

    >>> [duration(seconds) for seconds in (0.4, 75, 7500, 200_000)]
    ['0s', '1m15s', '2h05m', '2d07h']
    """
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def count(number: int) -> str:
    """Return a count in five characters.

    >>> [count(number) for number in (0, 9999, 12_345, 4_500_000, 7_000_000_000)]
    ['0', '9999', '12.3k', '4.5M', '7.0G']
    """
    if number < 10_000:
        return str(number)
    power, unit = next(
        (power, unit)
        for power, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
        if number < power * 1000 or unit == "T"
    )
    return f"{number / power:.1f}{unit}" if number < power * 100 else f"{number / power:.0f}{unit}"


def text(value: Any) -> str:
    """Return ``value`` as text that cannot write to the terminal's controls."""
    said = "-" if value is None else str(value)
    return said if said.isprintable() else ascii(said)[1:-1]
