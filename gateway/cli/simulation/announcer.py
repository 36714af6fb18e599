"""What ``gateway simulate`` says: lines for people, or one JSON object a line.

Refused: nothing; whoever has closed the other end of the pipe hears no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from gateway.cli.simulation.plan import Planned, in_words


class Announcer:
    """Says things on ``stream``; with a ``file`` it was told where the configuration is."""

    def __init__(
        self, stream: TextIO, *, as_json: bool, run_with: str = "", prompts: bool = False
    ) -> None:
        """``run_with`` is the configuration for ``gateway run``; whether to write a prompt."""
        self._stream = stream
        self._as_json = as_json
        self._run_with = run_with
        self._prompts = prompts and not as_json
        self.gone: BrokenPipeError | None = None
        """Set once nobody reads any more."""

    def ready(self, planned: Sequence[Planned], door: Path) -> None:
        """Say that everything is plugged in, and how to go on."""
        lines = [
            *in_words(list(planned)),
            "",
            f"gateway run -c {self._run_with}" if self._run_with else "",
            f"GATEWAY_SOCKET={door} gateway call {planned[0].name} unplug",
        ]
        self.tell(
            "ready",
            "\n".join(line for number, line in enumerate(lines) if line or not number),
            devices=[each._asdict() for each in planned],
            socket=str(door),
            configuration=self._run_with or None,
        )

    def status(self, name: str, told: dict[str, Any]) -> None:
        """Say how a device is."""
        faults = [
            *(["hung"] if told["hung"] else []),
            *([f"noise {told['noise']:g}"] if told["noise"] else []),
            *([f"drift {told['drift']:+g} ppm"] if told["drift"] else []),
        ]
        cable = "plugged in" if told["plugged"] else "unplugged"
        self.tell("status", f"{name}: {', '.join([cable, *faults])}", device=name, **told)

    def tell(self, event: str, said: str, **details: Any) -> None:
        """Say one thing."""
        if self._as_json:
            said = json.dumps({"event": event, "said": said, **details}, ensure_ascii=False)
        self._write(f"{said}\n")

    def prompt(self) -> None:
        """Ask for a word, where somebody sits there."""
        if self._prompts:
            self._write("> ")

    def _write(self, text: str) -> None:
        if self.gone is not None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError as gone:
            self.gone = gone
