"""What a program under test says, line by line, for those who wait for a line.

A thread of its own reads the pipe to its end. Whatever waits here has a
deadline and raises `TimeoutError` that shows the program's last words.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 10.0
"""Seconds that the pipe may take to close once the program has ended."""

T = TypeVar("T")


class Output:
    """What a program says, line by line, read by a thread that ends with it."""

    def __init__(self, process: subprocess.Popen[str] | None = None) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = process is None
        self._pipe = (process.stdout or process.stderr) if process is not None else None
        self._thread = threading.Thread(target=self._read, daemon=True)
        if process is not None:
            self._thread.start()

    def _read(self) -> None:
        assert self._pipe is not None
        for line in self._pipe:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def now(self) -> list[str]:
        """Return the lines that have come so far."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, accepts: Callable[[str], object], timeout: float) -> str:
        """Wait for a line, from the first on, that ``accepts`` takes; return it."""
        return self.wait_until(
            lambda lines: next((line for line in lines if accepts(line)), None), timeout
        )

    def wait_until(self, find: Callable[[list[str]], T | None], timeout: float) -> T:
        """Wait until ``find`` finds; it is shown all lines each time."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or find(self._lines) is not None, timeout)
            found = find(self._lines)
            if found is None:
                ended = "it ended" if self._ended else f"nothing within {timeout:g} s"
                raise TimeoutError(f"{ended}; it said:\n" + "\n".join(self._lines[-40:]))
            return found

    def join(self) -> None:
        """Wait for its end and close the pipe; the program is to be ended before."""
        if self._pipe is not None:
            self._thread.join(DEADLINE)
            self._pipe.close()
