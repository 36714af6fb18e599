"""How the story is told: lines for a person, or an object a line for a program.

Each line bears the seconds since the beginning. Colours only on a terminal,
and not where NO_COLOR is set (https://no-color.org). On a terminal the text
is wrapped to its width, and a message that is only shown is cut. A reader who
closes the pipe ends the telling, never the teller: `gone` says so.
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

Tone = Literal["plain", "good", "bad", "action", "quiet", "topic"]

_COLOURS: dict[Tone, str] = {
    "plain": "1",
    "good": "1;32",
    "bad": "1;31",
    "action": "1;33",
    "quiet": "2",
    "topic": "36",
}
LABEL = 14
"""Columns of the label, between the seconds and the text."""
INDENT = 8 + LABEL + 2
"""Columns before the text."""


class Storyteller:
    """Tells events on ``stream``; ``seconds`` says how long it has gone on."""

    def __init__(
        self,
        stream: TextIO,
        seconds: Callable[[], float],
        *,
        as_json: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Look once whether ``stream`` is a terminal, and what ``environment`` wishes."""
        wishes = os.environ if environment is None else environment
        self.gone: BrokenPipeError | None = None
        self._stream = stream
        self._seconds = seconds
        self._as_json = as_json
        is_terminal = stream.isatty() and wishes.get("TERM") != "dumb"
        self._coloured = is_terminal and not wishes.get("NO_COLOR")
        # A pipe or a file has no width, and whatever reads it can cut for itself.
        self._width = shutil.get_terminal_size().columns if stream.isatty() else 0

    def tell(
        self, event: str, label: str, text: str, *, tone: Tone = "plain", **facts: object
    ) -> None:
        """Tell one event: ``label`` and ``text`` to a person, ``facts`` to a program.

        Facts may be anything that JSON knows; ``seconds`` and ``event`` go with them.
        """
        if self._as_json:
            self.note(event, **facts)
            return
        clock = f"{self._seconds():6.2f}"
        first, *others = self._wrapped(text)
        self._write(f"{self._in(clock, 'quiet')}  {self._in(f'{label:<{LABEL}}', tone)}  {first}")
        for line in others:
            self._write(" " * INDENT + line)

    def note(self, event: str, **facts: object) -> None:
        """Tell a program an event that a person is shown in other ways."""
        if self._as_json:
            line = {"seconds": round(self._seconds(), 3), "event": event, **facts}
            self._write(json.dumps(line, ensure_ascii=False))

    def show(self, text: str, *, indent: int = INDENT, tone: Tone = "quiet") -> None:
        """Show a person one more line, below the text; a program has had it as facts."""
        if not self._as_json:
            room = self._width - indent if self._width else None
            self._write(" " * indent + self._in(cut(text, room), tone))

    def say(self, text: str = "", *, tone: Tone | None = None) -> None:
        """Say a line that belongs to no event; a program is spared it."""
        if not self._as_json:
            self._write(self._in(text, tone) if tone and text else text)

    def total(self, label: str, text: str) -> None:
        """Say a line of the closing account, in the columns of the story."""
        if not self._as_json:
            self._write(f"{'':8}{self._in(f'{label:<{LABEL}}', 'plain')}  {text}")

    def _wrapped(self, text: str) -> list[str]:
        """Return the lines of ``text``; what people must read is never cut."""
        if not self._width or len(text) <= self._width - INDENT:
            return [text]
        return textwrap.wrap(text, max(20, self._width - INDENT), break_on_hyphens=False) or [""]

    def _in(self, text: str, tone: Tone) -> str:
        return f"\033[{_COLOURS[tone]}m{text}\033[0m" if self._coloured else text

    def _write(self, line: str) -> None:
        if self.gone is not None:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except BrokenPipeError as error:
            self.gone = error


def cut(text: str, room: int | None) -> str:
    """Return ``text`` in at most ``room`` columns, with … where something is missing.

    >>> cut("gateway/demo", 8)
    'gateway…'
    """
    if room is None or len(text) <= room:
        return text
    return text[: max(0, room - 1)] + "…"


def bar(value: float, full: float, width: int = 20) -> str:
    """Return ``value`` of ``full`` as a bar, in eighths of a column.

    >>> bar(2.5, 5.0, 4), bar(0.7, 5.0, 4)
    ('██··', '▌···')
    """
    eighths = max(0, min(width * 8, int(value / full * width * 8)))
    whole, rest = divmod(eighths, 8)
    drawn = "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return drawn + "·" * (width - len(drawn))
