"""Services of a script: Ctrl-C, SIGTERM and a fork do there what they do in any script."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, time
from gateway.services import services

class Arm:
    def __init__(self):
        self.speed = 3
    def pid(self):
        return os.getpid()
    def hang(self):
        time.sleep(30)

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.{hang_up})
    with services() as house:
        arm = house.using(grace=0.2).start("arm", Arm)
        print(arm.pid(), flush=True)
        {body}
        print("went on", flush=True)
"""
BODIES = {"sleeps": "time.sleep(30)", "calls": "arm.hang()"}


class Script:
    """One that does ``body`` within its ``with``; ``service`` is the OS process of its service."""

    def __init__(self, folder: Path, body: str, hang_up: str) -> None:
        path = folder / "script.py"
        text = SCRIPT.replace("{body}", body.replace("\n", "\n        "))
        path.write_text(text.replace("{hang_up}", hang_up))
        pipe = subprocess.PIPE
        # Unbuffered: a line that was read ahead would be missing from `communicate`.
        self.program = subprocess.Popen(
            [sys.executable, str(path)], stdout=pipe, stderr=pipe, bufsize=0
        )
        assert self.program.stdout is not None
        self.service = int(self.program.stdout.readline())

    def end(self) -> tuple[list[str], str]:
        """Wait for its end; return what it said since its service lives, and its errors."""
        said, errors = self.program.communicate(timeout=20)
        return said.decode().splitlines(), errors.decode()


Begin = Callable[..., Script]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Return a maker of scripts, none of which outlives the test."""
    scripts: list[Script] = []

    def make(body: str, hang_up: str = "SIG_DFL") -> Script:
        scripts.append(Script(tmp_path, body, hang_up))
        return scripts[-1]

    yield make
    for script in scripts:
        with script.program:
            script.program.kill()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_it_at_once_and_its_services_with_it(
    begin: Begin, body: str, number: signal.Signals, status: int
) -> None:
    script = begin(body)
    began = time.monotonic()
    script.program.send_signal(number)
    said, errors = script.end()
    assert time.monotonic() - began < 10
    assert said == []
    assert script.program.returncode == status, errors
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert not Path(f"/proc/{script.service}").exists()


def test_one_that_is_to_outlive_its_terminal_does(begin: Begin) -> None:
    script = begin("os.kill(os.getpid(), signal.SIGHUP)\nprint(arm.speed)", "SIG_IGN")
    assert script.end() == (["3", "went on"], "")


def test_a_fork_that_leaves_ends_nothing_of_its_parents(begin: Begin) -> None:
    script = begin(
        # Python 3.12 warns of it, and rightly.
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sys.exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), arm.speed)"
    )
    assert script.end() == (["7 3", "went on"], "")


def test_a_service_that_the_kernel_has_stopped_is_closed_after_its_grace(begin: Begin) -> None:
    script = begin(
        "os.kill(arm.pid(), signal.SIGSTOP)\n"
        "began = time.monotonic()\n"
        "house.close('arm')\n"
        "print(time.monotonic() - began < 3)\n"
        "os.kill(house.start('arm', Arm).pid(), signal.SIGSTOP)"
    )
    said, errors = script.end()
    assert said == ["True", "went on"]
    assert script.program.returncode == 0, errors
