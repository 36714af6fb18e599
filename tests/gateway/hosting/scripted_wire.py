"""A session on a wire of which every byte has its moment, in virtual time.

No thread and no descriptor: the wire is link and lookout in one. Waiting moves
the clock to what comes next, so that a test of seconds takes none.
"""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable
from typing import Any, ClassVar, cast

from gateway.bus.mailbox import Mailbox
from gateway.clock import VirtualClock
from gateway.device import Driver, Heartbeat, Identity, Link
from gateway.device.link_state import LinkEvent
from gateway.errors import LinkLostError
from gateway.framing import Framing, Line
from gateway.hosting.lookout import Lookout
from gateway.hosting.pairing import LateAnswer
from gateway.hosting.report import Report
from gateway.hosting.session import Session
from gateway.hosting.statistics import Statistics
from gateway.hosting.timed_session import TimedSession
from gateway.testing.fake_outside import FakeOutside

DESCRIPTOR = 7


class Talker(Driver):
    """A board that answers ``Q1`` with ``A1``, and says more than it is asked."""

    framing: ClassVar[Framing] = Line(64)

    def handshake(self) -> Identity:
        return Identity(firmware="1")

    def answers(self, request: bytes, frame: bytes) -> bool:
        return frame[:1] == b"A" and frame[1:] == request[1:]


class ScriptedWire(Link):
    """Both ends of a wire; ``board`` is told of every write and says things by `say`."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.board: Callable[[bytes], None] = lambda data: None
        self.written: list[bytes] = []
        self._order = itertools.count()
        self._coming: list[tuple[float, int, bytes]] = []
        self._there = b""

    def say(self, data: bytes, after: float = 0.0) -> None:
        """Have ``data`` come ``after`` so many seconds."""
        heapq.heappush(self._coming, (self.clock.now + after, next(self._order), data))

    # -- as a link ---------------------------------------------------------

    def fileno(self) -> int:
        return DESCRIPTOR

    def read(self) -> bytes:
        self._arrive()
        data, self._there = self._there, b""
        return data

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.board(data)

    def close(self) -> None:
        pass

    # -- as a lookout and a mailbox ----------------------------------------

    def poll(self, seconds: float, most: int) -> list[tuple[int, int]]:
        assert 0 <= seconds < 3600, f"a wait of {seconds} s"
        self._arrive()
        if not self._there:
            until = self.clock.now + seconds
            if self._coming and self._coming[0][0] <= until:
                until = self._coming[0][0]
            self.clock.now = until
            self._arrive()
        return [(DESCRIPTOR, select.EPOLLIN)] if self._there else []

    def watch(self, descriptor: int, ready: object = None) -> None:
        pass

    def _arrive(self) -> None:
        while self._coming and self._coming[0][0] <= self.clock.now:
            self._there += heapq.heappop(self._coming)[2]


class Conversation:
    """A proven session on a scripted wire."""

    def __init__(
        self,
        framing: Framing | None = None,
        *,
        quarantine: float = 0.0,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.wire = ScriptedWire()
        kind = type(
            "Talker",
            (Talker,),
            {
                "framing": framing or Talker.framing,
                "quarantine": quarantine,
                "heartbeat": heartbeat,
            },
        )
        self.driver: Talker = kind("talker", cast(Any, self))
        self.outside = FakeOutside()
        self.counts = Statistics()
        report = Report("talker", self.outside, self.counts, self.wire.clock)
        sort = Session if self.driver.framing.silence is None else TimedSession
        self.session = sort(
            self.wire,
            self.driver,
            cast(Mailbox, self.wire),
            cast(Lookout, self.wire),
            report,
            self.counts,
            self.wire.clock,
            lambda message: None,
        )
        self.session.open()
        for event in (LinkEvent.OPENED, LinkEvent.PROVEN):
            report.happened(event, "so the test has it")
        self.session.proven()
        self.session.begin_beating()
        self.ask = self.session.ask
        self.ask_many = self.session.ask_many
        self.write = self.session.write

    @property
    def now(self) -> float:
        return self.wire.clock.now

    def let_pass(self, seconds: float) -> None:
        """Let time pass, hearing what comes."""
        self.session.pause(self.now + seconds)

    def heard(self) -> list[bytes | LateAnswer]:
        """Return, and forget, what was kept for the driver."""
        kept = list(self.session.kept)
        self.session.kept.clear()
        return kept

    def break_(self) -> None:
        """Have every later write fail."""

        def broken(data: bytes) -> None:
            raise LinkLostError("the cable was pulled")

        self.wire.board = broken
