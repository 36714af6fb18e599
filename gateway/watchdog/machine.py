"""All readings of the machine, by their names in the report."""

from __future__ import annotations

from pathlib import Path

from gateway.watchdog.reading import Reading
from gateway.watchdog.readings import (
    clock_sync,
    disk,
    load,
    memory,
    power,
    temperature,
    uptime,
)


def read_machine(root: Path, at: float, *, state: str, sockets: str) -> dict[str, Reading]:
    """Read everything below ``root``, at the moment ``at``; raises nothing.

    ``state`` and ``sockets`` are the folders whose file systems are looked at.
    """
    return {
        "uptime": uptime.read(root, at),
        "load": load.read(root, at),
        "memory": memory.read(root, at),
        "temperature": temperature.read(root, at),
        "power": power.read(root, at),
        "disk_state": disk.read(root, at, state),
        "disk_run": disk.read(root, at, sockets),
        "clock": clock_sync.read(root, at),
    }
