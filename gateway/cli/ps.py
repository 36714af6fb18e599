"""``gateway ps``: who is there, how each is, and which boards are connected.

Asks the running gateway over its socket. A process that does not answer in
time is shown as such; the rest is shown all the same. Where the output is a
terminal, long causes are wrapped to its width.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

SUMMARY = "list the processes and devices of the running gateway"

EPILOG = """\
UP is how long a process has been in its state; RESTARTS, how often it had to be
restarted. Of the MAIL that it was sent, in this life and those before, READ was
handed to it, WAITS is still in its mailbox, and LOST was too late, too much, or
died with it. One that is not answering is busy or stuck; its mail waits.

examples:
  gateway ps
  gateway ps --json | jq '.devices[] | select(.connected | not) | .name'

exit status: 0 it was told, 1 the gateway could not be asked
"""

_MAIL = ("MAIL", "READ", "WAITS", "LOST")
_LOST = ("dropped", "expired", "lost_with_reader", "in_doubt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what the gateway says of itself; return 0."""
    from gateway.client import Client

    with Client(arguments.socket) as gateway:
        report = gateway.ps()
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return 0
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print("\n".join(render(report, columns)))
    return 0


def render(report: dict[str, Any], columns: int = 0) -> list[str]:
    """Return ``report`` as lines for people, wrapped to ``columns`` where that is not 0."""
    now = float(report.get("time", 0.0))
    processes = [_process(process, now) for process in report.get("processes", ())]
    header = ("PROCESS", "MODE", "STATE", "UP", "RESTARTS", "PID", *_MAIL)
    lines = [f"node {_text(report.get('node'))}, version {_text(report.get('version'))}", ""]
    lines += _table(header, processes, right=frozenset(range(3, len(header))))
    lines += _troubles(report.get("processes", ()), columns)
    for title in ("routes", "devices"):
        states = report.get(title, ())
        rows = [
            (_text(state.get("name")), _text(state.get("state")), _since(state, now))
            for state in states
        ]
        if not rows:
            lines += ["", f"no {title}"]
            continue
        head, *rest = _table((title[:-1].upper(), "STATE", "SINCE"), rows, right=frozenset({2}))
        lines += ["", f"{head}  CAUSE"]
        for line, state in zip(rest, states, strict=True):
            lines += _hanging(f"{line}  ", _text(state.get("cause")), columns)
    return lines


def _process(process: dict[str, Any], now: float) -> tuple[str, ...]:
    mail = process.get("ledger") or {}
    lost = sum(mail.get(name, 0) for name in _LOST)
    counts = mail.get("accepted", 0), mail.get("delivered", 0), mail.get("queued", 0), lost
    return (
        _text(process.get("name")),
        _text(process.get("mode")),
        _text(process.get("state")),
        _since(process, now),
        str(process.get("restarts", 0)),
        str(process.get("pid") or "-"),
        *map(_count, counts),
    )


def _is_silent(process: dict[str, Any]) -> bool:
    return process.get("state") == "living" and not process.get("answers")


def _troubles(processes: Iterable[dict[str, Any]], columns: int) -> list[str]:
    """Return what is to be known of those processes that are not there, or do not answer."""
    lines = []
    for process in processes:
        if _is_silent(process):
            start = f"{_text(process.get('name'))} is not answering: "
            lines += _hanging(start, "it is busy or stuck, and its mail waits", columns)
        elif process.get("state") != "living":
            start = f"{_text(process.get('name'))} {_text(process.get('state'))}: "
            lines += _hanging(start, _text(process.get("cause")), columns)
    return ["", *lines] if lines else []


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int]
) -> list[str]:
    """Return aligned lines; the columns ``right`` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _hanging(start: str, text: str, columns: int) -> list[str]:
    """Return ``start`` and ``text``, which goes on below itself where a line is full."""
    room = columns - len(start)
    fits = not columns or not text or room < 20
    first, *rest = [text] if fits else wrap(text, room, break_on_hyphens=False)
    return [(start + first).rstrip(), *(" " * len(start) + more for more in rest)]


def _since(state: dict[str, Any], now: float) -> str:
    since = state.get("since")
    return _duration(now - since) if isinstance(since, int | float) and since > 0 else "-"


def _duration(seconds: float) -> str:
    """Return a span of time in two units at the most.

    >>> [_duration(seconds) for seconds in (0.4, 75, 7500, 200_000)]
    ['0s', '1m15s', '2h05m', '2d07h']
    """
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def _count(number: int) -> str:
    """Return a count in five characters.

    >>> [_count(number) for number in (0, 9999, 12_345, 4_500_000, 7_000_000_000)]
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


def _text(value: Any) -> str:
    """Return ``value`` as text that cannot write to the terminal's controls."""
    text = "-" if value is None else str(value)
    return text if text.isprintable() else ascii(text)[1:-1]
