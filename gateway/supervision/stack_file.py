"""The memory file into which the stacks of a forked child go, and in which the boss reads them.

Each child that is watched has one of its own, so that it is never a question whose stacks
they are; no program that it starts has it. `faulthandler` writes, even where the interpreter
is held up. The boss opens it as it orders them, and so can read them where the child has
ended meanwhile. It keeps the last `LARGEST` bytes, in which the oldest threads stand, the main
one among them.

Refused (`OSError`): a child whose file cannot be reached, as where it runs as another user
by now.
"""

from __future__ import annotations

import fcntl
import os

NAME = "gateway-stacks"

LARGEST = 64 * 1024
"""Bytes of the stacks of one OS process that are read, at the most."""


def make_stack_file() -> int:
    """Return the descriptor of the file of this OS process, which keeps it until its end."""
    descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC)
    # The boss empties it: what is written next begins where the file does.
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


class StackFile:
    """The file of one child, empty from now on; `take` or `close` gives it back."""

    def __init__(self, pid: int) -> None:
        """Open that of the OS process ``pid``."""
        self._descriptor = os.open(_path_of(pid), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(self._descriptor, 0)
        except BaseException:
            self.close()
            raise

    def take(self) -> str:
        """Return the stacks that were written, oldest thread first, and give the file back.

        Empty where there are none.
        """
        try:
            size = os.fstat(self._descriptor).st_size
            left_out = max(0, size - LARGEST)
            data = os.pread(self._descriptor, LARGEST, left_out)
            os.ftruncate(self._descriptor, 0)
        finally:
            self.close()
        # It writes the newest thread first, and the loop is that of the oldest as a rule.
        threads = data.decode(errors="replace").strip().split("\n\n")
        text = "\n\n".join(reversed(threads))
        return f"{text}\n({left_out} bytes more are left out)" if left_out else text

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


def _path_of(pid: int) -> str:
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        path = f"{folder}/{number}"
        try:
            found = os.readlink(path)
        except FileNotFoundError:
            continue  # closed meanwhile
        if found.startswith(f"/memfd:{NAME} "):
            return path
    raise FileNotFoundError(2, "it has no file for them")
