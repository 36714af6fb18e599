"""One OS process of an external program: started, watched, signalled, its output logged.

It is started by `subprocess` (no fork of our own), inherits its socket and
nothing else, and leads a session of its own, so that Ctrl-C at the terminal is
not for it and its children can be ended with it. What it writes to stdout and
stderr goes to the log, a line at a time.

Belongs to one event loop, on whose thread all of it is called; nothing waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from gateway.supervision.external_launch import SOCKET
from gateway.supervision.external_lines import Lines, TooLong
from gateway.supervision.program import Program, ProgramError

log = logging.getLogger(__name__)

SAID = 4096
"""Bytes of one line of output that the log shows at the most."""

_LAUNCH = Path(__file__).with_name("external_launch.py")
_READ = 64 * 1024


class OsProcess:
    """A program that runs, and the gateway's end of its socket."""

    def __init__(self, name: str, program: Program) -> None:
        """Start ``program`` under ``name``; raise `ProgramError` where that fails."""
        if not program.find():
            raise ProgramError(f"there is no program {program.command[0]!r} that could be run")
        self._name = name
        self._loop = asyncio.get_running_loop()
        self.exited = asyncio.Event()
        self.status: int | None = None
        """Its exit status once it was reaped, negative where a signal ended it."""
        ours, theirs = socket.socketpair()
        try:
            self._popen = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_LAUNCH)),
                    *(str(theirs.fileno()), str(os.getpid()), *program.command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=program.folder,
                env={
                    **program.surroundings(),
                    "GATEWAY_SOCKET_FD": str(SOCKET),
                    "GATEWAY_NAME": name,
                },
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise ProgramError(f"it cannot be started: {error}") from error
        finally:
            theirs.close()
        self.pid = self._popen.pid
        self.socket = ours
        ours.setblocking(False)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            # Nobody would see it end, so that it is not begun.
            self.reap()
            for end in (ours, self._popen.stdout, self._popen.stderr):
                if end is not None:
                    end.close()
            raise ProgramError(f"it cannot be watched: {error.strerror}") from error
        self._loop.add_reader(self._pidfd, self._on_exit)
        self._outputs: dict[int, tuple[Lines, int]] = {}
        for stream, level in (
            (self._popen.stdout, logging.INFO),
            (self._popen.stderr, logging.WARNING),
        ):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._outputs[stream.fileno()] = (Lines(SAID), level)
            self._loop.add_reader(stream.fileno(), self._on_output, stream.fileno())

    def signal(self, number: signal.Signals) -> None:
        """Send ``number`` to the program and all of its session; one that has ended is fine."""
        if self.status is None:
            # Until it is reaped nobody else can be given its number.
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                # It has ended, and its pidfd says so in a moment.
                return

    def reap(self) -> int | None:
        """End what is left of its session; return its status, None where not even a KILL helps."""
        if self.status is None:
            self.signal(signal.SIGKILL)
            try:
                self.status = self._popen.wait(0.5)
            except subprocess.TimeoutExpired:
                log.error("%s has not ended 0.5 s after a KILL", self._name)
        return self.status

    def close(self) -> None:
        """Reap it, killed where it runs still, and give everything back."""
        self.reap()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        for fd in list(self._outputs):
            self._on_output(fd)
            self._end_output(fd)
        for stream in (self._popen.stdout, self._popen.stderr):
            assert stream is not None
            stream.close()
        self._loop.remove_reader(self.socket)
        self.socket.close()

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self.exited.set()

    def _on_output(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self._end_output(fd)
            return
        lines, level = self._outputs[fd]
        self._log(lines.feed(data), level)

    def _end_output(self, fd: int) -> None:
        found = self._outputs.pop(fd, None)
        if found is not None:
            self._loop.remove_reader(fd)
            self._log(found[0].end(), found[1])

    def _log(self, lines: list[bytes | TooLong], level: int) -> None:
        for line in lines:
            said = "a line that is too long" if isinstance(line, TooLong) else _text(line)
            log.log(level, "%s: %s", self._name, said)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
