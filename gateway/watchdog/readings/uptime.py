"""For how long the machine has been running, from /proc/uptime (proc_uptime(5))."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from gateway.watchdog.reading import Reading, failed


def read(root: Path, at: float) -> Reading:
    """Return ``seconds`` since the machine started."""
    try:
        seconds = float((root / "proc/uptime").read_text().split()[0])
        if not isfinite(seconds):
            raise ValueError(f"{seconds} is no time")
    except (OSError, ValueError, IndexError) as error:
        return failed(at, f"/proc/uptime cannot be read: {error}")
    return Reading({"seconds": seconds}, at)
