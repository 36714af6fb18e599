"""The emulator's fixtures, for links to real firmware, and terminals without any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.simavr import avr_build, simavr
from tests.lab.terminal import Terminal

__all__ = ["avr_build", "simavr"]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A port at ``port``."""
    terminal = Terminal(tmp_path / "port")
    yield terminal
    terminal.vanish()
