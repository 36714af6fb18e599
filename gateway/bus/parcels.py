"""Large bodies as sealed memory files, whose descriptors travel beside their letters.

A fresh file costs its pages, and for 2 MB these cost more than to copy the body there
and back. So whoever sends keeps one file, and fills it anew once nobody else has it
open: not in a socket, not in a reader's hands. The kernel knows that, and says so by a
lease, which it grants on no file that is open elsewhere.

Sealed means that the size is settled and that no descriptor can write. Only the sender,
through the mapping that it made before, still can, and does in a file that is its own
again. Bodies are written and read, and never mapped by their reader.

Refused: bodies of more than `LARGEST` bytes (`BodyError`); from others, files that are
no memory files, not sealed, too large, or shorter than they should be (`ProtocolError`).
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from mmap import mmap

from gateway.errors import BodyError, ProtocolError

LARGEST = 64 * 1024 * 1024
"""Bytes that a body may have at all."""

KEPT = 4 * 1024 * 1024
"""Bytes of the largest file that is kept for the next body."""

_SETTLED = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
# From linux/fcntl.h (Linux 5.1); Python's own name for it came with 3.13.
_NO_FURTHER_WRITES = 0x0010
_UNWRITABLE = fcntl.F_SEAL_WRITE | _NO_FURTHER_WRITES


class Parcels:
    """Packs the bodies of one OS process; thread-safe. `close` gives back what is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._descriptor = -1
        self._content: mmap | None = None

    def pack(self, body: bytes) -> int:
        """Return the descriptor of a sealed file that begins with ``body``; close it once sent."""
        size = len(body)
        if size > LARGEST:
            raise BodyError(f"the body has {size} bytes packed; {LARGEST} is the most")
        if size > KEPT:
            return _filled(body)[0]
        with self._lock:
            if self._content is not None and size <= len(self._content) and self._is_ours_alone():
                self._content[:size] = body
            else:
                self._forget()
                self._keep(body)
            return _opened_again(self._descriptor)

    def close(self) -> None:
        """Give back what is kept; what is on its way arrives all the same."""
        with self._lock:
            self._forget()

    def _keep(self, body: bytes) -> None:
        written, content = _filled(body)
        try:
            # Read-only: a lease is refused on a file that anybody has open for writing.
            self._descriptor = _opened_again(written)
        finally:
            os.close(written)
        # Only now is there one to close: where there was none to be had, the number of the
        # one before may be somebody else's.
        self._content = content
        # Whoever opened it during the lease would have it broken by SIGIO, which kills.
        fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)
        self._owner = os.getpid()

    def _is_ours_alone(self) -> bool:
        """Whether nobody else has the file open, and no fork has made it another's as well."""
        if self._owner != os.getpid():
            return False
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    def _forget(self) -> None:
        # Whoever is interrupted in between forgets it all the same.
        content, self._content = self._content, None
        if content is not None:
            content.close()
            os.close(self._descriptor)


def contents(descriptor: int, size: int) -> bytes:
    """Return the first ``size`` bytes of a file that came; it stays the caller's to close."""
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ProtocolError("a large body came as something else than a memory file") from error
    there = os.fstat(descriptor).st_size
    if seals & _SETTLED != _SETTLED or not seals & _UNWRITABLE or not 0 <= size <= there <= LARGEST:
        raise ProtocolError("a large body came unsealed, too large or short")
    parts = []
    offset = 0
    while offset < size:
        part = os.pread(descriptor, size - offset, offset)
        if not part:
            raise ProtocolError("a large body came short")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _filled(body: bytes) -> tuple[int, mmap]:
    """Return a sealed file that holds ``body``, open for writing, and the mapping that can."""
    # A name helps whoever reads /proc.
    descriptor = os.memfd_create("gateway-body", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(descriptor, left) :]
        content = mmap(descriptor, len(body))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SETTLED | _NO_FURTHER_WRITES)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, content


def _opened_again(descriptor: int) -> int:
    """Return another opening of the file, for reading: who has it open is counted by these."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
