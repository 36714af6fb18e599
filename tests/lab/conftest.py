"""The emulator's fixtures, for the emulator's own tests."""

from __future__ import annotations

from tests.lab.simavr import avr_build, simavr

__all__ = ["avr_build", "simavr"]

# A program for the system's own Python, which has what it imports.
collect_ignore = ["usb_emulator.py"]
