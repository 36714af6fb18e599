"""What waits to go to the broker, and what is to be said again.

No I/O, no clock, no lock: its owner brings time and lock. Four lanes, in the
order in which they are emptied:

1. **retained** values that the broker does not have yet, one per topic: a
   newer value takes the place of an older one that has not left;
2. **urgent** letters, the replies to calls;
3. everything else;
4. letters that lie **spooled** elsewhere until their ``settled`` is called, and
   are bounded by whoever hands them in. Of those, no more than ``spooled_window``
   are out, or settled and not yet `recorded` there: so many go twice, at the most,
   where this process is killed.

Lanes 2 and 3 are bounded together, in letters and in bytes; where they are
full, the oldest of lane 3 goes first and is counted. Retained values are
kept after they were acknowledged, and `lost` puts them all back in line: a
broker that forgot everything is told again. Where there are too many, the one that
was put longest ago is forgotten, an urgent one last of all. Whatever has outlived its
``deadline`` when its turn comes is not sent, and a retained value not said
again: nobody wants it any more.

Refused, with a count: a letter that alone is over the bound in bytes; a
letter that met a dying connection `ATTEMPTS` times (some brokers answer a
message that they dislike by hanging up, and would do so for ever). A spooled
one is only suspected then, since brokers die of other things as well: it is
sent alone, and given up once that has cost as many connections again.

At any moment: accepted = acknowledged + dropped + superseded + refused +
given_up + expired + queued + in_flight.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Literal, get_args

import msgspec

from routes.mqtt.letter import Letter

End = Literal["acknowledged", "dropped", "superseded", "refused", "given_up", "expired"]
"""What becomes of a letter."""

ATTEMPTS = 5
"""Connections that may die over one letter before it is given up."""


class OutboxStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, then what is in the box now."""

    accepted: int
    acknowledged: int
    dropped: int
    superseded: int
    refused: int
    given_up: int
    expired: int
    republished: int
    forgotten: int
    queued: int
    queued_bytes: int
    in_flight: int
    retained: int
    retained_bytes: int


class Outbox:
    """Bounded memory between those who publish and the one who sends."""

    def __init__(
        self, *, size: int, size_bytes: int, retained_size: int, spooled_window: float = math.inf
    ) -> None:
        self.spooled_window = spooled_window
        self._unrecorded = 0
        self._size = size
        self._size_bytes = size_bytes
        self._retained_size = retained_size
        self._urgent: deque[Letter] = deque()
        self._normal: deque[Letter] = deque()
        self._spooled: deque[Letter] = deque()
        self._bytes = 0
        self._retained: dict[str, Letter] = {}
        self._retained_bytes = 0
        self._due: dict[str, Letter] = {}
        self._in_flight: dict[Letter, None] = {}
        self._postponed: list[Letter] = []
        self._handed_out = 0
        self._alone: Letter | None = None  # in flight, and nothing else is to be
        self._accepted = self._republished = self._forgotten = 0
        self._ends: dict[End, int] = dict.fromkeys(get_args(End), 0)
        self._to_tell: deque[Callable[[], None]] = deque()

    def __bool__(self) -> bool:
        """Tell whether anything waits to be sent or acknowledged."""
        queued = self._due or self._urgent or self._normal or self._spooled
        return bool(queued or self._in_flight or self._postponed)

    def put(self, letter: Letter) -> bool:
        """Take ``letter``; False where it alone is over the bound in bytes."""
        self._accepted += 1
        if letter.size > self._size_bytes:
            self._ends["refused"] += 1
            return False
        if letter.retain:
            self._keep(letter)
        elif letter.settled is not None:
            self._spooled.append(letter)
        else:
            (self._urgent if letter.urgent else self._normal).append(letter)
            self._bytes += letter.size
            self._shed()
        self._tell()
        return True

    def recorded(self, letters: int) -> None:
        """So many spooled letters that were settled are known as such where they lie."""
        self._unrecorded -= letters

    def take(self, now: float) -> Letter | None:
        """Hand out the next letter; it is in flight until one of the next four methods.

        None where there is none, or where one that is suspected has to go alone.
        ``now`` is in monotonic seconds.
        """
        self._put_back(self._postponed)
        self._postponed.clear()
        while (letter := self._next()) is not None:
            if letter.is_over(now):
                self._landed(letter)
                self._forget(letter)
                self._settle(letter, "expired")
                continue
            self._handed_out += 1
            self._republished += letter.counted
            letter.attempts += 1
            letter.taken = self._handed_out
            self._in_flight[letter] = None
            break
        self._tell()
        return letter

    def sent(self, letter: Letter) -> None:
        """The broker has it (QoS 1), or the socket took it (QoS 0)."""
        self._landed(letter)
        letter.attempts = 0
        self._settle(letter, "acknowledged")
        # An empty retained message clears the topic (MQTT 5.0, 3.3.1.3): once
        # the broker has done so there is nothing left to say again.
        if letter.retain and not letter.payload:
            self._forget(letter)
        self._tell()

    def deny(self, letter: Letter) -> None:
        """The broker, or its limits, said no; it is not tried again on this connection."""
        self._landed(letter)
        self._settle(letter, "refused")
        self._tell()

    def postpone(self, letter: Letter) -> None:
        """The broker has no room for it now: it is in line again, and not to blame."""
        self._landed(letter)
        letter.attempts -= 1
        self._postponed.append(letter)

    def lost(self) -> None:
        """The connection is gone: what was in flight goes back to its head."""
        back = self._postponed
        for letter in self._in_flight:
            if letter.attempts >= (ATTEMPTS if letter.settled is None else 2 * ATTEMPTS):
                self._forget(letter)
                self._settle(letter, "given_up")
            else:
                back.append(letter)
        self._in_flight.clear()
        self._alone = None
        self._put_back(back)
        self._postponed.clear()
        self._due = dict(self._retained)
        self._tell()

    def statistics(self) -> OutboxStatistics:
        """Return the counts; one consistent picture if the owner holds the lock."""
        waiting = sum(not each.counted for each in (*self._due.values(), *self._postponed))
        return OutboxStatistics(
            accepted=self._accepted,
            **self._ends,
            republished=self._republished,
            forgotten=self._forgotten,
            queued=waiting + len(self._urgent) + len(self._normal) + len(self._spooled),
            queued_bytes=self._bytes,
            in_flight=sum(not letter.counted for letter in self._in_flight),
            retained=len(self._retained),
            retained_bytes=self._retained_bytes,
        )

    def _next(self) -> Letter | None:
        if self._alone is not None:
            return None
        if self._due:
            return self._due.pop(next(iter(self._due)))
        if self._urgent or self._normal:
            letter = (self._urgent or self._normal).popleft()
            self._bytes -= letter.size
            return letter
        if not self._spooled or self._unrecorded + len(self._in_flight) >= self.spooled_window:
            return None
        if self._spooled[0].attempts >= ATTEMPTS:
            if self._in_flight:
                return None
            self._alone = self._spooled[0]
        return self._spooled.popleft()

    def _put_back(self, letters: list[Letter]) -> None:
        """Put what was handed out at the head of its lane again, in its order."""
        for letter in sorted(letters, key=attrgetter("taken"), reverse=True):
            if letter.retain:
                if self._retained.get(letter.topic) is letter:
                    self._due.setdefault(letter.topic, letter)
                else:
                    self._settle(letter, "superseded")
            elif letter.settled is not None:
                self._spooled.appendleft(letter)
            else:
                (self._urgent if letter.urgent else self._normal).appendleft(letter)
                self._bytes += letter.size
        if letters:
            self._shed()

    def _keep(self, letter: Letter) -> None:
        self._forget(self._retained.get(letter.topic))
        older = self._due.pop(letter.topic, None)
        if older is not None:
            self._settle(older, "superseded")
        self._retained[letter.topic] = letter
        self._retained_bytes += letter.size
        self._due[letter.topic] = letter
        while len(self._retained) > self._retained_size or self._retained_bytes > self._size_bytes:
            values = self._retained.values()
            oldest = next((each for each in values if not each.urgent), next(iter(values)))
            self._forget(oldest)
            self._forgotten += 1
            if self._due.get(oldest.topic) is oldest:
                del self._due[oldest.topic]
                self._settle(oldest, "dropped")

    def _forget(self, letter: Letter | None) -> None:
        if letter is not None and self._retained.get(letter.topic) is letter:
            del self._retained[letter.topic]
            self._retained_bytes -= letter.size

    def _shed(self) -> None:
        while len(self._urgent) + len(self._normal) > self._size or self._bytes > self._size_bytes:
            oldest = (self._normal or self._urgent).popleft()
            self._bytes -= oldest.size
            self._settle(oldest, "dropped")

    def _landed(self, letter: Letter) -> None:
        self._in_flight.pop(letter, None)
        if self._alone is letter:
            self._alone = None

    def _settle(self, letter: Letter, end: End) -> None:
        """Count how ``letter`` ended, once."""
        if not letter.counted:
            letter.counted = True
            self._ends[end] += 1
            if letter.settled is not None:
                self._unrecorded += 1
                self._to_tell.append(letter.settled)

    def _tell(self) -> None:
        """Tell who waits for it, when all is counted: should they raise, nothing is amiss here."""
        while self._to_tell:
            self._to_tell.popleft()()
