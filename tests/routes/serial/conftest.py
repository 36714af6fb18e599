"""The emulator's fixtures, for links to real firmware."""

from __future__ import annotations

from tests.lab.simavr import avr_build, simavr

__all__ = ["avr_build", "simavr"]
