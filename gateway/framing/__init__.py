"""Bytes to frames and back; no I/O, no clock."""

from __future__ import annotations

from gateway.framing.checked_line import CheckedLine
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder, Framing
from gateway.framing.line import Line

__all__ = ["CheckedLine", "Decoder", "Frame", "Framing", "Garbage", "Line"]
