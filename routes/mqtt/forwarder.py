"""Takes what waits in the spool to the session, and confirms what the broker has.

A bounded number of letters is in the session's hands at a time; the rest stays in
its files, where a killed route does not lose it. What was in hand when it was
killed goes to the broker again: whoever listens tells repeats by the message id.

What is new goes out at once. What has waited follows beside it, at a pace that a
broker can bear to which everybody comes back at the same time.

Refused by nobody: what cannot be said over MQTT is counted by whoever says it,
and is done with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from math import inf
from typing import Any, Protocol

from gateway.bus.spool import SpoolReader
from gateway.bus.spool_source import AT_A_TIME, Taken
from gateway.clock import Clock
from gateway.mail.message import Message
from routes.mqtt.pace import Pace

IN_HAND = 256
"""Letters at the most that are with the session and not done with."""

TIDY_EVERY = 30.0
"""Seconds after which the files of dead writers are looked for."""

RELIEVE_EVERY = 0.1
"""Seconds after which it is seen whether a file fills."""

ENOUGH = 64
"""Letters in hand with which the session has enough to do: nobody needs to hurry."""

FRESH = 1.0
"""Seconds by which a letter may be older than the connection and still be new."""

PASSES = 3
"""How often the backlog may give nothing before something else has its turn."""

Say = Callable[[Message, Callable[[], None]], bool]
"""Hands a letter to the session with what is to be called once it is done with.

False where it was refused, and nothing will be called.
"""


class Desk(Protocol):
    """The session, as far as it concerns a forwarder."""

    def together(self) -> AbstractContextManager[None]:
        """Take several letters at once."""

    def recorded(self, letters: int) -> None:
        """So many letters that are done with are known as such in their files."""


class Forwarder:
    """Belongs to the route's thread, which calls `carry` whenever one of the two bells rings.

    As long as `is_busy`, it is to be called some times a second beside that.
    """

    def __init__(
        self,
        reader: SpoolReader,
        say: Say,
        desk: Desk,
        ring: Callable[[], None],
        clock: Clock,
        *,
        replay_rate: float,
        window: float,
        in_flight: int,
    ) -> None:
        """Read from ``reader``; ``ring``, from any thread, when letters are done with.

        ``replay_rate`` is in letters a second. In memory alone lies nothing that is
        older than ``window`` seconds, where the reader has flash: at each third of it
        goes there what was seen a third before, and the last is for the card. ``in_flight``
        is how many letters may go twice where this process is killed.
        """
        self._reader = reader
        self._say = say
        self._desk = desk
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._done: list[Taken] = []
        self._in_hand = 0
        self._ring_at = max(1, in_flight // 4)
        self._unsaid = 0
        now = clock.monotonic()
        self._pace = Pace(replay_rate, now=now)
        self._keep_every = window / 3
        self._keep_at = now + self._keep_every
        self._tidy_at = now + TIDY_EVERY
        self._relieve_at = now
        self.forwarded = 0
        """Letters that were handed to the session, those that went twice counted twice."""
        self.replayed = 0
        """Those among them that had waited."""
        self.confirmed = 0
        """Letters that the broker has, or never will."""

    def fileno(self) -> int:
        """Return the descriptor of the bell that writers ring."""
        return self._reader.fileno()

    @property
    def has_enough(self) -> bool:
        """Tell whether the writers' bell may be left unheard for now."""
        return self._in_hand >= ENOUGH

    @property
    def is_busy(self) -> bool:
        """Tell whether there is something that waits for its time, or fills its file."""
        return self.has_enough or self._reader.has_backlog

    def begin(self, since: float = inf) -> None:
        """There is a connection again, ``since`` then: what was written long before has waited."""
        self._reader.begin(since - FRESH)
        self.carry()

    def carry(self) -> None:
        """Confirm what is done with, and hand on as much as may be in hand."""
        self._reader.quiet()
        self._confirm()
        now = self._clock.monotonic()
        self._relieve(now)
        while (room := IN_HAND - self._in_hand) > 0:
            taken = self._reader.take_new(room)
            self._hand_on(taken)
            if len(taken) < AT_A_TIME:
                break  # no file has more, and what is written from here on rings
        self._replay(now)
        self._confirm()

    def keep_house(self, *, connected: bool) -> None:
        """Do what is due from time to time; to be called six times in a window, at the least."""
        now = self._clock.monotonic()
        self._relieve(now)
        if now >= self._keep_at:
            self._keep_at = now + self._keep_every
            self._confirm()
            self._reader.keep(connected=connected)
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY
            self._reader.tidy()

    def close(self) -> None:
        """Confirm what is done with and give the spool back; the rest stays in it."""
        self._confirm()
        self._reader.close()

    def statistics(self) -> dict[str, Any]:
        """Return what waits in files, what is in hand, and what has been handed on."""
        return {
            **self._reader.balance()._asdict(),
            "flash": self._reader.flash(),
            "in_hand": self._in_hand,
            "forwarded": self.forwarded,
            "replayed": self.replayed,
        }

    def _relieve(self, now: float) -> None:
        if now >= self._relieve_at:
            self._relieve_at = now + RELIEVE_EVERY
            self._reader.relieve()

    def _replay(self, now: float) -> None:
        """Hand on what has waited, as far as the pace allows."""
        idle = 0
        while self._reader.has_backlog and idle < PASSES:
            # What is new finds the other half of the room.
            room = min(IN_HAND // 2 - self._in_hand, self._pace.room(now), AT_A_TIME)
            if room <= 0:
                break
            taken = self._reader.take_backlog(room)
            idle = 0 if taken else idle + 1
            self._pace.spend(len(taken))
            self.replayed += len(taken)
            self._hand_on(taken)

    def _hand_on(self, taken: list[Taken]) -> None:
        with self._lock:
            self._in_hand += len(taken)
        self.forwarded += len(taken)
        with self._desk.together():
            for letter in taken:
                if not self._say(letter.message, partial(self._settled, letter)):
                    with self._lock:
                        self._unsaid += 1
                    self._settled(letter)

    def _confirm(self) -> None:
        with self._lock:
            done, self._done = self._done, []
            self._in_hand -= len(done)
            unsaid, self._unsaid = self._unsaid, 0
        if done:
            self.confirmed += len(done)
            self._reader.confirm(done)
            self._reader.flush()
            self._desk.recorded(len(done) - unsaid)

    def _settled(self, letter: Taken) -> None:
        """Note that ``letter`` is done with, from any thread; ring for many, or for the last."""
        with self._lock:
            self._done.append(letter)
            enough = len(self._done) >= min(self._ring_at, self._in_hand)
        if enough:
            self._ring()
