"""A driver before its own simulated board, in one thread and in a time of their own.

The desk is the `DriverHost`: what the driver writes goes straight into the board,
and while it waits the clock is cranked to the board's next moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from gateway.device import Driver
from gateway.device.simulated_port import Board
from gateway.errors import CallTimeoutError, GatewayError
from gateway.framing import Frame, Garbage
from gateway.mail.body import checked


class CrankedClock:
    """Stands still unless it is cranked."""

    def __init__(self, time: float = 1_900_000_000.0) -> None:
        self.now = 0.0
        self._time = time

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self._time + self.now


class Desk:
    """One driver, one board, and what the driver told the house."""

    def __init__(
        self,
        driver: type[Driver],
        settings: Mapping[str, Any] | None,
        board: Board,
        clock: CrankedClock,
    ) -> None:
        self.board: Any = board
        self.clock = clock
        self.written: list[bytes] = []
        self.published: list[tuple[str, Any]] = []
        self.retained: dict[str, Any] = {}
        self.faults: list[str] = []
        self.noise: list[Garbage] = []
        self.nonsense: list[GatewayError] = []
        self.damage: Callable[[bytes], bytes] = lambda data: data
        """What the wire does to that which the board says."""
        self._kept: deque[bytes] = deque()
        self._next_tick = 0.0
        self.driver: Any = driver.configured(settings)("it", self, settings)
        self._decoder: Any = self.driver.framing.decoder()

    # -- the host ----------------------------------------------------------

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        return self._find(self._exchange(request), answers, timeout, f"answer to {request!r}")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        return [self.ask(request, partial(answers, request), timeout) for request in requests]

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        return self._find([], answers, timeout, "expected frame")

    def write(self, payload: bytes) -> None:
        self._kept += self._exchange(payload)

    def publish(self, topic: str, body: Any, *, retain: bool = False) -> None:
        handed_over, _ = checked(body)
        self.published.append((topic, handed_over))
        if retain:
            self.retained[topic] = handed_over

    def fault(self, cause: str) -> None:
        self.faults.append(cause)

    # -- the test's side ---------------------------------------------------

    def bodies(self, topic: str) -> list[Any]:
        """Return what was published on ``topic``, in order."""
        return [body for each, body in self.published if each == topic]

    def call(self, command: str, body: Any = None) -> Any:
        """Carry out a command as a letter asks for it."""
        arguments = self.driver.commands()[command].check(body)
        return checked(getattr(self.driver, command)(**arguments))[0]

    def say(self, data: bytes) -> None:
        """Let the board say ``data`` as well."""
        self._kept += self._frames(data)

    def hear(self) -> None:
        """Give the driver what there is to hear."""
        while self._kept:
            try:
                self.driver.received(self._kept.popleft())
            except GatewayError as error:
                self.nonsense.append(error)

    def run(self, seconds: float, *, ticking: bool = True) -> None:
        """Let time pass: the board says what is due, the driver ticks."""
        end = self.clock.now + seconds
        while True:
            self._kept += self._frames(self.board.poll())
            self.hear()
            if ticking and self._next_tick <= self.clock.now:
                due = self.driver.tick(self.clock.now)
                self._next_tick = inf if due is None else max(due, self.clock.now + 0.001)
                continue
            wake = self.board.wake
            following = min(inf if wake is None else wake, self._next_tick if ticking else inf)
            if following > end:
                break
            self._kept += self._crank(following)
        self._kept += self._crank(end)
        self.hear()

    # -- the wire ----------------------------------------------------------

    def _exchange(self, request: bytes) -> list[bytes]:
        self.written.append(request)
        return self._frames(self.board.receive(self.driver.framing.encode(request)))

    def _crank(self, until: float) -> list[bytes]:
        """Let time pass; return the frames that a silence ends meanwhile."""
        silence = self.driver.framing.silence
        is_still = silence is not None and until - self.clock.now >= silence
        self.clock.now = max(self.clock.now, until)
        return self._sort(self._decoder.expire()) if is_still else []

    def _frames(self, data: bytes) -> list[bytes]:
        return self._sort(self._decoder.feed(self.damage(data)))

    def _sort(self, events: list[Frame | Garbage]) -> list[bytes]:
        self.noise += [event for event in events if isinstance(event, Garbage)]
        return [event.payload for event in events if isinstance(event, Frame)]

    def _find(
        self,
        frames: list[bytes],
        answers: Callable[[bytes], bool],
        timeout: float,
        wanted: str,
    ) -> bytes:
        end = self.clock.now + timeout
        while True:
            answer = None
            for frame in frames:
                if answer is None and answers(frame):
                    answer = frame
                else:
                    self._kept.append(frame)
            if answer is not None:
                return answer
            if self.clock.now >= end:
                raise CallTimeoutError(f"no {wanted} within {timeout} s")
            wake = self.board.wake
            frames = self._crank(end if wake is None else min(wake, end))
            frames += self._frames(self.board.poll())
