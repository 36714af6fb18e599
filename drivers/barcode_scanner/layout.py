"""What a key of a US keyboard writes, by its usage number.

USB HID Usage Tables 1.12, section 10 (keyboard/keypad page). With Ctrl held a letter is
the control character of that name, as in ASCII: Ctrl+] is 0x1d, which GS1 codes hold
between their fields. Pure.

Refused (None): keys that write nothing, and any key together with Alt or the GUI key.
"""

from __future__ import annotations

from typing import Final

ENTER: Final = 0x28
TAB: Final = 0x2B
KEYPAD_ENTER: Final = 0x58

CTRL: Final = 0x11
"""The bits of both control keys in the modifiers of a report."""
SHIFT: Final = 0x22
OTHERS: Final = 0xCC
"""Alt and GUI, left and right."""

_RUNS: Final = (
    (0x04, "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    (0x1E, "1234567890", "!@#$%^&*()"),
    (0x2B, "\t -=[]\\", "\t _+{}|"),
    (0x33, ";'`,./", ':"~<>?'),
    (0x54, "/*-+", "/*-+"),
    (0x59, "1234567890.", "1234567890."),
)
US: Final = {
    first + at: (plain, shifted)
    for first, plains, shifteds in _RUNS
    for at, (plain, shifted) in enumerate(zip(plains, shifteds, strict=True))
}
"""Usage number to what the key writes by itself, and with Shift."""


def character(usage: int, modifiers: int) -> str | None:
    r"""Return what a key writes; None where it writes nothing.

    >>> character(0x04, 0), character(0x04, 0x02), character(0x30, 0x01), character(0x3A, 0)
    ('a', 'A', '\x1d', None)
    """
    if usage not in US or modifiers & OTHERS:
        return None
    plain, shifted = US[usage]
    if modifiers & CTRL:
        control = ord(plain.upper())
        return chr(control & 0x1F) if 0x40 <= control < 0x60 else None
    return shifted if modifiers & SHIFT else plain
