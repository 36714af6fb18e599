"""Open a serial port and set it up, until what is read back is what was asked for.

pyserial opens and configures; then the descriptor is taken from it, since its
object holds four more of its own for a `read` that is not used here.

What a port cannot do is an error that names the setting and what would be
right. On a pseudo-terminal nothing of the line can be set, and nothing is held
against it: it is told once, as a note, and a simulated board needs no other
configuration than a real one. ``low_latency`` is a wish: where it comes to
nothing, that is a note as well.

Refused: to share the port. ``flock`` keeps out programs that ask for the same,
``TIOCEXCL`` those that ask for nothing, unless they are root's. A pty gets no
``TIOCEXCL``: its far end may hold it open, and the mark would outlive us.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from typing import NamedTuple

import serial

from gateway.errors import LinkLostError
from routes.serial import line, modem_lines
from routes.serial.refusal import is_gone, refusal
from routes.serial.settings import SerialSettings

_ASYNC_LOW_LATENCY = 0x2000  # <linux/tty_flags.h>
_FLAGS = 4  # of struct serial_struct, in words
_CANNOT = {errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM}


class OpenPort(NamedTuple):
    """A descriptor that does not block, whose owner gives it back with `close_port`."""

    descriptor: int
    notes: tuple[str, ...]
    """What the port could not do, and may be borne with."""


def open_port(settings: SerialSettings, baud: int) -> OpenPort:
    """Open the port that ``settings`` name at ``baud``; raises as `refusal` has it."""
    name = settings.port
    line_words = f"{baud} baud {settings.bytesize}{settings.parity}{settings.stopbits}"
    try:
        descriptor = _opened(settings, baud)
    except (serial.SerialException, termios.error, OSError) as error:
        # SerialException is an OSError; termios.error, of a port that went
        # between its opening and its configuration, is not.
        raise refusal(name, line_words, error) from error
    except ValueError as error:
        raise LinkLostError(f"{name} cannot do that: {error}") from error
    try:
        notes = _set_up(descriptor, settings, baud)
    except (termios.error, OSError) as error:
        close_port(descriptor, broken=True)
        raise refusal(name, line_words, error) from error
    except LinkLostError:
        close_port(descriptor, broken=True)
        raise
    return OpenPort(descriptor, tuple(notes))


def close_port(descriptor: int, broken: bool) -> None:
    """Close a port; never raises, and never waits for a peer that takes nothing."""
    with contextlib.suppress(termios.error, OSError):
        if broken:
            # Closing waits (up to 30 s) for unsent bytes to leave.
            termios.tcflush(descriptor, termios.TCOFLUSH)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCNXCL)
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _opened(settings: SerialSettings, baud: int) -> int:
    # A pty takes parity in silence at times, and refuses it at others.
    has_line = not line.is_pseudo_terminal(settings.port)
    port = serial.Serial(
        port=None,  # given below: with a port the constructor opens it, half configured
        baudrate=baud,
        bytesize=settings.bytesize if has_line else 8,
        parity=settings.parity if has_line else "N",
        stopbits=settings.stopbits,
        rtscts=settings.rtscts,
        xonxoff=settings.xonxoff,
        exclusive=settings.exclusive or None,
        # pyserial's way to say VMIN=1: with its usual 0 an empty port and a
        # dead one both read as b"".
        inter_byte_timeout=0,
    )
    port.port = settings.port
    # Set as they are to be from the first: pyserial raises them otherwise.
    port.dtr = settings.dtr is not False
    port.rts = settings.rts is not False
    if settings.rs485 is not None:
        port.rts = settings.rs485.rts_after_send
    port.open()
    try:
        # flock belongs to what both descriptors stand for, and is kept.
        return fcntl.fcntl(port.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        port.close()


def _set_up(descriptor: int, settings: SerialSettings, baud: int) -> list[str]:
    """Do what pyserial does not, and read back what it did; return notes."""
    if line.is_pseudo_terminal(descriptor):
        return _nothing_to_set(settings)
    if settings.exclusive:
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
    wrong = line.mistakes(descriptor, settings)
    if mistake := line.rate_mistake(descriptor, baud):
        wrong.append(mistake)
    wrong += _set_lines(descriptor, settings)
    if wrong:
        raise LinkLostError(f"{settings.port} cannot do that: {'; '.join(wrong)}")
    return [_low_latency(descriptor)] if settings.low_latency else []


def _nothing_to_set(settings: SerialSettings) -> list[str]:
    asked = {
        "bytesize": settings.bytesize != 8,
        "parity": settings.parity != "N",
        "rs485": settings.rs485 is not None,
        "dtr": settings.dtr is not None,
        "rts": settings.rts is not None,
        "hupcl": settings.hupcl is not None,
        "reset": settings.reset is not None,
    }
    names = [name for name, is_asked in asked.items() if is_asked]
    if not names:
        return []
    return [f"it is a pseudo-terminal, which has no line: {', '.join(names)} counts for nothing"]


def _set_lines(descriptor: int, settings: SerialSettings) -> list[str]:
    """Set what hangs on the port's wires; return what it cannot do."""
    rs485, reset, hupcl = settings.rs485, settings.reset, settings.hupcl
    wrong = []
    if rs485 is not None:
        differs = ""

        def switch() -> None:
            nonlocal differs
            differs = modem_lines.set_rs485(descriptor, rs485)

        no = "the port's driver has no RS-485 mode; use an adapter that switches by itself"
        wrong += _attempt("rs485", no, switch)
        if differs:
            wrong.append(f"rs485: the port's driver cannot do {differs} as configured")
    no = "the port has no such line; leave it out"
    for name, up in (("dtr", settings.dtr), ("rts", settings.rts)):
        if up is not None:
            wrong += _attempt(name, no, modem_lines.set_line, descriptor, name, up)
    if hupcl is not None:
        modem_lines.keep_up(descriptor, drops_at_close=hupcl)
    if reset is not None:
        no = f"the port has no {reset.line}; choose another line, or leave it out"
        wrong += _attempt("reset", no, modem_lines.pull, descriptor, reset)
        termios.tcflush(descriptor, termios.TCIFLUSH)
    return wrong


def _attempt(name: str, no: str, act: Callable[..., None], *arguments: object) -> list[str]:
    """Do it; return ``name: no`` where the port cannot. One that is gone raises."""
    try:
        act(*arguments)
    except OSError as error:
        if is_gone(error) or error.errno not in _CANNOT:
            raise
        return [f"{name}: {no}"]
    return []


def _low_latency(descriptor: int) -> str:
    """Ask for it, and return whether the port has it now, in words."""
    words = array.array("I", [0] * 32)
    try:
        words = array.array("I", fcntl.ioctl(descriptor, termios.TIOCGSERIAL, words.tobytes()))
        words[_FLAGS] |= _ASYNC_LOW_LATENCY
        fcntl.ioctl(descriptor, termios.TIOCSSERIAL, words.tobytes())
        words = array.array("I", fcntl.ioctl(descriptor, termios.TIOCGSERIAL, words.tobytes()))
    except OSError as error:
        if is_gone(error):
            raise
        return f"low_latency: the port's driver knows no such thing ({error.strerror})"
    if words[_FLAGS] & _ASYNC_LOW_LATENCY:
        return "low_latency is on"
    return "low_latency: the port's driver took it and did nothing"
