"""A `tests.lab.hotplug_watch` in a process of its own, and what it has said so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.output import Output

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0


class HotplugWatcher:
    """One watch; ``with`` ends it, and fails where it did not end well."""

    def __init__(
        self,
        subsystems: str = "tty",
        source: str = "kernel",
        buffer: int = 0,
        *,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """``within`` is a command line that runs another one, such as ``unshare -n``."""
        self._process = subprocess.Popen(
            [
                *(*within, sys.executable, "-m", "tests.lab.hotplug_watch"),
                *(subsystems, source, str(buffer)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**(environment or os.environ), "PYTHONPATH": str(ROOT)},
            text=True,
            bufsize=1,
        )
        self.pid = self._process.pid
        self._output = Output(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
            raise
        finally:
            self._output.join()
        assert kind is not None or self._process.returncode == 0

    def said(self) -> list[dict[str, Any]]:
        """Return all that it has said."""
        return [json.loads(line) for line in self._output.now()]

    def told(self) -> list[str]:
        """Return what came (``+name``) and went (``-name``), in order, by the last of its path."""
        return told_in(self.said())

    def wait_for(
        self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = DEADLINE
    ) -> list[dict[str, Any]]:
        """Wait until ``condition`` holds for all that it said; return that."""

        def find(lines: list[str]) -> list[dict[str, Any]] | None:
            said = [json.loads(line) for line in lines]
            return said if condition(said) else None

        return self._output.wait_until(find, seconds)

    def wait_told(self, *names: str, seconds: float = DEADLINE) -> list[dict[str, Any]]:
        """Wait until ``+name`` or ``-name`` have been told, all of them."""
        return self.wait_for(lambda said: set(names) <= set(told_in(said)), seconds)

    def wait_present(self, names: set[str], seconds: float = DEADLINE) -> None:
        """Wait until exactly these are there, by what it told."""
        self.wait_for(lambda said: present_in(said) == names, seconds)

    def has_looked(self) -> bool:
        """Whether it has looked for the first time."""
        return any("looked" in each for each in self.said())

    def looked(self) -> None:
        """Wait until it has looked for the first time."""
        self.wait_for(lambda said: any("looked" in each for each in said))

    def counts(self) -> dict[str, Any]:
        """Ask for its counts, and the seconds of a processor that it has used."""
        before = sum("counts" in each for each in self.said())
        assert self._process.stdin
        self._process.stdin.write("\n")
        said = self.wait_for(lambda said: sum("counts" in each for each in said) > before)
        answer = [each for each in said if "counts" in each][-1]
        return {**answer["counts"], "processor": answer["processor"]}


def told_in(said: list[dict[str, Any]]) -> list[str]:
    """Return what came and went by all those changes, as ``+ttyACM0`` and ``-ttyACM0``."""
    return [
        sign + device["sys_path"].rpartition("/")[2]
        for change in said
        for sign, key in (("-", "gone"), ("+", "come"))
        for device in change.get(key, ())
    ]


def present_in(said: list[dict[str, Any]]) -> set[str]:
    """Return what is there by all those changes."""
    there: set[str] = set()
    for each in told_in(said):
        (there.add if each[0] == "+" else there.discard)(each[1:])
    return there
