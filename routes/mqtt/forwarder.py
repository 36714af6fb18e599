"""Takes what waits in the spool to the session, and confirms what the broker has.

A bounded number of letters is in the session's hands at a time; the rest stays in
its files, where a killed route does not lose it. What was in hand when it was
killed goes to the broker again: whoever listens tells repeats by the message id.

Refused by nobody: what cannot be said over MQTT is counted by whoever says it,
and is done with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from gateway.bus.spool import AT_A_TIME, SpoolReader, Taken
from gateway.clock import Clock
from gateway.mail.message import Message

IN_HAND = 256
"""Letters at the most that are with the session and not done with."""

TIDY_EVERY = 30.0
"""Seconds after which the files of dead writers are looked for."""

Say = Callable[[Message, Callable[[], None]], bool]
"""Hands a letter to the session with what is to be called once it is done with.

False where it was refused, and nothing will be called.
"""


class Forwarder:
    """Belongs to the route's thread, which calls `carry` whenever one of the two bells rings."""

    def __init__(
        self, reader: SpoolReader, say: Say, ring: Callable[[], None], clock: Clock
    ) -> None:
        """Read from ``reader``; ``ring``, from any thread, when letters are done with."""
        self._reader = reader
        self._say = say
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._done: list[Taken] = []
        self._in_hand = 0
        self._tidy_at = clock.monotonic()
        self.forwarded = 0
        """Letters that were handed to the session, those that went twice counted twice."""

    def fileno(self) -> int:
        """Return the descriptor of the bell that writers ring."""
        return self._reader.fileno()

    def carry(self) -> None:
        """Confirm what is done with, and hand on as much as may be in hand."""
        self._reader.quiet()
        self._confirm()
        while (room := IN_HAND - self._in_hand) > 0:
            taken = self._reader.take(room)
            with self._lock:
                self._in_hand += len(taken)
            self.forwarded += len(taken)
            for letter in taken:
                if not self._say(letter.message, partial(self._settled, letter)):
                    self._settled(letter)
            self._confirm()
            if len(taken) < AT_A_TIME:
                break  # no file has more, and what is written from here on rings
        now = self._clock.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY
            self._reader.tidy()

    def close(self) -> None:
        """Confirm what is done with and give the spool back; the rest stays in it."""
        self._confirm()
        self._reader.close()

    def statistics(self) -> dict[str, int]:
        """Return what waits in files, what is in hand, and what has been handed on."""
        balance = self._reader.balance()
        return {
            "queued": balance.queued,
            "dropped": balance.dropped,
            "garbage": balance.garbage,
            "in_hand": self._in_hand,
            "forwarded": self.forwarded,
        }

    def _confirm(self) -> None:
        with self._lock:
            done, self._done = self._done, []
            self._in_hand -= len(done)
        if done:
            self._reader.confirm(done)

    def _settled(self, letter: Taken) -> None:
        """Note that ``letter`` is done with, from any thread; ring for many, or for the last."""
        with self._lock:
            self._done.append(letter)
            enough = len(self._done) >= min(IN_HAND // 4, self._in_hand)
        if enough:
            self._ring()
