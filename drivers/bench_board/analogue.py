"""What the bench board publishes: one reading of its analogue input."""

from __future__ import annotations

from typing import Annotated

import msgspec

from drivers.bench_board.protocol import Reading, volts
from gateway.device import Unit
from gateway.mail.body import register


@register
class Analogue(msgspec.Struct, frozen=True):
    """One sample of ADC0.

    ``milliseconds`` is the board's own clock since its reset (it wraps after
    49.7 days); ``raw`` is 0 to 1023, of which 1024 would be 5 V.
    """

    milliseconds: Annotated[int, Unit("ms")]
    raw: Annotated[int, Unit("1")]
    volts: Annotated[float, Unit("V")]

    @classmethod
    def of(cls, reading: Reading) -> Analogue:
        """Return ``reading`` with its voltage.

        >>> Analogue.of(Reading(milliseconds=1250, raw=512)).volts
        2.5
        """
        return cls(reading.milliseconds, reading.raw, volts(reading.raw))
