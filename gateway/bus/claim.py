"""A locked file that says that somebody lives; the kernel lets go of it with its owner."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

LOOK_AGAIN = 0.005
"""Seconds after which somebody who waits for the lock tries again."""


class Claim:
    """A locked file that says: whoever is called so lives. It is let go by dying."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Take the lock within ``patience`` seconds; `BlockingIOError` where another one has it."""
        self.path = path
        deadline = monotonic() + patience
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Who held it before may have removed the file since we opened it.
                if os.fstat(descriptor).st_nlink:
                    self._descriptor = descriptor
                    return
            except OSError:
                if monotonic() >= deadline:
                    os.close(descriptor)
                    raise
                sleep(LOOK_AGAIN)
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file and let go."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
