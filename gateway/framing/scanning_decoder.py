"""Frames found by trial: every place where one could begin is looked at, none twice.

What length-prefixed, fixed and start-marked framings share. A candidate begins
with the start mark. Where it turns out to be no frame, only its first byte is
condemned, and the search goes on with its second: what a false start mark has
swallowed is given back and searched again, so that a true frame inside is
found. That costs at most one trial a byte, each of bounded length.

Condemned bytes are told as one `Garbage` a stretch: before the next frame, or
the moment it is longer than ``limit``, and the rest of it is skipped unread.
A candidate of which too little has come is waited for; silence, where the
framing knows it, condemns that as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway.framing.frame import Frame, Garbage

UNKNOWN, NONE = 0, -1
"""What `ScanningDecoder.measure` says where it cannot tell yet, and where no frame is."""


class ScanningDecoder(ABC):
    """Finds frames that begin with ``start``, which may be empty."""

    def __init__(self, start: bytes, limit: int) -> None:
        self._start = start
        self._limit = limit
        self._held = b""  # a candidate, or what may be the beginning of a start mark
        self._noise = b""  # condemned and not told yet
        self._reason = ""
        self._told = False  # the stretch of noise that we are in

    @abstractmethod
    def measure(self, held: bytes, at: int) -> int:
        """Return how long the candidate at ``at`` is; `UNKNOWN` or `NONE`."""

    @abstractmethod
    def unpack(self, candidate: bytes) -> bytes | None:
        """Return the payload of a whole candidate, or None where its checksum is wrong."""

    @property
    @abstractmethod
    def misfit(self) -> str:
        """Why `measure` says `NONE`, in a few words."""

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames and the noise that ``data`` completes, in wire order."""
        return self._scan(self._held + data, silent=False)

    def expire(self) -> list[Frame | Garbage]:
        """Condemn what is still incomplete, and search what it has swallowed."""
        events = self._scan(self._held, silent=True)
        self._tell(events)
        self._told = False
        return events

    def reset(self) -> None:
        """Forget a half-read frame, and the noise before it."""
        self._held = self._noise = b""
        self._told = False

    def _scan(self, held: bytes, *, silent: bool) -> list[Frame | Garbage]:
        at = 0
        events: list[Frame | Garbage] = []
        while at < len(held):
            begin = self._find_start(held, at)
            if begin > at:
                self._condemn(held[at:begin], "no start mark", events)
                at = begin
            length = self.measure(held, at) if held.startswith(self._start, at) else UNKNOWN
            if length == NONE:
                self._condemn(held[at : at + 1], self.misfit, events)
                at += 1
                continue
            if length == UNKNOWN or at + length > len(held):
                if not silent:
                    break
                self._condemn(held[at : at + 1], "broken off by silence", events)
                at += 1
                continue
            payload = self.unpack(held[at : at + length])
            if payload is None:
                self._condemn(held[at : at + 1], "wrong checksum", events)
                at += 1
                continue
            self._tell(events)
            self._told = False
            events.append(Frame(payload))
            at += length
        self._held = held[at:]
        return events

    def _find_start(self, held: bytes, at: int) -> int:
        """Return where a start mark is, or could be beginning at the very end."""
        start = self._start
        found = held.find(start, at)
        if found >= 0:
            return found
        for length in range(min(len(start) - 1, len(held) - at), 0, -1):
            if held.endswith(start[:length]):
                return len(held) - length
        return len(held)

    def _condemn(self, raw: bytes, reason: str, events: list[Frame | Garbage]) -> None:
        if self._told:
            return
        if not self._noise:
            self._reason = reason
        self._noise += raw
        if len(self._noise) > self._limit:
            self._tell(events)
            self._told = True

    def _tell(self, events: list[Frame | Garbage]) -> None:
        if self._noise:
            events.append(Garbage(self._noise[: self._limit], self._reason))
            self._noise = b""
