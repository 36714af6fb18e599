"""A fact with its age and its quality, so that nobody takes an old one, or none, for a good one.

Pure. What could not be read has no value but a reason: it is never a 0. Moments are
seconds of a clock that nobody sets, so that no age is wrong on the day on which a
machine that began in 1970 is told the time.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Quality = Literal["good", "stale", "absent", "failed"]
"""``absent``: there is no such thing here. ``failed``: there is, and it could not be read."""


class Reading(msgspec.Struct, frozen=True):
    """What was read at the moment ``at``, or why there is nothing."""

    value: dict[str, Any] | None
    at: float
    quality: Quality = "good"
    reason: str = ""


def absent(at: float, reason: str) -> Reading:
    """Return that there is no such thing on this machine."""
    return Reading(None, at, "absent", reason)


def failed(at: float, reason: str) -> Reading:
    """Return that it could not be read."""
    return Reading(None, at, "failed", reason)


class Aged(msgspec.Struct, frozen=True):
    """A reading as somebody else sees it later; ``age`` is in seconds."""

    value: dict[str, Any] | None
    quality: Quality
    age: float
    reason: str = ""


def aged(reading: Reading, moment: float, stale_after: float) -> Aged:
    """Return ``reading`` as it is at ``moment``; a good one is stale after so many seconds.

    >>> aged(Reading({"seconds": 5.0}, at=100.0), moment=160.0, stale_after=30.0).quality
    'stale'
    """
    age = max(0.0, moment - reading.at)
    quality = reading.quality
    if quality == "good" and age > stale_after:
        quality = "stale"
    return Aged(reading.value, quality, round(age, 3), reading.reason)
