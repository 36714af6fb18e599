"""A GPS receiver in Python: it rides in a circle and says where it is.

It is written after the standard and not upon the driver's parser, so that each
can show the other's mistakes. As a real one it talks by itself, has no fix for
a while after power-up, and believes no sentence that it is sent: here they are
only kept, for a test to look at.

`Receiver.poll` says what is due and `Receiver.wake` when; neither waits.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import reduce
from operator import xor

from gateway.clock import Clock

CENTRE = (48.137222, 11.575556)
"""Degrees north and east around which it rides."""
RADIUS = 200.0
"""Metres."""
ROUND = 300.0
"""Seconds for one round, at some 4 m/s."""
_METRES_PER_DEGREE = 111_320.0
_KEPT = 100
"""Sentences that `Receiver.heard` holds at most."""


class Receiver:
    """A receiver that tells its place ``hz`` times a second."""

    def __init__(
        self,
        *,
        clock: Clock,
        hz: float = 1.0,
        talker: str = "GP",
        fix_after: float = 0.0,
        leave_out: frozenset[str] = frozenset(),
    ) -> None:
        """``fix_after`` seconds pass before it knows where it is.

        ``leave_out`` names kinds of sentences that it does not send (``GGA``).
        """
        if not 0.1 <= hz <= 20:
            raise ValueError(f"a receiver tells its place 0.1 to 20 times a second, not {hz}")
        self._clock = clock
        self._period = 1.0 / hz
        self._talker = talker
        self._fix_after = fix_after
        self._leave_out = leave_out
        self.heard: list[bytes] = []
        """The sentences that were sent to it, the newest last."""
        self.silent = False
        """Whether it has fallen silent, as one whose antenna cable shorts its supply."""
        self.reset()

    def reset(self) -> None:
        """Do what power off and on does: the fix is to be found again."""
        self._since = self._clock.monotonic()
        self._told = 0
        self._line = b""

    @property
    def wake(self) -> float | None:
        """When it tells its place next, in monotonic seconds."""
        return None if self.silent else self._since + self._told * self._period

    def receive(self, data: bytes) -> bytes:
        """Take sentences; they are kept, and nothing is said to them."""
        *lines, self._line = (self._line + data)[-1024:].split(b"\n")
        self.heard += [line.rstrip(b"\r") for line in lines]
        del self.heard[:-_KEPT]
        return b""

    def poll(self) -> bytes:
        """Return the sentences that are due."""
        now = self._clock.monotonic()
        if self.silent or now < self._since + self._told * self._period:
            return b""
        # What it could not say while it was stopped, it has not seen.
        self._told = int((now - self._since) / self._period + 1e-6) + 1
        return self._epoch(now - self._since)

    def _epoch(self, seconds: float) -> bytes:
        when = datetime.fromtimestamp(self._clock.time(), UTC)
        clock, day = when.strftime("%H%M%S.00"), when.strftime("%d%m%y")
        angle = 2 * math.pi * (seconds % ROUND) / ROUND
        north = CENTRE[0] + RADIUS * math.cos(angle) / _METRES_PER_DEGREE
        east = CENTRE[1] + RADIUS * math.sin(angle) / (
            _METRES_PER_DEGREE * math.cos(math.radians(CENTRE[0]))
        )
        course = (math.degrees(angle) + 90) % 360
        knots = 2 * math.pi * RADIUS / ROUND / 0.514444
        if seconds < self._fix_after:
            said = [
                f"RMC,{clock},V,,,,,,,{day},,,N",
                f"GGA,{clock},,,,,0,00,99.99,,,,,,",
                "VTG,,,,,,,,,N",
                "GSV,1,1,01,08,,,18",
            ]
        else:
            place = f"{_dm(north, 2)},N,{_dm(east, 3)},E"
            said = [
                f"RMC,{clock},A,{place},{knots:.3f},{course:.2f},{day},,,A",
                f"GGA,{clock},{place},1,07,1.2,519.4,M,47.0,M,,",
                f"VTG,{course:.2f},T,,M,{knots:.3f},N,{knots * 1.852:.3f},K,A",
                "GSA,A,3,08,10,15,18,23,24,27,,,,,,2.1,1.2,1.7",
                "GSV,2,1,07,08,47,115,41,10,68,208,44,15,09,062,28,18,31,301,37",
                "GSV,2,2,07,23,22,270,33,24,12,180,30,27,55,040,45",
            ]
        return b"".join(
            _sentence(self._talker + text) for text in said if text[:3] not in self._leave_out
        )


def _dm(degrees: float, width: int) -> str:
    """Return degrees as ``dddmm.mmmmm``."""
    minutes = round(degrees * 60, 5)
    return f"{int(minutes // 60):0{width}d}{minutes % 60:08.5f}"


def _sentence(text: str) -> bytes:
    payload = text.encode()
    return b"$%b*%02X\r\n" % (payload, reduce(xor, payload, 0))
