"""How many tasks want to run, from /proc/loadavg (proc_loadavg(5)), and how many cores there are.

The cores are those that the kernel has online, ``0-3`` or ``0,2-3`` in
/sys/devices/system/cpu/online.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from gateway.watchdog.reading import Reading, failed


def read(root: Path, at: float) -> Reading:
    """Return the load over ``1m``, ``5m`` and ``15m``; ``cores``, None where nobody says."""
    try:
        loads = [float(each) for each in (root / "proc/loadavg").read_text().split()[:3]]
        one, five, fifteen = loads
        if not all(map(isfinite, loads)):
            raise ValueError(f"{loads} are no loads")
    except (OSError, ValueError) as error:
        return failed(at, f"/proc/loadavg cannot be read: {error}")
    return Reading({"1m": one, "5m": five, "15m": fifteen, "cores": _cores(root)}, at)


def _cores(root: Path) -> int | None:
    try:
        return count((root / "sys/devices/system/cpu/online").read_text())
    except (OSError, ValueError):
        return None


def count(cores: str) -> int:
    """Return how many a list of the kernel's names.

    >>> count("0-3"), count("0,2-3"), count("0")
    (4, 3, 1)
    """
    found = 0
    for part in cores.strip().split(","):
        first, _, last = part.partition("-")
        found += int(last or first) - int(first) + 1
    return found
