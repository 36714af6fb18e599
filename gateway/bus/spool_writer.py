"""The writer's end of a durable mailbox: one file for each OS process that writes.

See `gateway.bus.spool` for the whole. Refused: letters that find no room, or a
file that cannot be written (`MailboxFullError`, `SpoolError`).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.bus.claim import Claim
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import SpoolError
from gateway.mail.message import Message

if TYPE_CHECKING:
    from gateway.bus.spool_file import SpoolBalance, SpoolFile

SUFFIX = ".spool"
"""Of writers' files, ``<OS process>-<number>.spool``: whoever comes later has a higher number."""

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
        self._path = folder
        self._file: SpoolFile | None = None
        self._bell = -1
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
            from gateway.bus.spool_file import BusyError

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
                try:
                    # SQLite is nothing that every gateway has to load.
                    from gateway.bus.spool_file import SpoolFile

                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    if self._claim is None:
                        path = folder / f"{os.getpid()}-{_next_number(folder)}{SUFFIX}"
                        self._claim = Claim(claim_of(self._folder, path, synced=self._synced))
                        self._path = path
                except (OSError, ImportError) as error:
                    why = getattr(error, "strerror", None) or error
                    raise SpoolError(f"no spool can be made in {folder}: {why}") from error
                self._file = SpoolFile(
                    self._path,
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


def number_of(file: Path) -> int:
    """Return the number in the name of a writer's file: 0 where there is none.

    No clock says what is older: one that has not been set yet, or is set back, would put
    what is new before what has waited.

    >>> number_of(Path("4711-2.spool")), number_of(Path("4711-3.synced.alive"))
    (2, 3)
    """
    found = _NUMBER.match(file.name)
    return int(found[1]) if found else 0


_NUMBER = re.compile(r"\d+-(\d+)\.", re.ASCII)


def _next_number(folder: Path) -> int:
    """Return one above those of whatever lies in ``folder``: logs of files that are gone, too."""
    names = os.listdir(folder) if folder.exists() else []
    return 1 + max((number_of(Path(name)) for name in names), default=0)


def claim_of(folder: Path, file: Path, *, synced: bool) -> Path:
    """Return what says, in the mailbox's ``folder``, that the writer of ``file`` lives.

    In memory for a synced file as well: it says nothing after a power cut.
    """
    return folder / f"{file.stem}{'.synced' if synced else ''}.alive"
