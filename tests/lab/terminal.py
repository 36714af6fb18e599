"""A pty whose slave is a port at a path, and whose master is the device behind it."""

from __future__ import annotations

import os
import tty
from pathlib import Path


class Terminal:
    """One port; `vanish` ends it, and must have been called in the end."""

    def __init__(self, path: Path) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = path
        self.path.symlink_to(os.ttyname(self.slave))

    def vanish(self) -> None:
        """Close both ends, as a pulled cable does; the link's target is gone."""
        if self.master >= 0:
            os.close(self.slave)
            os.close(self.master)
            self.master = self.slave = -1
