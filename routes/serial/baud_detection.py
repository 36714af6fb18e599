"""At which rate does the board speak? The driver's handshake is the proof.

Which rates are tried in which order is decided here, and which one proved is
remembered for the next opening; moving the port from one to the next is the
link's, and when, the driver thread's. Noise that happens to look like a frame
is no proof: only a handshake that succeeded is.

This module opens nothing and reads no clock. Refused: no rates at all.
"""

from __future__ import annotations

from collections.abc import Sequence


class Rates:
    """The rates of one port, likeliest first; lives as long as its opener.

    >>> rates = Rates((115200, 9600))
    >>> rates.begin()
    115200
    >>> rates.next()
    9600
    >>> rates.tried
    '115200 and 9600 baud'
    >>> rates.proven()
    >>> rates.begin()
    9600
    """

    def __init__(self, rates: Sequence[int]) -> None:
        if not rates:
            raise ValueError("a port needs a rate, or several to choose from")
        self._order = list(rates)
        self._at = 0
        self._tried = 1

    def __len__(self) -> int:
        return len(self._order)

    @property
    def likeliest(self) -> int:
        """The rate that proved last, or the first of those that were given."""
        return self._order[0]

    def begin(self) -> int:
        """Return the `likeliest` rate, to open with."""
        self._at = 0
        self._tried = 1
        return self._order[0]

    def next(self) -> int:
        """Return the rate to go on with; after the last comes the first again.

        A board that restarts when its port is opened is deaf to the first few.
        """
        self._at = (self._at + 1) % len(self._order)
        self._tried = min(self._tried + 1, len(self._order))
        return self._order[self._at]

    def proven(self) -> None:
        """Begin with this rate from now on."""
        self._order.insert(0, self._order.pop(self._at))
        self._at = 0

    @property
    def tried(self) -> str:
        """The rates that were tried since `begin`, for a person; empty where one is known."""
        if len(self._order) == 1:
            return ""
        *others, last = map(str, self._order[: self._tried])
        return f"{', '.join(others)} and {last} baud" if others else f"{last} baud"
