"""Whole applications in an OS process of their own, which end with the test."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0
"""Seconds that anything may take."""

HEAD = """
import logging, os, signal, sys, threading, time
from gateway.application import Application
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import *
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy

logging.basicConfig(level=logging.WARNING)
SOCKETS = sys.argv[1]
TERMS = SpoolTerms(limit=1 << 20)
SOON = RestartPolicy(first=0.01, ceiling=0.01, most=1000)
ONCE = RestartPolicy("temporary")

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Loud(Process):
    def birth(self):
        say("birth", self.name, os.getpid())
    def death(self):
        say("death", self.name)
"""


class Program:
    """One application that runs, and what it has said so far."""

    def __init__(self, script: Path, sockets: Path) -> None:
        self.said: list[str] = []
        self.errors = script.with_suffix(".errors")
        with self.errors.open("wb") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", str(script), str(sockets)],
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._popen.stdout is not None
        self._stdout = self._popen.stdout
        self._rest = b""
        self.pid = self._popen.pid

    def wait_for(self, words: str) -> str:
        """Wait until a line has begun with ``words``; return the rest of it."""
        deadline = monotonic() + PATIENCE
        seen = 0
        while True:
            for line in self.said[seen:]:
                seen += 1
                if line.startswith(words):
                    return line[len(words) :].strip()
            assert self._read(deadline), f"never said {words!r}, but {self._report()}"

    def end(self) -> int:
        """Wait until it and all that it forked have ended; return its status."""
        deadline = monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._popen.wait(PATIENCE)

    def signal(self, number: int) -> None:
        """Send a signal to the main process alone."""
        self._popen.send_signal(number)

    def interrupt(self) -> None:
        """Press Ctrl-C: every process of the terminal gets it."""
        os.killpg(self.pid, signal.SIGINT)

    def hang_up(self) -> None:
        """Close the terminal: every process of it gets a SIGHUP."""
        os.killpg(self.pid, signal.SIGHUP)

    def complaints(self) -> str:
        """Return what was written to stderr."""
        return self.errors.read_text()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - monotonic()))
        assert ready, f"silent for too long after {self._report()}"
        data = os.read(self._stdout.fileno(), 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said += [line.decode() for line in lines]
        return bool(data)

    def _report(self) -> str:
        return f"{self.said[-12:]}\n{self.complaints()[-3000:]}"

    def close(self) -> None:
        """Kill whatever is left."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait(PATIENCE)
        self._stdout.close()


Start = Callable[[str], Program]


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    """The folder of the application's sockets."""
    return tmp_path / "s"


@pytest.fixture
def start(tmp_path: Path, sockets: Path) -> Iterator[Start]:
    """Return a starter of applications, given as source after `HEAD`."""
    started: list[Program] = []

    def make(source: str) -> Program:
        script = tmp_path / f"program{len(started)}.py"
        script.write_text(HEAD + textwrap.dedent(source))
        started.append(Program(script, sockets))
        return started[-1]

    yield make
    for program in started:
        program.close()
    for socket in filter(Path.is_socket, sockets.glob("bus/*")):
        socket.unlink()
