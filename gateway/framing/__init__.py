"""Bytes to frames and back; no I/O, no clock."""

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
