"""The bench board's real firmware, running in an emulated ATmega328P on a pty.

`build` compiles firmware and runner into a folder, in about half a second;
`Simavr` is one board: plugged in by `Simavr.start`, unplugged by
`Simavr.kill`, hung by `Simavr.freeze`. Its ``path`` is a symbolic link that
stays the same while the terminals behind it come and go.

The fixtures at the end serve any folder of tests whose conftest imports them::

    from tests.lab.simavr import avr_build, simavr  # noqa: F401

Tests that use them are marked ``needs("simavr")``. Refused, with the
compiler's or the runner's own words: sources that do not compile, firmware
that does not start.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "drivers/bench_board/firmware"
RUNNER = ROOT / "tests/lab/simavr_runner.c"

BUILD_SECONDS = 60.0
START_SECONDS = 10.0


@dataclass(frozen=True)
class AvrBuild:
    """Where the emulator and what it runs lie."""

    runner: Path
    firmware: Path


def build(folder: Path) -> AvrBuild:
    """Compile runner and firmware into ``folder``; `AssertionError` with what went wrong."""
    runner = folder / "simavr_runner"
    _run(
        *("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/simavr"),
        *("-o", str(runner), str(RUNNER), "-lsimavr", "-lelf", "-lm"),
    )
    _run("make", "-s", "-C", str(FIRMWARE), f"BUILD={folder}")
    return AvrBuild(runner, folder / "bench_board.elf")


def _run(*command: str) -> None:
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"


class Simavr:
    """One emulated bench board behind ``path``; ``with`` starts and closes it.

    ``millivolts`` is what its analogue input sees; None is a slow triangle.
    Used by one thread.
    """

    def __init__(self, built: AvrBuild, path: Path, *, millivolts: int | None = None) -> None:
        self.path = path
        self._built = built
        self._millivolts = millivolts
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    def __enter__(self) -> Simavr:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The emulator's process id."""
        assert self._process, "the emulator is not running"
        return self._process.pid

    def start(self) -> None:
        """Plug the board in; returns once ``path`` can be opened."""
        assert self._process is None, "the emulator is running already"
        command = [str(self._built.runner), "atmega328p", "16000000", str(self._built.firmware)]
        if self._millivolts is not None:
            command.append(str(self._millivolts))
        self._said = b""
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            terminal = self._line_after(b"PTY ", START_SECONDS).decode()
        except AssertionError:
            self.kill()
            raise
        # Replaced in one step: whoever polls the path never sees it half made.
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(terminal)
        temporary.replace(self.path)

    def kill(self) -> None:
        """Unplug the board: SIGKILL, and the terminal is gone. Not running: nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        # The link first: once the emulator is dead, its terminal's number may
        # be given to somebody else's.
        self.path.unlink(missing_ok=True)
        process.kill()
        process.wait(START_SECONDS)
        assert process.stdout
        process.stdout.close()

    def freeze(self) -> None:
        """Hang the board: its port stays, and nothing comes or is taken any more."""
        os.kill(self.pid, signal.SIGSTOP)
        # A stop is only under way when kill() returns.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen board go on where it was."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Unplug it for good; a second time does nothing."""
        self.kill()

    def wait_for_led(self, on: bool, seconds: float = 20.0) -> None:
        """Wait until the pin PB5 changes to ``on``; `AssertionError` at the deadline."""
        self._line_after(b"PB5 1" if on else b"PB5 0", seconds)

    def _line_after(self, start: bytes, seconds: float) -> bytes:
        """Return what follows ``start`` on the runner's next line that begins so."""
        assert self._process, "the emulator is not running"
        assert self._process.stdout
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while True:
            *lines, self._said = self._said.split(b"\n")
            for number, line in enumerate(lines):
                if line.startswith(start):
                    self._said = b"\n".join([*lines[number + 1 :], self._said])
                    return line[len(start) :]
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([output], [], [], left)
            assert ready, f"the emulator did not say {start!r} within {seconds:g} s"
            data = os.read(output, 4096)
            assert data, f"the emulator ended with status {self._process.wait(START_SECONDS)}"
            self._said += data


@pytest.fixture(scope="session")
def avr_build(tmp_path_factory: pytest.TempPathFactory) -> AvrBuild:
    """Runner and firmware, compiled once a session and folder of tests."""
    return build(tmp_path_factory.mktemp("avr"))


@pytest.fixture
def simavr(avr_build: AvrBuild, tmp_path: Path) -> Iterator[Simavr]:
    """A board of this test's own, plugged in; its analogue input sees 2.5 V."""
    with Simavr(avr_build, tmp_path / "board", millivolts=2500) as board:
        yield board
