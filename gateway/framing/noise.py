"""Noise as it is told: one `Garbage` a stretch, however long and in however many pieces it came.

A stretch is told where it ends, or the moment it is longer than ``limit`` bytes;
the rest of it is skipped unread, so that a babbling board costs ``limit`` bytes
of memory and one event.
"""

from __future__ import annotations

from gateway.framing.frame import Frame, Garbage


class Noise:
    """The stretch of condemned bytes that a decoder is in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._raw = b""  # condemned and not told yet
        self._reason = ""
        self._told = False

    def __len__(self) -> int:
        return len(self._raw)

    def add(self, raw: bytes, reason: str, events: list[Frame | Garbage]) -> None:
        """Condemn ``raw``; the ``reason`` of a stretch is that of its first byte."""
        if self._told:
            return
        if not self._raw:
            self._reason = reason
        self._raw += raw
        if len(self._raw) > self._limit:
            self._tell(events)
            self._told = True

    def end(self, events: list[Frame | Garbage]) -> None:
        """Tell what was not told yet: a frame or silence ends the stretch here."""
        self._tell(events)
        self._told = False

    def reset(self) -> None:
        """Forget the stretch."""
        self._raw = b""
        self._told = False

    def _tell(self, events: list[Frame | Garbage]) -> None:
        if self._raw:
            events.append(Garbage(self._raw[: self._limit], self._reason))
            self._raw = b""
