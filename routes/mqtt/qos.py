"""Which quality of service a publication goes out with: ``[routes.mqtt.qos]``.

::

    [routes.mqtt.qos]
    "devices/+/odometry" = 0
    "devices/arm/#" = 1

The keys are patterns over the topics of the bus, as subscribers write them. Of
those that match, the **most specific** counts: compare level by level from the
left, where a name goes before ``+`` and ``+`` before ``#``. So a drop-in can
refine what the main file says, wherever it stands. What none matches goes out
at QoS 1 if it is retained or an event, and at ``telemetry_qos`` otherwise.

Pure. Refused with `ValueError`: patterns that are none, and such as nothing is
ever published under.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.mail.topic import check_pattern, matches

EVENTS = "devices/+/events/+"
"""What happened once and is never said again: not to be lost, though not retained."""

_WILDCARDS = {"+": 1, "#": 2}


def check(table: Mapping[str, int]) -> None:
    """Raise `ValueError` that says what would be right."""
    for pattern in table:
        check_pattern(pattern)
        if pattern.startswith("gateway/"):
            raise ValueError(
                f"qos: {pattern!r} is a topic of the broker's; write it as the bus does: "
                f"{'/'.join(pattern.split('/')[2:]) or 'devices/+/state'!r}"
            )


class QosTable:
    """The table, and what holds without it.

    >>> table = QosTable({"devices/#": 1, "devices/+/odometry": 0}, otherwise=0)
    >>> table.of("devices/wheels/odometry", retain=False)
    0
    >>> table.of("devices/wheels/current", retain=False)
    1
    """

    def __init__(self, table: Mapping[str, int], *, otherwise: int) -> None:
        """``otherwise`` is for what no pattern matches and nobody needs to be sure of."""
        check(table)
        self._patterns = sorted(table.items(), key=lambda item: _generality(item[0]))
        self._otherwise = otherwise

    def of(self, topic: str, *, retain: bool) -> int:
        """Return the QoS of a publication on the bus's ``topic``."""
        for pattern, qos in self._patterns:
            if matches(pattern, topic):
                return qos
        return 1 if retain or matches(EVENTS, topic) else self._otherwise


def _generality(pattern: str) -> list[int]:
    # A topic that ends goes before "#", which also stands for nothing.
    return [_WILDCARDS.get(level, 0) for level in pattern.split("/")]
