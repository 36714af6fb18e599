"""What the kernel has complained of, USB and power, from /dev/kmsg.

Reading it moves nothing: each reader has a place of its own. Most systems let only
root read; None says that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

KEPT: Final = 20
"""Complaints, the newest."""
_MOST: Final = 100_000
"""Records that are looked through."""

COMPLAINT: Final = re.compile(
    r"under-?voltage detected|over-current|device descriptor read/\d+, error"
    r"|device not accepting address|unable to enumerate|cannot enable\. maybe the usb cable is bad"
    r"|disabled by hub \(EMI\?\)|not enough (bandwidth|power)|insufficient available bus power",
    re.IGNORECASE,
)
"""How the kernel puts it."""


def complaints(path: Path = Path("/dev/kmsg")) -> tuple[str, ...] | None:
    """Return the newest complaints, oldest first; None where they may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found: list[str] = []
    try:
        for _ in range(_MOST):
            try:
                data = os.read(descriptor, 8192)
            except BlockingIOError:
                break  # that was all of them
            except BrokenPipeError:
                continue  # older ones were overwritten while we read
            except OSError:
                return None
            if not data:
                break
            found += [_text(line) for line in data.decode(errors="replace").splitlines()]
            found = [line for line in found if COMPLAINT.search(line)][-KEPT:]
    finally:
        os.close(descriptor)
    return tuple(found)


def _text(record: str) -> str:
    """Return a record without its head of numbers: ``6,1234,5678,-;text``."""
    head, semicolon, said = record.partition(";")
    return said if semicolon and "," in head else record
