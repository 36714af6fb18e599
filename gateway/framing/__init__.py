r"""Bytes to frames and back; no I/O, no clock.

Which framing a board speaks, and which frames it finds in noise:

==================  ======================================  =================================
framing             a frame                                 after noise
==================  ======================================  =================================
`Line`              up to ``\n``                            from the next line on
`CheckedLine`       up to ``*XX\n``                         from the next line on
`Delimited`         up to an end mark                       from the next one on
`Delimited`         between a start and an end mark         every frame
`Cobs`, `Slip`      up to a zero or END                     from the next one on
`Cobs`, `Slip`      the same, ``leading=True``              every frame
`LengthPrefixed`    as long as it says, with a checksum     every frame
`Fixed`             of one size, with a checksum            every frame
both of these       with a start mark alone                 every, if noise has no mark
both of these       with neither, and a ``silence``         from the next silence on
`Silent`            up to a silence                         from the next silence on
`Raw`               whatever one read brings                noise is a frame
==================  ======================================  =================================

Each module says what "every" rests on; a checksum that is right by chance is
believed, and may cost the frame that it runs into. With ``overlapping=True`` it
costs none: `LengthPrefixed`, `Fixed` and `Delimited` with a checksum then hand on
every stretch that is a valid frame, also one within another
(`gateway.framing.overlapping_decoder`). `gateway.framing.checksums` has what goes
behind a payload.
"""

from __future__ import annotations

from gateway.framing.checked_line import CheckedLine
from gateway.framing.checksums import Checksum
from gateway.framing.cobs import Cobs
from gateway.framing.delimited import Delimited
from gateway.framing.fixed import Fixed
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder, ExpiringDecoder, Framing
from gateway.framing.length_prefixed import LengthPrefixed
from gateway.framing.line import Line
from gateway.framing.raw import Raw
from gateway.framing.silent import Silent
from gateway.framing.slip import Slip

__all__ = [
    "CheckedLine",
    "Checksum",
    "Cobs",
    "Decoder",
    "Delimited",
    "ExpiringDecoder",
    "Fixed",
    "Frame",
    "Framing",
    "Garbage",
    "LengthPrefixed",
    "Line",
    "Raw",
    "Silent",
    "Slip",
]
