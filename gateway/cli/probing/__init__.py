"""Finding out which driver a port is for, by asking it."""

from __future__ import annotations
