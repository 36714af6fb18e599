"""How long somebody waits: a number of seconds, read alike wherever one is named.

Refused: what is no number (`TypeError`), and what has no end, inf and nan (`ValueError`).
"""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any, TypeGuard

USUAL = 5.0
"""Seconds that are waited where nobody says how long; this very object need not be checked."""

MOST = 2_000_000.0
"""Seconds that anybody waits at the most, some 23 days: epoll takes 2**31 ms and no more."""

FAR = 1e12
"""Seconds after which something is due at the latest, some 30 thousand years."""


def is_number(given: object) -> TypeGuard[float]:
    """Tell whether ``given`` is a real number; True and False are none.

    >>> is_number(5), is_number(True), is_number("5")
    (True, False, False)
    """
    return isinstance(given, Real) and not isinstance(given, bool)


def in_seconds(timeout: Any, what: str = "a timeout", most: float = MOST) -> float:
    """Return ``timeout`` as what can be waited for, from 0 to ``most`` seconds.

    ``what`` is how an error calls it.

    >>> in_seconds(5), in_seconds(-0.1), in_seconds(1e10)
    (5.0, 0.0, 2000000.0)
    """
    if type(timeout) in (int, float) and 0 <= timeout <= most:
        return float(timeout)
    if not is_number(timeout):
        raise TypeError(f"{what} is a number of seconds, not {timeout!r}")
    if not timeout < inf:
        raise ValueError(f"{what} is a number of seconds that end, not {timeout!r}")
    # Compared first: there are whole numbers that are too large for a float.
    if timeout <= 0:
        return 0.0
    return float(timeout) if timeout <= most else most
