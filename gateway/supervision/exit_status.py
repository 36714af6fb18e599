"""What the exit status of an OS process means, in words."""

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
