"""How `make test` spreads the suite over its workers.

A file is the usual piece of work, since its tests share what they have set up. Where
tests share nothing and mostly wait, each is a piece of its own; these and the others
are handed out by turns, so that the cores have work while somebody waits.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from xdist.scheduler import LoadFileScheduling

WAITING = (
    "tests/features/",
    "tests/gateway/hosting/test_udev.py",
    "tests/routes/mqtt/test_nothing_is_lost.py",
)
"""Files, and folders of files, each of whose tests is a piece of work."""


class SpreadScheduling(LoadFileScheduling):  # type: ignore[misc] # xdist says no types
    """Hands out whole files, and between them one test each of what is `WAITING`."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        self._turns = cycle([True, False])

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(WAITING) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        waits = next(self._turns)
        for piece in self.workqueue:
            if piece.startswith(WAITING) == waits:
                self.workqueue.move_to_end(piece, last=False)
                break
        super()._assign_work_unit(node)
