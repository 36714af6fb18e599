"""A durable mailbox: letters wait in files until their reader has done with them.

::

    writer 1 ──► 4711.spool ──┐
    writer 2 ──► 4712.spool ──┼──► `SpoolReader`: take … confirm
    writer 3 ──► 4730.spool ──┘        ▲
        └────────── bell ──────────────┘

Each OS process that writes has a file of its own in the mailbox's folder
(`SpoolWriter`), so that one which stands still in the middle of a letter holds up
nobody else. The reader takes letters out of all of them in turn and confirms
each when its work is done; what it had not confirmed when it was killed it
takes again. A writer does not need the reader: letters are written while it is
away. What a dead writer left is read to its end, then its file is removed.

The folder lies on a memory file system, where writing costs no wear and nothing
is synced: whoever is killed loses nothing, a power cut takes all of it.

Refused: two readers of one folder at a time (`SpoolError`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from gateway.bus.spool_file import LOOK_AGAIN, SpoolBalance, SpoolFile
from gateway.errors import SpoolError
from gateway.mail.message import Message

log = logging.getLogger(__name__)

BELL = "bell"
"""The named pipe into which writers ring."""

STANDSTILL = 0.1
"""Seconds that a writer bears with a reader that stands still in the middle of its file."""

AT_A_TIME = 64
"""Letters that are taken from one file before the next has its turn."""


class Claim:
    """A locked file that says: whoever is called so lives. It is let go by dying."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Take the lock within ``patience`` seconds; `BlockingIOError` where another one has it."""
        self.path = path
        deadline = monotonic() + patience
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Who held it before may have removed the file since we opened it.
                if os.fstat(descriptor).st_nlink:
                    self._descriptor = descriptor
                    return
            except OSError:
                if monotonic() >= deadline:
                    os.close(descriptor)
                    raise
                sleep(LOOK_AGAIN)
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file and let go."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SpoolWriter:
    """This OS process's file in the folder of one durable mailbox; any thread may use it."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        """Open the file on first use; ``limit`` is in bytes, and then the oldest give way."""
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._claim: Claim | None = None
        self._file: SpoolFile | None = None
        self._bell = -1
        self._closed = False

    def append(self, message: Message) -> None:
        """Write ``message``: from here on it is not lost. Ring for the reader.

        Raises `SpoolError` where the file cannot be written, and
        `MailboxFullError` where its reader stands still in the middle of it.
        """
        file = self._file or self._opened()
        file.append((message,), timeout=STANDSTILL)
        self._ring()

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
                path = self._folder / f"{os.getpid()}.spool"
                try:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    # Its reader may just be looking whether our forerunner lives.
                    self._claim = self._claim or Claim(path.with_suffix(".alive"), patience=1.0)
                except OSError as error:
                    raise SpoolError(f"{path} cannot be made: {error.strerror}") from error
                self._file = SpoolFile(path, limit=self._limit)
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


class Taken(NamedTuple):
    """A letter in the reader's hands, and where it is to be confirmed."""

    message: Message
    file: str
    number: int


class _Source:
    """One writer's file as the reader sees it."""

    def __init__(self, file: SpoolFile) -> None:
        self.file = file
        self.taken = 0
        """The number of the last letter that was taken."""
        self.done: list[int] = []
        """Numbers that are to be taken out."""


class SpoolReader:
    """Whoever reads a durable mailbox; one thread's, but for `confirm`."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        """Take over ``folder`` with all that waits there; `SpoolError` where another one reads."""
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._sources: dict[str, _Source] = {}
        self._unreadable: set[str] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._claim = Claim(folder / "reader.alive")
        except BlockingIOError as error:
            raise SpoolError(f"the spool {folder} has a reader already: stop that first") from error
        with contextlib.suppress(FileExistsError):
            os.mkfifo(folder / BELL, 0o600)
        # For both ends, so that it never reads as closed.
        self._bell = os.open(folder / BELL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return what is readable as soon as something new was written; see `quiet`."""
        return self._bell

    def quiet(self) -> None:
        """Have the bell be quiet until something new is written: take letters after this."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell, 65536):
                pass

    def take(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that were not taken before, in order within each file."""
        self._flush()
        self._look_for_files()
        found: list[Taken] = []
        # Whoever came last begins the next time.
        names = list(self._sources)
        for name in names:
            source = self._sources.pop(name)
            self._sources[name] = source
            letters = source.file.read(source.taken, min(AT_A_TIME, most - len(found)))
            found.extend(Taken(each.message, name, each.number) for each in letters)
            if letters:
                source.taken = letters[-1].number
            if len(found) >= most:
                break
        return found

    def confirm(self, letters: Iterable[Taken]) -> None:
        """Note that ``letters`` are done with, from any thread; `take` and `close` remove them."""
        with self._lock:
            for letter in letters:
                source = self._sources.get(letter.file)
                if source is not None:
                    source.done.append(letter.number)

    def balance(self) -> SpoolBalance:
        """Return what became of the letters of all files that are there now."""
        self._look_for_files()
        balances = [source.file.balance() for source in self._sources.values()]
        return SpoolBalance(*map(sum, zip(*balances, strict=True))) if balances else _NOTHING

    def close(self) -> None:
        """Take out what is done with, and give everything back; the rest stays for the next."""
        if self._bell < 0:
            return
        self._flush()
        for source in self._sources.values():
            source.file.close()
        self._sources = {}
        os.close(self._bell)
        self._bell = -1
        self._claim.close()

    def tidy(self) -> None:
        """Remove the empty files of dead writers; call it now and then."""
        self._flush()
        for name, source in list(self._sources.items()):
            try:
                claim = Claim((self._folder / name).with_suffix(".alive"))
            except BlockingIOError:
                continue
            # Nobody writes to it any more: empty now is empty for good.
            if source.file.read(0, 1):
                claim.close()
            else:
                del self._sources[name]
                source.file.remove()
                claim.remove()

    def _flush(self) -> None:
        """Take out what is done with."""
        for source in self._sources.values():
            with self._lock:
                done, source.done = source.done, []
            if done and not source.file.confirm(done):
                with self._lock:
                    source.done += done

    def _look_for_files(self) -> None:
        for name in os.listdir(self._folder):
            if name.endswith(".spool") and name not in self._sources:
                try:
                    source = _Source(SpoolFile(self._folder / name, limit=self._limit))
                except SpoolError as error:
                    # Its writer stands still in the middle of making it, or the file
                    # system fails: the others go on, and this one is tried again.
                    if name not in self._unreadable:
                        self._unreadable.add(name)
                        log.warning("%s", error)
                    continue
                self._unreadable.discard(name)
                with self._lock:
                    self._sources[name] = source


_NOTHING = SpoolBalance(0, 0, 0, 0, 0)
