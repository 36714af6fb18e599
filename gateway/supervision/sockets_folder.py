"""The folder of one application: the bus's sockets, temporary folders, and the lock on both.

Refused, as `ConfigError` that says what to do: a folder that cannot be used,
one that is full, as a small /run may be, and one that another gateway uses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigError

_ADVICE = {
    errno.ENOSPC: "free room there (df -i shows how many files fit, df -h how many bytes)",
    errno.EDQUOT: "free room there, or have the quota raised",
    errno.EMFILE: "raise the limit of open files (ulimit -n, or LimitNOFILE= of the unit)",
    errno.ENFILE: "close what holds so many files open on this machine",
}


@dataclass(frozen=True)
class SocketsFolder:
    """One application's folder, which nobody else may use meanwhile."""

    home: Path
    lock: int

    @property
    def bus(self) -> Path:
        """Where the sockets are."""
        return self.home / "bus"

    @property
    def temporary(self) -> Path:
        """Where the temporary folders of lives are."""
        return self.home / "temporary"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Have an `OSError` within say, as `ConfigError`, what to do about the folder."""
        try:
            yield
        except OSError as error:
            raise _unusable(self.home, error) from error


def claim(home: Path | None, stack: ExitStack) -> SocketsFolder:
    """Make ``home`` ours until ``stack`` ends; a temporary folder is made and removed for None."""
    if home is None:
        try:
            home = Path(tempfile.mkdtemp(prefix="gateway-"))
        except OSError as error:
            raise _unusable(Path(tempfile.gettempdir()), error) from error
        stack.callback(shutil.rmtree, home, ignore_errors=True)
    try:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(home, error) from error
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"another gateway runs with the sockets in {home}: stop it,"
            " or set sockets to another folder"
        ) from error
    return SocketsFolder(home, lock)


def _unusable(home: Path, error: OSError) -> ConfigError:
    advice = _ADVICE.get(error.errno or 0, "run as its owner")
    return ConfigError(
        f"the sockets' folder {home} cannot be used: {error.strerror}; {advice},"
        " or set sockets to another one"
    )
