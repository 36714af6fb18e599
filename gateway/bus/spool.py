"""A durable mailbox: letters wait in files until their reader has done with them.

::

    memory   writer 1 ──► 4711.spool ──┐
             writer 2 ──► 4712.spool ──┼──► `SpoolReader`: take … confirm
               └──────── bell ─────────┘         │  ▲
    flash    writer 2 ──► 4712.spool ────────────┼──┤    what is to survive `always`
                                                 ▼  │
                                               `Vault`    what waits longer than `window`

Each OS process that writes has a file of its own (`SpoolWriter`), so that one which
stands still in the middle of a letter holds up nobody else. The reader takes
letters out of all of them in turn and confirms each when its work is done; what it
had not confirmed when it was killed it takes again. A writer does not need the
reader: letters are written while it is away. What a dead writer left is read to
its end, then its file is removed.

The files lie on a memory file system, where writing costs no wear and nothing is
synced: whoever is killed loses nothing, a power cut takes all of it, unless the
terms name a folder on flash (`SpoolTerms`). Then `keep` moves there what waits, and
what is published on one of the patterns ``always`` goes there at once. At an
orderly end all of it goes there (`put_away`): the machine may be about to restart.

What has waited may be taken apart from what is new (`take_backlog`, `take_new`); within a
topic nothing overtakes anything, but for the terms' ``live_first``.

Refused: two readers of one mailbox at a time (`SpoolError`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable
from math import inf
from pathlib import Path
from time import time

from gateway.bus.claim import Claim
from gateway.bus.complaints import Complaints
from gateway.bus.database import told
from gateway.bus.progress import Progress
from gateway.bus.spool_file import Fate, SpoolBalance
from gateway.bus.spool_shelf import VAULT, Shelf, age, spools_in
from gateway.bus.spool_source import AT_A_TIME, Taken
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import BELL
from gateway.errors import ProtocolError, SpoolError
from gateway.mail.codec import decode
from gateway.mail.message import Message
from gateway.mail.topic import matches

log = logging.getLogger(__name__)

FULL = 0.5
"""What part of a file in memory is used before it is moved to flash ahead of time."""

PLAUSIBLE = 1.6e9
"""A clock below this (seconds since 1970: September 2020) has not been set yet."""


class SpoolReader:
    """Whoever reads a durable mailbox; one thread's, but for `confirm`."""

    def __init__(self, folder: Path, terms: SpoolTerms) -> None:
        """Take over ``folder`` with all that waits there; `SpoolError` where another one reads."""
        self._folder = folder
        self._terms = terms
        self._lock = threading.Lock()
        self._done: list[Taken] = []
        self._complaints = Complaints()
        with told(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._claim = Claim(folder / "reader.alive")
            except BlockingIOError as error:
                raise SpoolError(
                    f"the spool {folder} has a reader already: stop that first"
                ) from error
            with contextlib.suppress(FileExistsError):
                os.mkfifo(folder / BELL, 0o600)
            # For both ends, so that it never reads as closed.
            self._bell = os.open(folder / BELL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._progress = Progress(folder / "progress")
        self._shelf = Shelf(folder, terms, self._progress, self._complaints, self._judge)
        with self._complaints.heard():
            self._shelf.open_vault()
        self.begin()

    # Taking

    def fileno(self) -> int:
        """Return what is readable as soon as something new was written; see `quiet`."""
        return self._bell

    def quiet(self) -> None:
        """Have the bell be quiet until something new is written: take letters after this."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell, 65536):
                pass

    def begin(self, since: float = inf) -> None:
        """Call backlog whatever waits and was written before ``since``, as after an outage.

        ``since`` is in seconds since 1970.
        """
        self._shelf.look()
        for source in self._shelf.sources.values():
            source.begin(since)

    def take(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that were not taken before: what has waited goes first."""
        self._shelf.look()
        found = self.take_backlog(most)
        return found + self.take_new(most - len(found))

    def take_new(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that have come since `begin`, every file in its turn."""
        self.flush()
        self._shelf.look()
        found: list[Taken] = []
        # Whoever came last begins the next time.
        for name in list(self._shelf.sources):
            source = self._shelf.sources.pop(name)
            self._shelf.sources[name] = source
            found += source.live(min(AT_A_TIME, most - len(found)), self._is_held)
            if len(found) >= most:
                break
        return found

    def take_backlog(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that have waited, the oldest first."""
        found = self._from_vault(most)
        for source in sorted(self._shelf.sources.values(), key=age):
            if len(found) >= most:
                break
            found += source.backlog(most - len(found))
        return found

    @property
    def has_backlog(self) -> bool:
        """Tell whether `take_backlog` has more to give."""
        return (self._shelf.vault is not None and bool(self._shelf.vault.unread)) or any(
            source.has_backlog for source in self._shelf.sources.values()
        )

    def _is_held(self, subject: str) -> bool:
        """Tell whether a letter about ``subject`` has to wait for older ones."""
        waits = (self._shelf.vault is not None and subject in self._shelf.vault.unread) or any(
            subject in source.held for source in self._shelf.sources.values()
        )
        return waits and not any(matches(first, subject) for first in self._terms.live_first)

    def _from_vault(self, most: int) -> list[Taken]:
        if self._shelf.vault is None:
            return []
        found: list[Taken] = []
        with self._complaints.heard():
            for row in self._shelf.vault.read(most):
                try:
                    message = decode(row.letter)
                except ProtocolError:
                    self._shelf.vault.confirm([row.number], "garbage")
                    continue
                fate = self._judge(message)
                if fate is None:
                    found.append(Taken(message, VAULT, row.number))
                else:
                    self._shelf.vault.confirm([row.number], fate)
        return found

    def _judge(self, message: Message) -> Fate | None:
        oldest = time() - self._terms.max_age
        # A clock that was not set when the letter was written says nothing of its age.
        return "expired" if PLAUSIBLE < message.time < oldest else None

    # Done with

    def confirm(self, letters: Iterable[Taken]) -> None:
        """Note that ``letters`` are done with, from any thread; `flush` removes them."""
        with self._lock:
            self._done += letters

    def flush(self) -> None:
        """Take out what is done with; what cannot be taken out now is tried again."""
        with self._lock:
            done, self._done = self._done, []
        stored: list[int] = []
        for letter in done:
            if letter.file == VAULT:
                stored.append(letter.number)
            elif letter.file in self._shelf.sources:
                self._shelf.sources[letter.file].confirm(letter.number)
        # Each by itself: where one file fails, the others go on.
        if self._shelf.vault is not None and stored:
            with self._complaints.heard():
                self._shelf.vault.confirm(stored)
        for source in self._shelf.sources.values():
            with self._complaints.heard():
                source.flush()

    # Keeping it over a power cut

    def keep(self, *, all_of_it: bool = False, connected: bool = False) -> None:
        """Move to flash what waited the last time already: to be called thrice in a ``window``.

        And with it what is newer, which saves a commit; unless somebody is ``connected``: what
        is new is on its way then, and would go behind what has waited. Or ``all_of_it``,
        whether it waits or not. Where flash fails, or the day's budget is spent, letters stay
        in memory; that is said once, and in `statistics` for as long as it holds.
        """
        self.flush()
        self._shelf.look()
        if not self._terms.flash:
            return
        with self._complaints.heard():
            self._shelf.open_vault()
            assert self._shelf.vault is not None
            self._shelf.vault.expire(time() - self._terms.max_age)
            for source in self._shelf.in_memory():
                due = source.due()
                if due or all_of_it:
                    self._shelf.store(source, due if connected else None)
            if self._complaints.end():
                log.info("the spool %s is kept on flash again", self._terms.flash)

    def relieve(self) -> None:
        """Move to flash what fills its file in memory; cheap, to be called often.

        Where flash fails it is `keep` that tries again.
        """
        if self._shelf.vault is None or self._complaints.latest:
            return
        with self._complaints.heard():
            sources = self._shelf.in_memory()
            full = [place for place, each in enumerate(sources) if each.file.fill() > FULL]
            # What lies on flash is read first, so what is older goes there before it.
            for source in sources[: full[-1] + 1] if full else ():
                self._shelf.store(source)

    def tidy(self) -> None:
        """Remove the empty files of dead writers, and what they began; call it now and then."""
        self.flush()
        self._shelf.tidy()

    # About it

    def balance(self) -> SpoolBalance:
        """Return what became of all letters: see `Shelf.balance`."""
        self._shelf.look()
        return self._shelf.balance()

    def flash(self) -> dict[str, object] | None:
        """Return how flash is used: None where it is not."""
        if not self._terms.flash:
            return None
        vault = self._shelf.vault
        return {
            "queued": len(vault) if vault else 0,
            "written_today": vault.budget.written if vault else 0,
            "daily": self._terms.flash_daily,
            "failing": self._complaints.latest,
        }

    def close(self) -> None:
        """Take out what is done with, and give everything back; the rest stays for the next."""
        if self._bell < 0:
            return
        self.flush()
        self._shelf.close()
        self._progress.close()
        os.close(self._bell)
        self._bell = -1
        self._claim.close()


def put_away(folder: Path, terms: SpoolTerms) -> None:
    """Move all that waits in ``folder`` to flash, at an orderly end: no writer is left.

    Where the terms name no flash, or flash fails, it stays in memory. `SpoolError` where
    its reader has not ended.
    """
    if terms.flash and spools_in(folder):
        with contextlib.closing(SpoolReader(folder, terms)) as reader:
            reader.keep(all_of_it=True)
