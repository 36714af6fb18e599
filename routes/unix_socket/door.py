"""The socket file: taken, kept for as long as we live, and given back.

A lock beside it (``<path>.lock``) says that somebody lives behind the socket;
the kernel lets go of it with its owner, however that ended. So a file that a
killed predecessor left is replaced, and a living one's is never taken. The
lock's file stays, empty. The socket gets its name only when it listens: whoever
sees the file is let in.

Refused, as a `LinkLostError` that says what to do: a path that another gateway
or program listens on, one that is no socket, a folder that is absent or may
not be written to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

from gateway.errors import LinkLostError

MODE = 0o660
"""Its owner and group may knock; what they may then do, `Rights` says."""

BACKLOG = 16
"""Clients that may wait to be let in."""


class Door:
    """A listening stream socket at ``path``; raises `LinkLostError` where it cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as stack:
            try:
                self._folder = os.open(path.parent, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, self._folder)
                stack.callback(os.close, self._lock())
                self._refuse_to_take()
                self._socket = self._bind()
            except LinkLostError:
                raise
            except OSError as error:
                reason = error.strerror or str(error)
                raise LinkLostError(f"cannot listen at {path}: {reason}; {_ADVICE}") from error
            stack.callback(self._socket.close)
            self._identity = self._stat()
            self._given_back = stack.pop_all()

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody knocks."""
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """Return the next client's socket, None where nobody waits; `OSError` without room."""
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        accepted.setblocking(False)
        return accepted

    def close(self) -> None:
        """Remove the file, if it is still ours, and give everything back."""
        with contextlib.suppress(FileNotFoundError):
            if self._stat() == self._identity:
                os.unlink(self.path.name, dir_fd=self._folder)
        self._given_back.close()

    def _stat(self) -> tuple[int, int]:
        found = os.stat(self.path.name, dir_fd=self._folder, follow_symlinks=False)
        return found.st_dev, found.st_ino

    def _lock(self) -> int:
        name = f"{self.path.name}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(name, flags, 0o600, dir_fd=self._folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise self._taken("another gateway listens") from error
        return lock

    def _refuse_to_take(self) -> None:
        """Raise `LinkLostError` where something is that no killed predecessor left."""
        try:
            mode = os.stat(self.path.name, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise LinkLostError(f"{self.path} is there and is no socket: remove it, or {_OTHER}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as knock:
            try:
                knock.connect(self._address(self.path.name))
            except ConnectionRefusedError:
                return
            except BlockingIOError:
                pass  # somebody lives there whose backlog is full
        raise self._taken("another program listens")

    def _bind(self) -> socket.socket:
        unfinished = f"{self.path.name}.new"
        with contextlib.suppress(FileNotFoundError):  # killed here, the last time
            os.unlink(unfinished, dir_fd=self._folder)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            made.bind(self._address(unfinished))
            # Before it listens: until then nobody is let in, whatever the umask says.
            os.chmod(unfinished, MODE, dir_fd=self._folder)
            made.listen(BACKLOG)
            os.rename(unfinished, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            made.close()
            raise
        return made

    def _address(self, name: str) -> str:
        # A Unix address has room for 107 bytes; a folder may lie deeper.
        return f"/proc/self/fd/{self._folder}/{name}"

    def _taken(self, who: str) -> LinkLostError:
        return LinkLostError(f"{who} at {self.path}: stop it, or {_OTHER}")


_OTHER = "name another path under [routes.unix_socket]"
_ADVICE = f"give the gateway's user that folder, or {_OTHER}"
