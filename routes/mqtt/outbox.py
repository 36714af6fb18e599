"""What waits to go to the broker, and what is to be said again.

No I/O, no clock, no lock: its owner brings the lock. Three lanes, in the
order in which they are emptied:

1. **retained** values that the broker does not have yet, one per topic: a
   newer value takes the place of an older one that has not left;
2. **urgent** letters, the replies to calls;
3. everything else;
4. letters that lie **spooled** elsewhere until their ``settled`` is called, and
   are bounded by whoever hands them in.

Lanes 2 and 3 are bounded together, in letters and in bytes; where they are
full, the oldest of lane 3 goes first and is counted. Retained values are
kept after they were acknowledged, and `lost` puts them all back in line: a
broker that forgot everything is told again.

Refused, with a count: a letter that alone is over the bound in bytes; a
letter that met a dying connection `ATTEMPTS` times (some brokers answer a
message that they dislike by hanging up, and would do so for ever). A spooled
one is only suspected then, since brokers die of other things as well: it is
sent alone, and given up once that has cost as many connections again.

At any moment: accepted = acknowledged + dropped + superseded + refused +
given_up + queued + in_flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

ATTEMPTS = 5
"""Connections that may die over one letter before it is given up."""


@dataclass(slots=True, eq=False)
class Letter:
    """One MQTT message on its way out; ``payload`` as it goes over the wire."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    urgent: bool = False
    correlation_data: bytes | None = None
    settled: Callable[[], None] | None = None
    """Is called once, when there is nothing left to do for the letter; it must not wait."""
    attempts: int = field(default=0, init=False)
    counted: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        """What it weighs in the bounds: bytes of payload and topic."""
        return len(self.payload) + len(self.topic) + len(self.correlation_data or b"")


class OutboxStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, then what is in the box now."""

    accepted: int
    acknowledged: int
    dropped: int
    superseded: int
    refused: int
    given_up: int
    republished: int
    forgotten: int
    queued: int
    queued_bytes: int
    in_flight: int
    retained: int
    retained_bytes: int


class Outbox:
    """Bounded memory between those who publish and the one who sends."""

    def __init__(self, *, size: int, size_bytes: int, retained_size: int) -> None:
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
        self._alone: Letter | None = None  # in flight, and nothing else is to be
        self._accepted = self._acknowledged = self._dropped = self._superseded = 0
        self._refused = self._given_up = self._republished = self._forgotten = 0

    def __bool__(self) -> bool:
        """Tell whether anything waits to be sent or acknowledged."""
        return bool(self._due or self._urgent or self._normal or self._spooled or self._in_flight)

    def put(self, letter: Letter) -> bool:
        """Take ``letter``; False where it alone is over the bound in bytes."""
        self._accepted += 1
        if letter.size > self._size_bytes:
            self._refused += 1
            return False
        if letter.retain:
            self._keep(letter)
        elif letter.settled is not None:
            self._spooled.append(letter)
        else:
            (self._urgent if letter.urgent else self._normal).append(letter)
            self._bytes += letter.size
            self._shed()
        return True

    def take(self) -> Letter | None:
        """Hand out the next letter; it is in flight until `sent`, `deny` or `lost`.

        None where there is none, or where one that is suspected has to go alone.
        """
        if self._alone is not None:
            return None
        if self._due:
            topic = next(iter(self._due))
            letter = self._due.pop(topic)
            self._republished += letter.counted
        elif self._urgent or self._normal:
            letter = (self._urgent or self._normal).popleft()
            self._bytes -= letter.size
        elif self._spooled:
            if self._spooled[0].attempts >= ATTEMPTS:
                if self._in_flight:
                    return None
                self._alone = self._spooled[0]
            letter = self._spooled.popleft()
        else:
            return None
        letter.attempts += 1
        self._in_flight[letter] = None
        return letter

    def sent(self, letter: Letter) -> None:
        """The broker has it (QoS 1), or the socket took it (QoS 0)."""
        self._landed(letter)
        letter.attempts = 0
        if self._is_settled(letter):
            self._acknowledged += 1
        # An empty retained message clears the topic (MQTT 5.0, 3.3.1.3): once
        # the broker has done so there is nothing left to say again.
        if letter.retain and not letter.payload:
            self._forget(letter)

    def deny(self, letter: Letter) -> None:
        """The broker, or its limits, said no; it is not tried again on this connection."""
        self._landed(letter)
        if self._is_settled(letter):
            self._refused += 1

    def lost(self) -> None:
        """The connection is gone: what was in flight goes back to its head."""
        for letter in reversed(self._in_flight):
            if letter.attempts >= (ATTEMPTS if letter.settled is None else 2 * ATTEMPTS):
                self._give_up(letter)
            elif letter.retain:
                if self._retained.get(letter.topic) is not letter:
                    self._supersede(letter)
            elif letter.settled is not None:
                self._spooled.appendleft(letter)
            else:
                (self._urgent if letter.urgent else self._normal).appendleft(letter)
                self._bytes += letter.size
        self._in_flight.clear()
        self._alone = None
        self._due = dict(self._retained)
        self._shed()

    def statistics(self) -> OutboxStatistics:
        """Return the counts; one consistent picture if the owner holds the lock."""
        waiting = sum(not letter.counted for letter in self._due.values())
        return OutboxStatistics(
            accepted=self._accepted,
            acknowledged=self._acknowledged,
            dropped=self._dropped,
            superseded=self._superseded,
            refused=self._refused,
            given_up=self._given_up,
            republished=self._republished,
            forgotten=self._forgotten,
            queued=waiting + len(self._urgent) + len(self._normal) + len(self._spooled),
            queued_bytes=self._bytes,
            in_flight=sum(not letter.counted for letter in self._in_flight),
            retained=len(self._retained),
            retained_bytes=self._retained_bytes,
        )

    def _keep(self, letter: Letter) -> None:
        self._forget(self._retained.get(letter.topic))
        older = self._due.pop(letter.topic, None)
        if older is not None:
            self._supersede(older)
        self._retained[letter.topic] = letter
        self._retained_bytes += letter.size
        self._due[letter.topic] = letter
        while len(self._retained) > self._retained_size or self._retained_bytes > self._size_bytes:
            oldest = next(iter(self._retained.values()))
            self._forget(oldest)
            self._forgotten += 1
            if self._due.get(oldest.topic) is oldest:
                del self._due[oldest.topic]
                if self._is_settled(oldest):
                    self._dropped += 1

    def _forget(self, letter: Letter | None) -> None:
        if letter is not None and self._retained.get(letter.topic) is letter:
            del self._retained[letter.topic]
            self._retained_bytes -= letter.size

    def _shed(self) -> None:
        while len(self._urgent) + len(self._normal) > self._size or self._bytes > self._size_bytes:
            oldest = (self._normal or self._urgent).popleft()
            self._bytes -= oldest.size
            self._dropped += 1

    def _supersede(self, letter: Letter) -> None:
        if self._is_settled(letter):
            self._superseded += 1

    def _give_up(self, letter: Letter) -> None:
        self._forget(letter)
        if self._is_settled(letter):
            self._given_up += 1

    def _landed(self, letter: Letter) -> None:
        self._in_flight.pop(letter, None)
        if self._alone is letter:
            self._alone = None

    def _is_settled(self, letter: Letter) -> bool:
        """Settle ``letter``; tell whether that is to be counted, since it was not before."""
        if letter.counted:
            return False
        letter.counted = True
        if letter.settled is not None:
            letter.settled()
        return True
