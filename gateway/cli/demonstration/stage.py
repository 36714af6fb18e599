"""What the story stands on: the words that it and its application share.

`Stage` is what `Story` may ask of the application it runs in, `Simulator` what
it may ask of the board.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from gateway.cli.demonstration.storyteller import Storyteller

DEVICE, DRIVER = "bench", "bench_board"
READING, VALUE, FULL_SCALE = "analogue", "volts", 5.0
"""What the board publishes: the topic, the field to show, and what fills the bar."""

Outcome = Literal["untold", "told", "late", "failed"]
"""How it ended: interrupted, whole, with its time over before, with a step that did not come."""


class Simulator(Protocol):
    """The board in Python, as `Driver.simulator` describes it; this one has an LED."""

    @property
    def led(self) -> bool:
        """Whether its LED is lit."""
        ...

    def start(self) -> None:
        """Start it, plugged in."""
        ...

    def plug(self) -> None:
        """Plug it in."""
        ...

    def unplug(self) -> None:
        """Pull the cable."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Stage(Protocol):
    """The application, as the story sees it."""

    storyteller: Storyteller
    ends_at: float | None
    """When to end, on the monotonic clock; None for never."""
    outcome: Outcome
    broker: str
    is_embedded: bool
    """Whether the broker is ours."""
    node: str
    pattern: str
    """All topics of this gateway at the broker."""
    link: Path
    """Where the board's port appears."""

    def make_board(self) -> Simulator:
        """Return the simulated board, not yet started."""
        ...
