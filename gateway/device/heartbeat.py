"""When to ask a silent board whether it is alive, and when to stop believing it.

A `Heartbeat` is a value that a driver's author writes down; its one decision,
`Heartbeat.due`, is a pure function of three moments. Every valid frame is a
sign of life, not only the answer to a ping: a board that streams telemetry is
heard even where its pings get lost.

A board that talks by itself and understands no question (a GPS receiver), or
that is asked all the time anyway, has a heartbeat without a ping: then the
silence alone is judged.

This module reads no clock and writes no ping. Refused: an empty ping, intervals
that are not positive, and a pong or an interval where there is no ping.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import NamedTuple

import msgspec


class Silence(IntEnum):
    """How long nothing has been heard, in steps of the author's patience."""

    NONE = 0
    """Less than one patience: all is well."""
    STALE = 1
    """One patience: the board is not believed any more."""
    OVERDUE = 2
    """Two: somebody should be told."""


class Due(NamedTuple):
    """What is to be done at a moment, and when to ask again (monotonic seconds)."""

    ping: bool
    silence: Silence
    wake: float


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Write ``ping`` ``every`` so many seconds; be silent for ``patience`` and be stale.

    A frame that begins with ``pong`` (with ``ping``, unless said otherwise) is
    the answer. It is the gateway's own: it never reaches `Driver.received`, so
    choose one with which no other frame begins.

    With ``patience`` alone nothing is written: the board is only listened to.
    """

    ping: bytes | None = None
    every: float = inf
    patience: float
    pong: bytes | None = None

    def __post_init__(self) -> None:
        if self.ping == b"" or self.pong == b"":
            raise ValueError("a heartbeat needs a ping and a pong that are not empty")
        if not 0 < self.patience < inf:
            raise ValueError(f"a heartbeat's patience is seconds above 0, not {self.patience}")
        if self.ping is None:
            if self.every != inf or self.pong is not None:
                raise ValueError("a heartbeat without a ping has no every and no pong")
        elif not 0 < self.every < inf:
            raise ValueError(f"a heartbeat's every is seconds above 0, not {self.every}")

    @property
    def answer(self) -> bytes | None:
        """The prefix by which an answered ping is known; None where there is no ping."""
        return self.ping if self.pong is None else self.pong

    def due(self, now: float, heard: float, pinged: float) -> Due:
        """Decide what is due at ``now``.

        ``heard`` is when the last valid frame came, ``pinged`` when the last
        ping went out (minus infinity before the first); all three are
        monotonic seconds.

        >>> heartbeat = Heartbeat(ping=b"P", every=1.0, patience=3.0)
        >>> heartbeat.due(now=10.0, heard=9.5, pinged=9.25)
        Due(ping=False, silence=<Silence.NONE: 0>, wake=10.25)
        >>> heartbeat.due(now=13.0, heard=9.5, pinged=12.0)
        Due(ping=True, silence=<Silence.STALE: 1>, wake=14.0)
        """
        stale, overdue = heard + self.patience, heard + 2 * self.patience
        ping = self.ping is not None and now >= pinged + self.every
        # Without a ping `every` is endless, and so is the wait for the next.
        wake = now + self.every if ping or self.ping is None else pinged + self.every
        if now < stale:
            return Due(ping, Silence.NONE, min(wake, stale))
        if now < overdue:
            return Due(ping, Silence.STALE, min(wake, overdue))
        return Due(ping, Silence.OVERDUE, wake)
