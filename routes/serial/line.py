"""What the line of an open port really is, held against what was configured.

A driver that cannot do a rate, seven bits or mark parity takes the call and
does something else; ``tcsetattr`` only fails where nothing at all could be
done. So everything is read back, and what is not as it was asked for is named.

A pseudo-terminal has no line: no rate, no parity, no modem lines. It carries
whole bytes whatever it is told, and nothing is held against it.
"""

from __future__ import annotations

import array
import fcntl
import os
import termios

from routes.serial.settings import SerialSettings

TOLERANCE = 0.03
"""How far a rate may be off: a UART samples ten bits, and half a bit is lost at 5 %."""

_UNIX98_SLAVES = range(136, 144)
"""Major numbers of pseudo-terminals; see Linux's devices.txt."""

# <asm-generic/termbits.h>; the termios module lacks them.
_CMSPAR = 0o10000000000
_BOTHER = 0o010000
_CBAUD = 0o010017
_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B
_CFLAG, _ISPEED, _OSPEED = 2, 9, 10

_SIZES = {5: termios.CS5, 6: termios.CS6, 7: termios.CS7, 8: termios.CS8}
_PARITIES = {
    "N": 0,
    "E": termios.PARENB,
    "O": termios.PARENB | termios.PARODD,
    "M": termios.PARENB | termios.PARODD | _CMSPAR,
    "S": termios.PARENB | _CMSPAR,
}
_PARITY_BITS = termios.PARENB | termios.PARODD | _CMSPAR


def is_pseudo_terminal(port: int | str) -> bool:
    """Tell whether ``port``, a descriptor or a path, is the near end of a pty: it has no line.

    Raises `OSError` where there is nothing.
    """
    return os.major(os.stat(port).st_rdev) in _UNIX98_SLAVES


def rate_of(descriptor: int) -> int:
    """Return the rate at which the port sends, in bits a second."""
    return _line_of(descriptor)[_OSPEED]


def set_rate(descriptor: int, baud: int) -> None:
    """Set both directions to ``baud``, and throw away what came at another rate.

    DTR and RTS stay as they are, so that a board does not restart.
    """
    constant = getattr(termios, f"B{baud}", None)
    if constant is not None:
        attributes = termios.tcgetattr(descriptor)
        attributes[4] = attributes[5] = constant
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    else:
        line = _line_of(descriptor)
        line[_CFLAG] = line[_CFLAG] & ~_CBAUD | _BOTHER
        line[_ISPEED] = line[_OSPEED] = baud
        fcntl.ioctl(descriptor, _TCSETS2, line.tobytes())
    termios.tcflush(descriptor, termios.TCIOFLUSH)


def rate_mistake(descriptor: int, baud: int) -> str:
    """Say what is wrong with the rate; empty where it is right."""
    found = rate_of(descriptor)
    if abs(found - baud) <= baud * TOLERANCE:
        return ""
    return f"baud = {baud}: the port makes {found} of it; choose a rate that it can do"


def mistakes(descriptor: int, settings: SerialSettings) -> list[str]:
    """Say which settings the port has not taken, each with what would be right."""
    iflag, _, cflag, *_ = termios.tcgetattr(descriptor)
    found = []
    if cflag & termios.CSIZE != _SIZES[settings.bytesize]:
        sizes = {bits: size for size, bits in _SIZES.items()}
        can = sizes[cflag & termios.CSIZE]
        found.append(f"bytesize = {settings.bytesize}: the port takes {can}")
    if cflag & _PARITY_BITS != _PARITIES[settings.parity]:
        parities = {bits: parity for parity, bits in _PARITIES.items()}
        can_do = parities.get(cflag & _PARITY_BITS, "N")
        found.append(f'parity = "{settings.parity}": the port makes "{can_do}" of it')
    if bool(cflag & termios.CSTOPB) != (settings.stopbits == 2):
        found.append(f"stopbits = {settings.stopbits}: the port has {3 - settings.stopbits} only")
    if settings.rtscts and not cflag & termios.CRTSCTS:
        found.append("rtscts: the port has no RTS/CTS; use xonxoff, or none")
    if settings.xonxoff and iflag & (termios.IXON | termios.IXOFF) != termios.IXON | termios.IXOFF:
        found.append("xonxoff: the port cannot; use rtscts, or none")
    return found


def _line_of(descriptor: int) -> array.array[int]:
    """Return ``struct termios2`` as words; the control characters between are left as bytes."""
    words = array.array("I", [0] * 16)
    return array.array("I", fcntl.ioctl(descriptor, _TCGETS2, words.tobytes()))
