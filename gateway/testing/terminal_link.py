"""A `Link` over a terminal, for a simulated board that has one.

It is what a contract test needs and no more: the real thing, with rates,
parity and reasons in words, is the serial route's. Refused: to wait in `read`,
and to wait longer than `WRITE_SECONDS` in `write`.
"""

from __future__ import annotations

import os
import select
import termios
import tty
from pathlib import Path

from gateway.device.link import Link, Opener
from gateway.errors import LinkAbsentError, LinkLostError

WRITE_SECONDS = 5.0
"""How long a peer that takes no bytes is borne with."""


class TerminalLink(Link):
    """One opening of the terminal at ``path``."""

    def __init__(self, path: Path) -> None:
        """Open it; `LinkAbsentError` where nothing is there."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise LinkAbsentError(f"{path} is not there: {error.strerror}") from error
        try:
            tty.setraw(self._descriptor)
        except termios.error as error:
            self.close()
            raise LinkAbsentError(f"{path} has just gone: {error}") from error

    def fileno(self) -> int:
        """Return the terminal's descriptor."""
        return self._descriptor

    def read(self) -> bytes:
        """Return what has come, or ``b""``."""
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkLostError(f"the terminal: {error.strerror}") from error
        if not data:
            raise LinkLostError("the terminal has hung up")
        return data

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while data:
            if not poll.poll(WRITE_SECONDS * 1000):
                raise LinkLostError(f"the board took no bytes for {WRITE_SECONDS:g} s")
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                raise LinkLostError(f"the terminal: {error.strerror}") from error

    def close(self) -> None:
        """Give the descriptor back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def opener(path: Path) -> Opener:
    """Return what opens the terminal behind ``path``."""
    return lambda: TerminalLink(path)
