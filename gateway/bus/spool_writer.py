"""The writer's end of a durable mailbox: one file for each OS process that writes.

See `gateway.bus.spool` for the whole. Refused: letters that find no room, or a
file that cannot be written (`MailboxFullError`, `SpoolError`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from gateway.bus.claim import Claim
from gateway.bus.spool_file import BusyError, SpoolBalance, SpoolFile
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import SpoolError
from gateway.mail.message import Message

SUFFIX = ".spool"
"""Of the files of writers, which bear the numbers of their OS processes, and of themselves."""

BELL = "bell"
"""The named pipe into which writers ring."""

OPENING = 2.0
"""Seconds that the opening of a file may take, where its reader does the same."""

STANDSTILL = 0.1
"""Seconds after which a writer leaves a reader that stands still in the middle of its file alone.
"""


class SpoolWriter:
    """This OS process's file for one durable mailbox; any thread may use it."""

    def __init__(self, folder: Path, terms: SpoolTerms, *, synced: bool = False) -> None:
        """Open the file on first use: in ``folder``, or ``synced`` on the flash of ``terms``."""
        self._folder = folder
        self._terms = terms
        self._synced = synced
        self._lock = threading.Lock()
        self._claim: Claim | None = None
        self._file: SpoolFile | None = None
        self._bell = -1
        self._number = 1
        self._closed = False

    def append(self, message: Message) -> None:
        """Write ``message``: from here on it is not lost. Ring for the reader.

        Where the reader stands still in the middle of the file, or has put it aside as
        broken, a new one is begun.
        Raises `SpoolError` where none can be written, and `MailboxFullError` where the
        terms would rather have what is new left out.
        """
        file = self._file or self._opened()
        try:
            file.append((message,), timeout=STANDSTILL)
            # Memory spoils no files.
            is_read = not self._synced or file.is_in_place
        except SpoolError as error:
            # Another thread may have left it while we were at it.
            is_ours = self._file is file and file.is_in_place
            if is_ours and not isinstance(error, BusyError):
                raise
            is_read = False
        if not is_read:
            self._leave(file)
            self._opened().append((message,), timeout=STANDSTILL)
        self._ring()

    def _leave(self, file: SpoolFile) -> None:
        """Be done with ``file``: as one of a dead writer it is read to its end and removed."""
        with self._lock:
            if self._file is file and self._claim is not None:
                self._number += 1
                self._file = None
                file.close()
                self._claim.close()
                self._claim = None

    def balance(self) -> SpoolBalance:
        """Return what became of the letters of this writer's file."""
        return (self._file or self._opened()).balance()

    def close(self) -> None:
        """Give the file back; what is in it is read all the same."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._claim is not None:
                self._claim.close()
                self._claim = None
            if self._bell >= 0:
                os.close(self._bell)
                self._bell = -1

    def _opened(self) -> SpoolFile:
        with self._lock:
            if self._closed:
                raise SpoolError(f"the spool in {self._folder} is closed: its OS process ends")
            if self._file is None:
                folder = Path(self._terms.flash) if self._synced else self._folder
                path = folder / f"{os.getpid()}-{self._number}{SUFFIX}"
                try:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    # Its reader may just be looking whether our forerunner lives.
                    self._claim = self._claim or Claim(
                        claim_of(self._folder, path, synced=self._synced), patience=1.0
                    )
                except OSError as error:
                    raise SpoolError(f"{path} cannot be made: {error.strerror}") from error
                self._file = SpoolFile(
                    path,
                    limit=self._terms.limit,
                    policy=self._terms.policy,
                    synced=self._synced,
                    patience=OPENING,
                )
            return self._file

    def _ring(self) -> None:
        """Tell the reader, where there is one; a bell that rings already is fine.

        The letter is in the file whatever becomes of this, so nothing is raised: who has
        no descriptor left rings with a later letter.
        """
        with contextlib.suppress(OSError), self._lock:
            if self._bell < 0 and not self._closed:
                path = self._folder / BELL
                self._bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if self._bell >= 0:
                os.write(self._bell, b"\0")


def claim_of(folder: Path, file: Path, *, synced: bool) -> Path:
    """Return what says, in the mailbox's ``folder``, that the writer of ``file`` lives.

    In memory for a synced file as well: it says nothing after a power cut.
    """
    return folder / f"{file.stem}{'.synced' if synced else ''}.alive"
