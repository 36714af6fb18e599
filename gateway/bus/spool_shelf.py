"""What lies in a durable mailbox: the files of all its writers, and the vault.

Files appear when writers begin them, wherever that is, and go when their writer is
dead and all that was in them is done with. What is moved from memory into the vault
leaves its file. Belongs to the reader's thread.

A file that cannot be opened, and a card that fails, keep nobody else waiting: it
is said once and tried again.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.bus.claim import Claim
from gateway.bus.complaints import Complaints
from gateway.bus.database import UNFINISHED, parts, told
from gateway.bus.progress import Progress
from gateway.bus.spool_file import Fate, SpoolBalance, SpoolFile
from gateway.bus.spool_source import Source
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import SUFFIX, claim_of, number_of
from gateway.bus.vault import Vault
from gateway.errors import SpoolError
from gateway.mail.message import Message

log = logging.getLogger(__name__)

VAULT = "vault"
"""The name of the file on flash that is the reader's own."""


class Shelf:
    """All files of the mailbox in ``folder``; ``judge`` says what becomes of an old letter."""

    def __init__(
        self,
        folder: Path,
        terms: SpoolTerms,
        progress: Progress,
        complaints: Complaints,
        judge: Callable[[Message], Fate | None],
    ) -> None:
        self.sources: dict[str, Source] = {}
        """The writers' files by their paths."""
        self.vault: Vault | None = None
        """None where the terms name no flash, and as long as it cannot be opened."""
        self._folder = folder
        self._terms = terms
        self._progress = progress
        self._complaints = complaints
        self._judge = judge
        self._unreadable: set[str] = set()

    # Between memory and flash

    def open_vault(self) -> None:
        """Open the vault where there is to be one; `SpoolError` where flash fails."""
        if self.vault is not None or not self._terms.flash:
            return
        vault = Vault(
            Path(self._terms.flash) / "vault.db",
            limit=self._terms.flash_limit,
            daily=self._terms.flash_daily,
            progress=self._progress,
        )
        # Noted before anything is stored by us.
        self._progress.carried(vault.identity, vault.balance().accepted)
        for source in self.in_memory():
            source.leave_out(vault.stored(source.file.identity))
        self.vault = vault

    def in_memory(self) -> list[Source]:
        """Return the files that a power cut would take, oldest first."""
        sources = [source for source in self.sources.values() if not source.is_synced]
        return sorted(sources, key=age)

    def store(self, source: Source, upto: int | None = None) -> None:
        """Move what waits in ``source``, up to the number ``upto``, into the open vault."""
        assert self.vault is not None
        if upto is None:
            upto = source.file.last()
        while rows := source.waiting(upto):
            numbers = self.vault.store(source.file.identity, rows, source.in_hand)
            source.moved(rows, numbers, VAULT)

    # Files come

    def look(self) -> None:
        """Look for files that writers have begun."""
        added = False
        for path in self._spools():
            if str(path) not in self.sources:
                added = self._add(path) or added
        if added:
            self._call_the_dead_backlog()

    def _spools(self, suffix: str = SUFFIX) -> list[Path]:
        found = spools_in(self._folder, suffix)
        if self._terms.flash:
            with self._complaints.heard(), told(Path(self._terms.flash)):
                found += spools_in(Path(self._terms.flash), suffix)
        return found

    def _add(self, path: Path) -> bool:
        try:
            source = self._open(path)
        except SpoolError as error:
            # Its writer stands still in the middle of making it, or the file
            # system fails: the others go on, and this one is tried again.
            if str(path) not in self._unreadable:
                self._unreadable.add(str(path))
                log.warning("%s", error)
            return False
        self._unreadable.discard(str(path))
        if source is not None:
            self.sources[str(path)] = source
        return source is not None

    def _open(self, path: Path) -> Source | None:
        """Return a file as it is now; None for one that was about to go and does so now."""
        terms, synced = self._terms, self._is_synced(path)
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
            if self.vault is not None and not synced:
                source.leave_out(self.vault.stored(file.identity))
            undo.pop_all()
            return source

    def _is_synced(self, path: Path) -> bool:
        return path.parent != self._folder

    def _call_the_dead_backlog(self) -> None:
        """What a dead writer left goes before what its successor writes on the same topic."""
        for source in self.sources.values():
            with self._complaints.heard(), _claim_of_the_dead(source.claim) as claim:
                if claim is not None:
                    source.begin()

    # Files go

    def tidy(self) -> None:
        """Remove the empty files of dead writers, and what they had only begun."""
        for name, source in list(self.sources.items()):
            with self._complaints.heard():
                source.flush(all_of_it=True)
            with self._complaints.heard(), _claim_of_the_dead(source.claim) as claim:
                # Nobody writes to it any more: empty now is empty for good.
                if claim is not None and not source.file.read(0, 1):
                    self._progress.add(source.file.identity, source.file.balance())
                    self._remove(source)
                    del self.sources[name]
                    claim.remove()
        for path in self._spools(f"{SUFFIX}{UNFINISHED}"):
            begun = path.with_suffix("")
            place = claim_of(self._folder, begun, synced=self._is_synced(begun))
            with self._complaints.heard(), _claim_of_the_dead(place) as claim:
                if claim is not None:
                    for part in parts(path):
                        part.unlink(missing_ok=True)
                    if not begun.exists():
                        claim.remove()

    def _remove(self, source: Source) -> None:
        """Remove a file that is empty for good and was counted."""
        identity = source.file.identity
        if self.vault is not None:
            self.vault.forget(identity)
        with told(source.file.path):
            source.file.remove()
        self._progress.went(identity)

    def close(self) -> None:
        """Give all files back; what is in them stays."""
        for source in self.sources.values():
            source.file.close()
        self.sources = {}
        if self.vault is not None:
            self.vault.close()

    # About it

    def balance(self) -> SpoolBalance:
        """Return what became of all letters, those of files that are gone counted as well.

        What was moved to flash counts as what it is there, so that ``moved`` is 0 but for
        what was lost with a vault that broke. What lay there before the last power cut,
        which took the counts of memory, counts as accepted once more.
        """
        balances = [source.file.balance() for source in self.sources.values()]
        balances.append(self._progress.gone())
        whole = SpoolBalance(*map(sum, zip(*balances, strict=True)))
        if self.vault is None:
            return whole
        kept = self.vault.balance()
        carried = self._progress.carried(self.vault.identity, kept.accepted)
        lingering = sum(source.lingering for source in self.in_memory())
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


def spools_in(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    """Return the writers' files in ``folder``; none where nobody has written yet."""
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]
    except FileNotFoundError:
        return []


def age(source: Source) -> int:
    """Return what is less for a file that was begun earlier."""
    return number_of(source.file.path)


@contextlib.contextmanager
def _claim_of_the_dead(path: Path) -> Iterator[Claim | None]:
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
        else:
            with contextlib.closing(claim):
                yield claim
