"""A child of `os.fork()` that comes back into the process that forked it ends there.

It has that process's sockets, and would take letters out of them that nobody ever sees again; it
has its devices, and would put them back in a `death` that is not its own. So it does neither, also
where it comes back by ``sys.exit()`` or by an error. What it does before is its own affair, as in
`multiprocessing`.
"""

from __future__ import annotations

import logging
import os
import sys
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

_of_parents: WeakSet[Mailbox] = WeakSet()
"""Those that are a parent's."""


def heed_forks(box: Mailbox) -> None:
    """Have no child of `os.fork()` read ``box``, whose process runs in this OS process."""
    _heed_forks_at_all()
    _boxes.add(box)


@cache
def _heed_forks_at_all() -> None:
    os.register_at_fork(after_in_child=_turn_away_all)


def _turn_away_all() -> None:
    for box in list(_boxes):
        _of_parents.add(box)
        for reads in _READS:
            setattr(box, reads, partial(_end, box.name))


def turn_away(box: Mailbox) -> None:
    """End this OS process where it is a child of who reads ``box``, which has come back there."""
    if box in _of_parents:
        _end(box.name)


def end_stray(box: Mailbox, raised: BaseException) -> None:
    """End this OS process where it is a child of who reads ``box``, and ``raised`` rose out of it.

    With the status that it wants where it called ``sys.exit()``, else with `STATUS`.
    """
    if box not in _of_parents:
        return
    status = STATUS
    try:
        if isinstance(raised, SystemExit) and isinstance(raised.code, int | None):
            status = raised.code or 0
        else:
            told = "a child of os.fork() (pid %d) of %r failed"
            log.critical(told, os.getpid(), box.name, exc_info=raised)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status & 0xFF)


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
