"""The reports of a boot keyboard, and the keys that are newly pressed in each.

HID 1.11, appendix B.1: eight bytes; modifiers, one that is reserved, six usage numbers
of keys that are down. A key counts when it was up in the report before. A report that
says nothing but "too many keys" changes nothing. Pure.

Refused: a report of less than eight bytes (`ProtocolError`); what follows the eighth is
left alone, as the standard asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from drivers.barcode_scanner.layout import ENTER, KEYPAD_ENTER, TAB, US, character
from gateway.errors import ProtocolError

SIZE: Final = 8
_NO_KEY: Final = 0x00
_LAST_ERROR: Final = 0x03
_RIGHT_SHIFT: Final = 0x20
_LEFT_CTRL: Final = 0x01


class Press(NamedTuple):
    """A key that went down."""

    usage: int
    modifiers: int


class Keyboard:
    """Remembers which keys are down.

    >>> keyboard = Keyboard()
    >>> keyboard.feed(bytes([0x02, 0, 0x04, 0, 0, 0, 0, 0]))
    [Press(usage=4, modifiers=2)]
    >>> keyboard.feed(bytes([0x02, 0, 0x04, 0x05, 0, 0, 0, 0]))
    [Press(usage=5, modifiers=2)]
    """

    def __init__(self) -> None:
        self._down: frozenset[int] = frozenset()

    def feed(self, report: bytes) -> list[Press]:
        """Return the keys that ``report`` says are newly down, in its order."""
        if len(report) < SIZE:
            raise ProtocolError(f"a keyboard's report has {SIZE} bytes, not {len(report)}")
        keys = report[2:SIZE]
        if any(_NO_KEY < key <= _LAST_ERROR for key in keys):
            return []
        before, self._down = self._down, frozenset(keys)
        fresh = dict.fromkeys(key for key in keys if key and key not in before)
        return [Press(key, report[0]) for key in fresh]


def typed(text: str) -> Iterator[bytes]:
    r"""Yield the reports with which a keyboard types ``text``: down, up, for each letter.

    ``\n`` is Enter; `ValueError` for what no key of the layout writes.

    >>> [report.hex() for report in typed("A")]
    ['2000040000000000', '0000000000000000']
    """
    for each in text:
        if each not in _KEYS:
            raise ValueError(f"no key of a US keyboard writes {each!r}")
        yield _KEYS[each]
        yield bytes(SIZE)


def _report(modifiers: int, usage: int) -> bytes:
    return bytes([modifiers, 0, usage, 0, 0, 0, 0, 0])


def _keys() -> dict[str, bytes]:
    """Return the report with which each character is typed."""
    found: dict[str, bytes] = {}
    # The keypad comes last in the table and must not take the place of the digits.
    for usage, (plain, shifted) in US.items():
        found.setdefault(plain, _report(0, usage))
        found.setdefault(shifted, _report(_RIGHT_SHIFT, usage))
        if control := character(usage, _LEFT_CTRL):
            found.setdefault(control, _report(_LEFT_CTRL, usage))
    found["\n"] = _report(0, ENTER)
    found["\t"] = _report(0, TAB)
    return found


_KEYS: Final = _keys()
ENDS: Final = {"enter": frozenset({ENTER, KEYPAD_ENTER}), "tab": frozenset({TAB})}
"""The keys that a scanner may press after each code, by the word for them."""
