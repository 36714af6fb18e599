"""What `docs/mqtt.md` says, for tests that hold it to that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from gateway.mail.topic import matches

PAGE = Path(__file__).parents[2] / "docs" / "mqtt.md"

_ROW = re.compile(
    r"^\| `(?P<topic>[^`]+)` +\| (?P<qos>\S+) +\| (?P<retained>yes|no|never) +\|", re.MULTILINE
)


class Row(NamedTuple):
    """One row of the tree: a pattern below the node, and how it is published."""

    pattern: str
    qos: str
    retained: bool


def rows() -> list[Row]:
    """Return the tree that is documented; ``<…>`` is a level of any name, ``…`` the rest.

    A publication may have levels of its own: it is the last that is looked at.
    """
    found = [
        Row(_pattern(each["topic"]), each["qos"], each["retained"] == "yes")
        for each in _ROW.finditer(PAGE.read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda row: row.pattern.endswith("#"))


def row_of(topic: str) -> Row | None:
    """Return the first row that ``topic``, below the node, falls under."""
    return next((row for row in rows() if matches(row.pattern, topic)), None)


def blocks(language: str) -> list[str]:
    """Return the examples of the page in one language."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _pattern(topic: str) -> str:
    publication = topic.replace("devices/<name>/<publication>", "devices/<name>/#")
    return re.sub(r"<[^>]+>", "+", publication).replace("…", "#")
