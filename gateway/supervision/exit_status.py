"""The exit status of an OS process: what it means, in words, and what ``sys.exit()`` makes it."""

from __future__ import annotations

import signal


def in_words(status: int) -> str:
    """Return what ``status`` means, negative where a signal ended it, as `subprocess` has it.

    >>> in_words(-9), in_words(-40), in_words(3)
    ('killed by SIGKILL', 'killed by signal 40', 'exit status 3')
    """
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        # Most real-time signals have a number and no name.
        return f"killed by signal {-status}"


def status_of(leaving: SystemExit) -> int:
    """Return the status with which an OS process ends that called ``sys.exit()``.

    Only eight bits of a number are told; one that is not 0 stays a failure.

    >>> [status_of(SystemExit(code)) for code in (None, 0, 3, -1, 256, "no camera", "")]
    [0, 0, 3, 255, 1, 1, 1]
    """
    code = leaving.code
    if code is None:
        return 0
    return (code & 0xFF) or int(code != 0) if isinstance(code, int) else 1
