"""What is undone in the end, and by whoever began it alone.

A child of ``os.fork()`` inherits the stack of its parent, and whatever stands there to be
undone. Were it to leave that way, as by `sys.exit`, it would stop what is its parent's.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType


class Undoing(ExitStack):
    """An `ExitStack` that undoes nothing in another OS process than its own.

    >>> with Undoing() as stack:
    ...     _ = stack.callback(print, "undone")
    undone
    """

    def __init__(self) -> None:
        super().__init__()
        self._owner = os.getpid()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        """Undo, the last first; in a fork nothing."""
        if os.getpid() != self._owner:
            self.pop_all()
            return False
        return super().__exit__(kind, error, traceback)
