"""Whether the clock is set by somebody who knows the time.

systemd-timesyncd leaves a file when it has set it
(systemd-timesyncd.service(8)). Whoever else does, the kernel knows
(adjtimex(2)): its estimate of the largest error grows to 16 s and stays there
where nobody disciplines the clock. The status bit STA_UNSYNC is no witness, as
some clients set it to keep the kernel off the hardware's clock.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.watchdog.reading import Reading, failed

FILE: Final = "run/systemd/timesync/synchronized"

_LARGEST: Final = 16_000_000
"""Microseconds; the kernel's NTP_PHASE_LIMIT."""


class _Timex(ctypes.Structure):
    # The beginning of struct timex; the rest is room for the kernel to write.
    _fields_ = [
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    ]


def kernel_error() -> int:
    """Return the kernel's estimate of the clock's error, in microseconds; raise `OSError`."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex failed")
    return int(timex.maxerror)


def read(root: Path, at: float, error: Callable[[], int] = kernel_error) -> Reading:
    """Return ``synchronized``, ``by`` whom it is known, ``error_seconds`` (None where unknown)."""
    has_file = os.path.exists(root / FILE)
    try:
        microseconds = error()
    except (OSError, AttributeError) as trouble:
        if not has_file:
            return failed(at, f"the kernel does not tell of its clock: {trouble}")
        return Reading({"synchronized": True, "by": "timesyncd", "error_seconds": None}, at)
    is_disciplined = microseconds < _LARGEST
    seconds = microseconds / 1e6 if is_disciplined else None
    by = "timesyncd" if has_file else "kernel"
    return Reading(
        {"synchronized": has_file or is_disciplined, "by": by, "error_seconds": seconds}, at
    )
