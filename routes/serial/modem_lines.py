"""DTR, RTS, break and RS-485: what a port does besides carrying bytes.

Linux raises DTR and RTS when a port is opened and drops them when it is closed
for the last time; a board whose reset hangs on such an edge restarts both
times. `keep_up` ends the second edge; nothing but leaving the port open ends
the first one after power-up.

Each function raises the `OSError` of a port that cannot do it (ENOTTY, EINVAL)
or is gone (EIO). Refused: to hold a line for longer than its setting allows,
two seconds at most, since who opens a port waits for it.
"""

from __future__ import annotations

import array
import fcntl
import struct
import termios
import time

from routes.serial.settings import Reset, Rs485

_LINES = {"dtr": termios.TIOCM_DTR, "rts": termios.TIOCM_RTS}

# <asm-generic/ioctls.h> and <linux/tty.h>; the termios module lacks them.
_TIOCSBRK, _TIOCCBRK = 0x5427, 0x5428
_TIOCGRS485, _TIOCSRS485 = 0x542E, 0x542F
_ENABLED, _RTS_ON_SEND, _RTS_AFTER_SEND, _RX_DURING_TX = 1, 2, 4, 16
_RS485_WORDS = 8


def set_line(descriptor: int, line: str, up: bool) -> None:
    """Raise or drop ``line``, ``dtr`` or ``rts``."""
    request = termios.TIOCMBIS if up else termios.TIOCMBIC
    fcntl.ioctl(descriptor, request, struct.pack("I", _LINES[line]))


def keep_up(descriptor: int, *, drops_at_close: bool) -> None:
    """Say whether the port drops DTR and RTS when it is closed."""
    attributes = termios.tcgetattr(descriptor)
    attributes[2] &= ~termios.HUPCL
    if drops_at_close:
        attributes[2] |= termios.HUPCL
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def send_break(descriptor: int, seconds: float) -> None:
    """Hold the data line low for ``seconds``."""
    fcntl.ioctl(descriptor, _TIOCSBRK)
    try:
        time.sleep(seconds)
    finally:
        fcntl.ioctl(descriptor, _TIOCCBRK)


def pull(descriptor: int, reset: Reset) -> None:
    """Give the pulse that restarts the board, and let the line go again."""
    if reset.line == "break":
        send_break(descriptor, reset.seconds)
        return
    set_line(descriptor, reset.line, up=False)
    try:
        time.sleep(reset.seconds)
    finally:
        set_line(descriptor, reset.line, up=True)


def set_rs485(descriptor: int, wanted: Rs485) -> str:
    """Switch RS-485 on; return what the port made of it where that is not as wanted, or ``""``."""
    words = array.array("I", [0] * _RS485_WORDS)
    words[0] = (
        _ENABLED
        | _RTS_ON_SEND * wanted.rts_on_send
        | _RTS_AFTER_SEND * wanted.rts_after_send
        | _RX_DURING_TX * wanted.rx_during_tx
    )
    words[1] = round(wanted.delay_before_send * 1000)
    words[2] = round(wanted.delay_after_send * 1000)
    fcntl.ioctl(descriptor, _TIOCSRS485, bytes(words))
    # The kernel takes what the driver can do, and says nothing of the rest.
    found = array.array("I", fcntl.ioctl(descriptor, _TIOCGRS485, bytes(words)))
    names = {
        "rts_on_send": (words[0] ^ found[0]) & _RTS_ON_SEND,
        "rts_after_send": (words[0] ^ found[0]) & _RTS_AFTER_SEND,
        "rx_during_tx": (words[0] ^ found[0]) & _RX_DURING_TX,
        "delay_before_send": words[1] != found[1],
        "delay_after_send": words[2] != found[2],
    }
    return ", ".join(name for name, differs in names.items() if differs)
