"""One `MailTap` for several who watch, each what it asks for.

It is opened with the first of them and closed with the last; `SharedTap.renew`
keeps it standing in between. All methods are for the thread of the process;
`SharedTap.begin` waits for the boss, a second at the most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from gateway.clock import Clock
from gateway.process.mail_tap import RENEW_EVERY, Copy, MailTap
from gateway.process.process import Process

LEASE = 15.0
"""Seconds after which the boss ends a tap that its owner has not renewed."""


class SharedTap:
    """Hands copies to ``take``, each with the id that `begin` returned for whom it is."""

    def __init__(self, process: Process, clock: Clock, take: Callable[[list[Copy]], None]) -> None:
        self._process = process
        self._clock = clock
        self._take = take
        self._ids = map(str, count(1))
        self._followed: set[str] = set()
        self._tap: MailTap | None = None
        self._renew_at = 0.0

    @property
    def due(self) -> float | None:
        """When `renew` is to be called, in monotonic seconds; None where nobody watches."""
        return None if self._tap is None else self._renew_at

    def begin(self, *, sender: str, recipient: str, subject: str, kinds: tuple[str, ...]) -> str:
        """Watch the mail that the globs match; return as what. Raises what the boss has against it.

        Who was refused has left nothing open.
        """
        tap = self._tap
        if tap is None:
            tap = self._tap = MailTap(self._process)
            self._process.watch(tap.fileno(), self._on_copies)
            self._renew_at = self._clock.monotonic() + RENEW_EVERY
        id = next(self._ids)
        self._followed.add(id)
        try:
            tap.follow(id, sender=sender, recipient=recipient, subject=subject, kinds=kinds)
        except BaseException:
            # A boss that was late may yet open it.
            self.end(id)
            raise
        return id

    def end(self, id: str) -> None:
        """Watch no longer as ``id``."""
        self._followed.discard(id)
        if self._tap is not None:
            self._tap.forget(id)
        if not self._followed:
            self.close()

    def renew(self, now: float) -> bool:
        """Renew the lease where that is due; tell whether it was in time.

        Where it was not, as in an OS process that was stopped, the boss has ended what
        was watched: no copies will come, and whoever watches has to begin anew.
        """
        if self._tap is None or now < self._renew_at:
            return True
        is_in_time = now - self._renew_at < LEASE - RENEW_EVERY
        self._tap.renew()
        self._renew_at = now + RENEW_EVERY
        return is_in_time

    def close(self) -> None:
        """Watch nothing any more, and tell the boss nothing: what is not renewed ends."""
        self._followed.clear()
        tap, self._tap = self._tap, None
        if tap is not None:
            self._process.unwatch(tap.fileno())
            tap.close()

    def _on_copies(self, _events: int) -> None:
        if self._tap is not None:
            self._take(self._tap.take())
