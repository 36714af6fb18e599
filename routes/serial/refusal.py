"""Why a port could not be opened, as one of two errors, in words that say what to do.

`LinkAbsentError` where nothing is there: never was, was pulled, or has just
gone. `LinkLostError` for everything else: no permission, taken, no port at all.
"""

from __future__ import annotations

import errno
import grp
import os
import termios

from gateway.errors import LinkAbsentError, LinkLostError

_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EIO}
"""Nothing there: never was, was pulled, or (EIO) has just gone behind its link."""
_BUSY = {errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_PORT = {errno.ENOTTY, errno.EISDIR, errno.EINVAL}


def refusal(port: str, line: str, error: BaseException) -> LinkLostError:
    """Return what to raise for ``error``, met while ``port`` was opened as ``line`` has it."""
    number = errno_of(error)
    if number in _ABSENT:
        return LinkAbsentError(f"{port} is not there: nothing is plugged in")
    if number in _FORBIDDEN:
        return LinkLostError(
            f"no permission to open {port}: add the gateway's user to the group "
            f"{_group_of(port)!r} and start it again"
        )
    if number in _BUSY:
        return LinkLostError(
            f"{port} is in use by another program: `fuser -v {port}` names it, close it there"
        )
    if number in _NO_PORT:
        return LinkLostError(
            f"{port} is no serial port, or cannot do {line}: check port and line settings"
        )
    return LinkLostError(f"{port} cannot be opened: {error}")


def is_gone(error: BaseException) -> bool:
    """Tell whether ``error`` is that of a port which is not there any more."""
    return errno_of(error) in _ABSENT


def errno_of(error: BaseException) -> int | None:
    """Return the errno behind ``error``; pyserial makes a `SerialException` at times without one.

    >>> errno_of(termios.error(5, "Input/output error"))
    5
    """
    if isinstance(error, termios.error):
        return int(error.args[0])
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    context = error.__context__
    return errno_of(context) if context is not None else None


def _group_of(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
