"""A child of `os.fork()` that comes back into the process that forked it ends there.

It has that process's sockets, and would take letters out of them that nobody ever sees again.
What it does before it comes back is its own affair, as in `multiprocessing`.
"""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from typing import NoReturn
from weakref import WeakSet

from gateway.bus.mailbox import Mailbox

log = logging.getLogger(__name__)

STATUS = 1
"""What such a child ends with."""

_READS = ("get", "wait_for", "arm", "open_call", "read_replies")
"""What whoever reads calls, on a thread or on a loop."""

_boxes: WeakSet[Mailbox] = WeakSet()


def heed_forks(box: Mailbox) -> None:
    """Have no child of `os.fork()` read ``box``, whose process runs in this OS process."""
    _heed_forks_at_all()
    _boxes.add(box)


@cache
def _heed_forks_at_all() -> None:
    os.register_at_fork(after_in_child=_turn_away_all)


def _turn_away_all() -> None:
    for box in list(_boxes):
        for reads in _READS:
            setattr(box, reads, partial(_end, box.name))


def _end(name: str, *arguments: object, **options: object) -> NoReturn:
    try:
        log.critical(
            "a child of os.fork() (pid %d) has come back into %r, whose mail is its parent's:"
            " it ends here; end it with os._exit, or use run='fork' or multiprocessing",
            os.getpid(),
            name,
        )
    finally:
        os._exit(STATUS)
