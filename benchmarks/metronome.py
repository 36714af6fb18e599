"""How late this machine wakes a program that does nothing: ``python -m benchmarks.metronome``.

A hundred times a second it notes how late it was woken; once standard input
ends it prints the seconds as JSON. It is the baseline of every lateness that is
measured beside it: on a busy machine nobody is woken sooner.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from time import monotonic

BEAT = 0.01


class Metronome:
    """The program, as a child; `stop` returns how late it was woken each time, in seconds."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.metronome"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._child.returncode is None:
            self._child.kill()
            self._child.communicate()

    def stop(self) -> list[float]:
        """End it, and hear what it noted."""
        said, _ = self._child.communicate()
        late: list[float] = json.loads(said)
        return late


def main() -> None:
    """Beat until standard input ends."""
    late = []
    due = monotonic() + BEAT
    while not select.select([sys.stdin], [], [], max(0.0, due - monotonic()))[0]:
        now = monotonic()
        late.append(now - due)
        due = max(due + BEAT, now)
    print(json.dumps(late))


if __name__ == "__main__":
    main()
