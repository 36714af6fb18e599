"""Which question a frame answers: several in flight, and those that were given up.

Three pure parts, to which frames and moments are handed:

- a `Pipeline` keeps up to so many questions in flight and gives each frame to
  the first of them, in the order of asking, that accepts it. Where answers
  name their question they may come in any order; where they do not, a board
  that answers in order is paired in order.
- `Overdue` remembers questions that were given up, so that their answers, when
  they come after all, are told from the next question's, and from what nobody
  asked for. A frame that a waiting question accepts is that one's first.
- a `LateAnswer` is what such a frame is handed on as.

Where two questions accept the same frames (no tags, the same request twice),
no rule can tell a late answer from a prompt one. There a driver's
``quarantine`` has time pass after a question was given up, before another is
asked; without it, the one question that follows may get its forerunner's
answer, and its own is then late and taken from the third.

No clock here, no link. Refused: less than one question in flight, a
quarantine without an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Final, NamedTuple

import msgspec

REMEMBERED: Final = 16
"""Questions given up that are remembered; more push out the oldest."""
REMEMBERED_SECONDS: Final = 10.0
"""Seconds after which an answer is not late but something else."""


class LateAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question that nobody waits for any more."""

    request: bytes
    payload: bytes


class _GivenUp(NamedTuple):
    request: bytes
    accepts: Callable[[bytes], bool]
    at: float


class Overdue:
    """The questions given up lately, oldest first; moments are monotonic seconds.

    >>> overdue = Overdue(quarantine=0.5)
    >>> overdue.add(b"R7", lambda frame: frame.startswith(b"R7 "), now=1.0)
    >>> overdue.quarantined_until
    1.5
    >>> overdue.claim(b"O12,14"), overdue.claim(b"R7 512"), overdue.claim(b"R7 512")
    (None, LateAnswer(request=b'R7', payload=b'R7 512'), None)
    """

    def __init__(self, quarantine: float) -> None:
        """Hold back the next question for ``quarantine`` seconds after one was given up."""
        if not 0 <= quarantine < inf:
            raise ValueError(f"a quarantine lasts some seconds or none, not {quarantine}")
        self.questions: deque[_GivenUp] = deque(maxlen=REMEMBERED)
        """Empty, and so false, where no answer can be late."""
        self._quarantine = quarantine
        self._seconds = max(REMEMBERED_SECONDS, quarantine)

    def add(self, request: bytes, accepts: Callable[[bytes], bool], now: float) -> None:
        """Remember a question that is given up ``now``."""
        self.questions.append(_GivenUp(request, accepts, now))

    def claim(self, frame: bytes) -> LateAnswer | None:
        """Return ``frame`` as the answer that it is, once, or None where it is none."""
        for given_up in self.questions:
            if given_up.accepts(frame):
                self.questions.remove(given_up)
                return LateAnswer(given_up.request, frame)
        return None

    def forget(self, now: float) -> None:
        """Forget what is so old that no answer to it will come."""
        while self.questions and now >= self.questions[0].at + self._seconds:
            self.questions.popleft()

    @property
    def quarantined_until(self) -> float:
        """The moment from which another question may be asked; minus infinity for any."""
        if not self.questions or not self._quarantine:
            return -inf
        return self.questions[-1].at + self._quarantine


class Pipeline:
    """The questions of one `Driver.ask_many`, some of them in flight.

    >>> pipeline = Pipeline([b"A", b"B", b"C"], lambda request, frame: frame[:1] == request, 2)
    >>> list(pipeline.to_write()), pipeline.take(b"B!"), list(pipeline.to_write())
    ([0, 1], True, [2])
    >>> pipeline.take(b"B again"), pipeline.take(b"C!"), pipeline.take(b"A!")
    (False, True, True)
    >>> pipeline.is_done, pipeline.answers
    (True, [b'A!', b'B!', b'C!'])
    """

    def __init__(
        self,
        requests: Sequence[bytes],
        accepts: Callable[[bytes, bytes], bool],
        in_flight: int,
    ) -> None:
        """Ask ``requests``, ``in_flight`` of them at a time."""
        if in_flight < 1:
            raise ValueError(f"at least one question is in flight, not {in_flight}")
        self._requests = requests
        self._accepts = accepts
        self._in_flight = in_flight
        self._next = 0
        self._waiting: list[int] = []
        self._answers: dict[int, bytes] = {}

    def to_write(self) -> Iterator[int]:
        """Yield the numbers of the requests that are to be written now; they are in flight."""
        while len(self._waiting) < self._in_flight and self._next < len(self._requests):
            number = self._next
            self._next += 1
            self._waiting.append(number)
            yield number

    def take(self, frame: bytes) -> bool:
        """Give ``frame`` to the first question in flight that accepts it; tell whether one did."""
        for number in self._waiting:
            if self._accepts(self._requests[number], frame):
                self._waiting.remove(number)
                self._answers[number] = frame
                return True
        return False

    @property
    def waiting(self) -> list[bytes]:
        """The requests in flight, in the order of asking."""
        return [self._requests[number] for number in self._waiting]

    @property
    def is_done(self) -> bool:
        """Whether every question has its answer."""
        return len(self._answers) == len(self._requests)

    @property
    def answers(self) -> list[bytes]:
        """The answers in the order of the requests; `KeyError` before all are there."""
        return [self._answers[number] for number in range(len(self._requests))]
