"""What the route knows when somebody scrapes: the last health report, and the states since.

Written and read by the route's thread alone. What has another shape than it
should is left out: a metric is never made of a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.mail.message import Message

MOST = 10_000
"""Names of one kind that are kept."""


class Known:
    """The newest of everything."""

    def __init__(self) -> None:
        self.report: Mapping[str, Any] = {}
        self.routes: dict[str, Mapping[str, Any]] = {}
        self.devices: dict[str, Mapping[str, Any]] = {}

    def take_report(self, message: Message) -> None:
        """Take in what was published on ``health/whole``."""
        self.report = message.body if isinstance(message.body, dict) else {}

    def take_state(self, message: Message) -> None:
        """Take in what was published on ``routes/<name>/state`` or ``devices/<name>/state``."""
        kind, name, _ = message.subject.split("/", 2)
        table = self.routes if kind == "routes" else self.devices
        if message.body is None:
            table.pop(name, None)
        elif isinstance(message.body, dict) and (name in table or len(table) < MOST):
            table[name] = message.body

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a table of the report; an empty one where it has none."""
        return as_table(self.report.get(name))

    def reading(self, name: str) -> Mapping[str, Any]:
        """Return the value of a reading of the machine; an empty one where there is none."""
        return as_table(as_table(self.table("machine").get(name)).get("value"))


def as_table(value: object) -> Mapping[str, Any]:
    """Return ``value`` where it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> Sequence[Any]:
    """Return ``value`` where it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def as_number(value: object) -> float | None:
    """Return ``value`` as a sample, None where it is none.

    >>> as_number(True), as_number(2), as_number("2")
    (1.0, 2.0, None)
    """
    return float(value) if isinstance(value, bool | int | float) else None
