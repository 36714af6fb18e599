"""The folder of one application: the bus's sockets, temporary folders, and the lock on both.

Where none is named there is a new one for each run, beside other temporary files,
whose lock every OS process of the application holds. It goes with the last of them: main
removes it, or the fork server that outlived a killed main. What is left by those who were
killed all together goes when another application makes its own.

Refused, as `ConfigError` that says what to do: a folder that cannot be used,
one that is full, as a small /run may be, and one that another gateway uses.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
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

PREFIX = "gateway-"
"""How the names of the folders begin that are made here."""

OURS = b"made for one run\n"
"""What stands in the lock of such a folder, once it is held."""


@dataclass(frozen=True)
class SocketsFolder:
    """One application's folder, which nobody else may use meanwhile."""

    home: Path
    lock: int
    is_temporary: bool = False
    """Whether it was made for this run, and ends with it."""

    @property
    def of_main_alone(self) -> tuple[int, ...]:
        """The descriptors that no fork may keep.

        A named folder is free again as soon as main is gone.
        """
        return () if self.is_temporary else (self.lock,)

    def outlived(self) -> None:
        """Remove what main, which is gone, can remove no more."""
        if self.is_temporary:
            shutil.rmtree(self.home, ignore_errors=True)

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
        with _explained(self.home):
            yield


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(home, error) from error


def claim(home: Path | None, stack: ExitStack) -> SocketsFolder:
    """Make ``home`` ours until ``stack`` ends; a temporary folder is made and removed for None."""
    is_temporary = home is None
    if home is None:
        clean(Path(tempfile.gettempdir()))
        try:
            home = Path(tempfile.mkdtemp(prefix=PREFIX))
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
    except OSError as error:
        # As on a network's file system that has no locks.
        raise _unusable(home, error) from error
    if is_temporary:
        with _explained(home):
            os.write(lock, OURS)
    return SocketsFolder(home, lock, is_temporary)


def clean(among: Path) -> None:
    """Remove the folders made here for runs of which nobody lives any more."""
    with contextlib.suppress(OSError):
        for folder in sorted(among.glob(f"{PREFIX}*")):
            with contextlib.suppress(OSError):
                _clean_one(folder)


def _clean_one(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # One that is being made is empty until it is held; a named one stays so.
        if os.read(lock, len(OURS)) == OURS:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _unusable(home: Path, error: OSError) -> ConfigError:
    advice = _ADVICE.get(error.errno or 0, "run as its owner")
    return ConfigError(
        f"the sockets' folder {home} cannot be used: {error.strerror}; {advice},"
        " or set sockets to another one"
    )
