"""Room for the descriptors of many devices.

Each hosted device has eight descriptors: its link, five of its mailbox, two of
its lookout. A service begins with 1024 as its soft limit, which a hundred
devices exceed; it may raise that itself, up to the hard limit, which only the
administrator can.

Refused: nothing; where the hard limit is too low the log says what to set, and
the devices beyond it fail with what the kernel says.
"""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

EACH = 12
"""Descriptors that are reckoned for a device: some more than it holds, for a moment, at opening."""
BESIDES = 256
"""Those of the process itself, and of who writes to it."""


def make_room_for(devices: int) -> int:
    """Raise the soft limit where ``devices`` need it; return what it is now."""
    needed = BESIDES + EACH * devices
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if possible < needed:
        log.warning(
            "%d devices need %d open files, and %d are allowed: set LimitNOFILE=%d in the unit",
            devices,
            needed,
            hard,
            needed,
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return possible
