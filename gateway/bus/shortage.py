"""What a letter that is whole, to a reader that lives, fails of: descriptors, memory, room.

Of an `OSError` it says what is short, and what to do about that.
"""

from __future__ import annotations

import errno

from gateway.errors import ShortageError

NO_DESCRIPTOR = ("no descriptor", "raise LimitNOFILE= in the unit (ulimit -n)")

SHORT = {
    errno.EMFILE: NO_DESCRIPTOR,
    errno.ENFILE: (
        "no descriptor of this machine",
        "close what holds so many, or raise fs.file-max",
    ),
    errno.ETOOMANYREFS: ("no descriptor that may be on its way", "send fewer large bodies at once"),
    errno.ENOMEM: ("no memory", "run less, or raise MemoryMax= of the unit"),
    errno.ENOBUFS: ("no memory of the kernel's", "run less"),
    errno.ENOSPC: ("no room", "free some (df -h and df -i show where there is none)"),
    errno.EFBIG: ("no room in a file", "raise LimitFSIZE= in the unit (ulimit -f)"),
}
"""What is short, and what to do, by what the kernel says."""


def shortage(what: tuple[str, str], recipient: str, size: int = 0) -> ShortageError:
    """Return what to raise for a letter to ``recipient``, of whose body ``size`` bytes are beside.

    >>> print(shortage(SHORT[errno.ENOBUFS], "worker", 2_000_000))
    no memory of the kernel's is left for a body of 2 MB to 'worker': run less
    """
    of = f"a body of {size / 1e6:.2g} MB" if size else "a letter"
    return short_for(what, f"{of} to {recipient!r}")


def short_for(what: tuple[str, str], purpose: str) -> ShortageError:
    """Return what to raise for ``purpose``."""
    missing, advice = what
    return ShortageError(f"{missing} is left for {purpose}: {advice}")
