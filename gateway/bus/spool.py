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
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import time

from gateway.bus.claim import Claim
from gateway.bus.database import UNFINISHED, parts, told
from gateway.bus.progress import Progress
from gateway.bus.spool_file import Fate, SpoolBalance, SpoolFile
from gateway.bus.spool_source import AT_A_TIME, Source, Taken
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import BELL, SUFFIX, claim_of, number_of
from gateway.bus.vault import Vault
from gateway.errors import ProtocolError, SpoolError
from gateway.mail.codec import decode
from gateway.mail.message import Message
from gateway.mail.topic import matches

log = logging.getLogger(__name__)

VAULT = "vault"
"""The name of the file on flash that is the reader's own."""

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
        self._sources: dict[str, Source] = {}
        self._unreadable: set[str] = set()
        self._vault: Vault | None = None
        self._failing = ""
        self._said: set[str] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._claim = Claim(folder / "reader.alive")
        except BlockingIOError as error:
            raise SpoolError(f"the spool {folder} has a reader already: stop that first") from error
        with contextlib.suppress(FileExistsError):
            os.mkfifo(folder / BELL, 0o600)
        # For both ends, so that it never reads as closed.
        self._bell = os.open(folder / BELL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._progress = Progress(folder / "progress")
        self._open_vault()
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

    def begin(self) -> None:
        """Call backlog whatever waits now, as after an outage."""
        self._look_for_files()
        for source in self._sources.values():
            source.begin()

    def take(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that were not taken before: what has waited goes first."""
        self._look_for_files()
        found = self.take_backlog(most)
        return found + self.take_new(most - len(found))

    def take_new(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that have come since `begin`, every file in its turn."""
        self.flush()
        self._look_for_files()
        found: list[Taken] = []
        # Whoever came last begins the next time.
        for name in list(self._sources):
            source = self._sources.pop(name)
            self._sources[name] = source
            found += source.live(min(AT_A_TIME, most - len(found)), self._is_held)
            if len(found) >= most:
                break
        return found

    def take_backlog(self, most: int) -> list[Taken]:
        """Return up to ``most`` letters that have waited, the oldest first."""
        found = self._from_vault(most)
        for source in sorted(self._sources.values(), key=_age):
            if len(found) >= most:
                break
            found += source.backlog(most - len(found))
        return found

    @property
    def has_backlog(self) -> bool:
        """Tell whether `take_backlog` has more to give."""
        return (self._vault is not None and bool(self._vault.unread)) or any(
            source.has_backlog for source in self._sources.values()
        )

    def _is_held(self, subject: str) -> bool:
        """Tell whether a letter about ``subject`` has to wait for older ones."""
        waits = (self._vault is not None and subject in self._vault.unread) or any(
            subject in source.held for source in self._sources.values()
        )
        return waits and not any(matches(first, subject) for first in self._terms.live_first)

    def _from_vault(self, most: int) -> list[Taken]:
        if self._vault is None:
            return []
        found: list[Taken] = []
        with self._flash():
            for row in self._vault.read(most):
                try:
                    message = decode(row.letter)
                except ProtocolError:
                    self._vault.confirm([row.number], "garbage")
                    continue
                fate = self._judge(message)
                if fate is None:
                    found.append(Taken(message, VAULT, row.number))
                else:
                    self._vault.confirm([row.number], fate)
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
            elif letter.file in self._sources:
                self._sources[letter.file].confirm(letter.number)
        # Each by itself: where one file fails, the others go on.
        if self._vault is not None and stored:
            with self._flash():
                self._vault.confirm(stored)
        for source in self._sources.values():
            with self._flash():
                source.flush()

    # Keeping it over a power cut

    def keep(self, *, all_of_it: bool = False) -> None:
        """Move to flash what waited the last time already: to be called thrice in a ``window``.

        Or ``all_of_it``. Where flash fails, or the day's budget is spent, letters stay in
        memory; that is said once, and in `statistics` for as long as it holds.
        """
        self.flush()
        self._look_for_files()
        if not self._terms.flash:
            return
        if self._vault is None:
            self._open_vault()
        if self._vault is None:
            return
        with self._flash():
            self._vault.expire(time() - self._terms.max_age)
            due = [source for source in self._memory() if all_of_it or source.is_due()]
            for source in sorted(due, key=_age):
                self._move(self._vault, source)
            if self._failing:
                log.info("the spool %s is kept on flash again", self._terms.flash)
            self._failing = ""
            self._said.clear()

    def relieve(self) -> None:
        """Move to flash what fills its file in memory; cheap, to be called often.

        Where flash fails it is `keep` that tries again.
        """
        if self._vault is not None and not self._failing:
            with self._flash():
                upto = 0
                oldest_first = sorted(self._memory(), key=_age)
                for number, source in enumerate(oldest_first, 1):
                    if source.file.fill() > FULL:
                        upto = number
                # What lies on flash is read first, so what is older goes there before it.
                for source in oldest_first[:upto]:
                    self._move(self._vault, source)

    def _move(self, vault: Vault, source: Source) -> None:
        upto = source.file.last()
        while rows := source.waiting(upto):
            numbers = vault.store(source.file.identity, rows, source.in_hand)
            source.moved(rows, numbers, VAULT)

    def _memory(self) -> list[Source]:
        return [source for source in self._sources.values() if not source.is_synced]

    def _open_vault(self) -> None:
        if self._terms.flash:
            with self._flash():
                self._vault = Vault(
                    Path(self._terms.flash) / "vault.db",
                    limit=self._terms.flash_limit,
                    daily=self._terms.flash_daily,
                    progress=self._progress,
                )
                # Noted before anything is stored by us.
                self._progress.carried(self._vault.identity, self._vault.balance().accepted)
                for source in self._memory():
                    source.leave_out(self._vault.stored(source.file.identity))

    @contextlib.contextmanager
    def _flash(self) -> Iterator[None]:
        """Bear with a card that fails or is full, and say so once."""
        try:
            yield
        except SpoolError as error:
            self._failing = str(error)
            if self._failing not in self._said:
                self._said.add(self._failing)
                log.error("%s", error)

    # Files

    def tidy(self) -> None:
        """Remove the empty files of dead writers, and what they began; call it now and then."""
        self.flush()
        for name, source in list(self._sources.items()):
            with self._flash():
                source.flush(all_of_it=True)
            with self._flash(), self._claim_of_the_dead(source.claim) as claim:
                # Nobody writes to it any more: empty now is empty for good.
                if claim is not None and not source.file.read(0, 1):
                    self._progress.add(source.file.identity, source.file.balance())
                    self._remove(source)
                    del self._sources[name]
                    claim.remove()
        for path in self._spools(UNFINISHED):
            begun = path.with_suffix("")
            claimed = claim_of(self._folder, begun, synced=begun.parent != self._folder)
            with self._flash(), self._claim_of_the_dead(claimed) as claim:
                if claim is not None:
                    for part in parts(path):
                        part.unlink(missing_ok=True)
                    if not begun.exists():
                        claim.remove()

    def _remove(self, source: Source) -> None:
        """Remove a file that is empty for good and was counted."""
        identity = source.file.identity
        if self._vault is not None:
            self._vault.forget(identity)
        with told(source.file.path):
            source.file.remove()
        self._progress.went(identity)

    @contextlib.contextmanager
    def _claim_of_the_dead(self, path: Path) -> Iterator[Claim | None]:
        """Give the claim at ``path`` where its writer is dead: None where it lives.

        `SpoolError` where that cannot be found out.
        """
        with told(path):
            try:
                claim = Claim(path)
            except BlockingIOError:
                claim = None
            if claim is None:
                yield None
                return
            with contextlib.closing(claim):
                yield claim

    def _look_for_files(self) -> None:
        added = False
        for path in self._spools():
            if str(path) not in self._sources:
                added = self._add(path, synced=path.parent != self._folder) or added
        if added:
            self._call_the_dead_backlog()

    def _spools(self, suffix: str = SUFFIX) -> list[Path]:
        """Return the files that writers have made, wherever they are."""
        found = _spools_in(self._folder, suffix)
        if self._terms.flash:
            with self._flash(), told(Path(self._terms.flash)):
                found += _spools_in(Path(self._terms.flash), suffix)
        return found

    def _add(self, path: Path, *, synced: bool) -> bool:
        try:
            source = self._open(path, synced=synced)
        except SpoolError as error:
            # Its writer stands still in the middle of making it, or the file
            # system fails: the others go on, and this one is tried again.
            if str(path) not in self._unreadable:
                self._unreadable.add(str(path))
                log.warning("%s", error)
            return False
        self._unreadable.discard(str(path))
        if source is not None:
            self._sources[str(path)] = source
        return source is not None

    def _open(self, path: Path, *, synced: bool) -> Source | None:
        """Return a file as it is now; None for one that was about to go and does so now."""
        terms = self._terms
        with contextlib.ExitStack() as undo:
            file = SpoolFile(path, limit=terms.limit, policy=terms.policy, synced=synced)
            undo.callback(file.close)
            source = Source(
                file,
                claim_of(self._folder, path, synced=synced),
                judge=self._judge,
                progress=self._progress if synced else None,
            )
            if self._progress.is_going(file.identity):
                self._remove(source)
                return None
            if self._vault is not None and not synced:
                source.leave_out(self._vault.stored(file.identity))
            undo.pop_all()
            return source

    def _call_the_dead_backlog(self) -> None:
        """What a dead writer left goes before what its successor writes on the same topic."""
        for source in self._sources.values():
            with self._flash(), self._claim_of_the_dead(source.claim) as claim:
                if claim is not None:
                    source.begin()

    # About it

    def balance(self) -> SpoolBalance:
        """Return what became of all letters, those of files that are gone counted as well.

        What was moved to flash counts as what it is there, so that ``moved`` is 0 but for
        what was lost with a vault that broke. What lay there before the last power cut,
        which took the counts of memory, counts as accepted once more.
        """
        self._look_for_files()
        balances = [source.file.balance() for source in self._sources.values()]
        balances.append(self._progress.gone())
        whole = SpoolBalance(*map(sum, zip(*balances, strict=True)))
        if self._vault is None:
            return whole
        kept = self._vault.balance()
        carried = self._progress.carried(self._vault.identity, kept.accepted)
        lingering = sum(source.lingering for source in self._memory())
        # What a full file let go after it was stored on flash is not lost.
        stored = kept.accepted - carried
        rescued = max(0, stored - whole.moved - lingering)
        return SpoolBalance(
            accepted=whole.accepted + carried,
            confirmed=whole.confirmed + kept.confirmed,
            dropped=whole.dropped + kept.dropped - rescued,
            garbage=whole.garbage + kept.garbage,
            expired=whole.expired + kept.expired,
            moved=whole.moved + lingering + rescued - stored,
            queued=whole.queued + kept.queued - lingering,
        )

    def flash(self) -> dict[str, object] | None:
        """Return how flash is used: None where it is not."""
        if not self._terms.flash:
            return None
        vault = self._vault
        return {
            "queued": len(vault) if vault else 0,
            "written_today": vault.budget.written if vault else 0,
            "daily": self._terms.flash_daily,
            "failing": self._failing,
        }

    def close(self) -> None:
        """Take out what is done with, and give everything back; the rest stays for the next."""
        if self._bell < 0:
            return
        self.flush()
        for source in self._sources.values():
            source.file.close()
        self._sources = {}
        if self._vault is not None:
            self._vault.close()
        self._progress.close()
        os.close(self._bell)
        self._bell = -1
        self._claim.close()


def put_away(folder: Path, terms: SpoolTerms) -> None:
    """Move all that waits in ``folder`` to flash, at an orderly end: no writer is left.

    Where the terms name no flash, or flash fails, it stays in memory. `SpoolError` where
    its reader has not ended.
    """
    if terms.flash and _spools_in(folder):
        with contextlib.closing(SpoolReader(folder, terms)) as reader:
            reader.keep(all_of_it=True)


def _spools_in(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]
    except FileNotFoundError:
        return []  # made by whoever writes first


def _age(source: Source) -> int:
    return number_of(source.file.path)
