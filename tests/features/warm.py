"""Runs one test without one feature, in a fork of a program that has imported pytest.

To start an interpreter and to import pytest takes longer than most of these tests. Of
the gateway nothing is imported beforehand: a switch has to be thrown before anybody
takes a copy of what it replaces.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

import pytest

ROOT = Path(__file__).parents[2]

PATIENCE = 20
"""Seconds after which a test that hangs without its feature is red."""

DEADLINE = 170.0
"""Seconds that a run may take at the most."""

KNOWN = ("asyncio", "hypothesis.stateful", "msgspec", "paho.mqtt.client", "serial")
"""What the runs find imported, besides pytest."""


class Run(NamedTuple):
    """How pytest ended (`pytest.ExitCode`, or minus a signal), and what it said."""

    status: int
    said: str


class WarmPytest:
    """The program that runs are forked from, one at a time; it ends with its ``with`` block."""

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()

    def _begin(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.features.warm"],
            cwd=ROOT,
            env={
                **{name: each for name, each in os.environ.items() if name[:7] != "PYTEST_"},
                "PYTHONPATH": str(ROOT),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _end(self) -> None:
        with self._program:
            os.killpg(self._program.pid, signal.SIGKILL)

    def run_without(self, switch: str, test: str) -> Run:
        """Run ``test`` with ``switch`` thrown; raise `TimeoutError` where it does not end."""
        asked, told = self._program.stdin, self._program.stdout
        assert asked is not None
        assert told is not None
        # Its path is short, since a socket's may have 107 bytes.
        with TemporaryDirectory(prefix="gw-", ignore_cleanup_errors=True) as folder:
            said = Path(folder, "said")
            asked.write(json.dumps([switch, test, folder, str(said)]) + "\n")
            asked.flush()
            if not select.select([told], [], [], DEADLINE)[0]:
                # Its answer, should it come after all, is not that of the next one.
                self._end()
                self._begin()
                raise TimeoutError(f"{test} without {switch} did not end within {DEADLINE:g} s")
            return Run(int(told.readline()), said.read_text(errors="replace"))


def main() -> None:
    """Fork a child for each line of standard input, and say how it ended."""
    for name in KNOWN:
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                _run(*json.loads(line))
            finally:
                os._exit(os.EX_SOFTWARE)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(switch: str, test: str, folder: str, said: str) -> None:
    """Be the child, to its end."""
    silence = os.open(os.devnull, os.O_RDONLY)
    words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, standard in ((silence, 0), (words, 1), (words, 2)):
        os.dup2(descriptor, standard)
    os.environ["TMPDIR"] = folder
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", f"--timeout={PATIENCE}"]
    # A thread that never rests makes a whole traceback take half a minute.
    options += ["--tb=line"]
    # What was imported beforehand was not rewritten, and need not be.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*options, "--without", switch, test])
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
