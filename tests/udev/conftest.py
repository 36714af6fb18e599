"""Recorded devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.udev_room import UdevRoom

RECORDED = Path(__file__).with_name("recorded")

Room = Callable[..., UdevRoom]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Return what makes a room of recordings, by name."""
    return lambda *names: UdevRoom(
        tmp_path / "room",
        *((RECORDED / f"{name}.umockdev").read_text(encoding="utf-8") for name in names),
    )
