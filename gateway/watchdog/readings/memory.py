"""How much memory there is, and how much can be had still, from /proc/meminfo (proc_meminfo(5)).

What is available is the kernel's own estimate, ``MemAvailable``: free memory
says little, since what is free is used for files.
"""

from __future__ import annotations

from pathlib import Path

from gateway.watchdog.reading import Reading, failed

_NAMES = {
    "MemTotal": "total",
    "MemAvailable": "available",
    "SwapTotal": "swap_total",
    "SwapFree": "swap_free",
}


def read(root: Path, at: float) -> Reading:
    """Return ``total``, ``available``, ``swap_total`` and ``swap_free`` in bytes."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        found = {
            _NAMES[name]: int(rest.split()[0]) * 1024
            for name, _, rest in (line.partition(":") for line in lines)
            if name in _NAMES
        }
    except (OSError, ValueError, IndexError) as error:
        return failed(at, f"/proc/meminfo cannot be read: {error}")
    if missing := [name for name, key in _NAMES.items() if key not in found]:
        return failed(at, f"/proc/meminfo does not tell {', '.join(missing)}")
    return Reading(dict(found), at)
