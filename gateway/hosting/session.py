"""One opening of one link: frames in and out, questions, and signs of life.

A session reads, cuts and sorts what the board says. A frame is the answer to
the question that waits, or a pong, or it is kept for the driver: first come,
first served, and never delivered from in here, so that no driver method is
entered while another runs. While a question waits, no ping goes out (many
boards take one question at a time) but silence is noticed all the same.

It waits in two places. Between commands that is the device's mailbox, which
watches the link as well. While a question waits it is the link alone, so that
no command is taken before the one in hand has ended. Until the board is proven
every wait is in the mailbox, and what comes there is turned away.

A session never closes its link and never moves a state by itself; it raises
`LinkLostError` where the link breaks, and where the gateway stops.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from gateway.bus.mailbox import Mailbox
from gateway.clock import Clock
from gateway.device.driver import Driver
from gateway.device.heartbeat import Due, Silence
from gateway.device.link import Link
from gateway.device.link_state import LinkEvent, LinkState
from gateway.errors import CallTimeoutError, LinkLostError, ProtocolError
from gateway.framing.frame import Frame
from gateway.hosting.lookout import Lookout
from gateway.hosting.report import Report
from gateway.hosting.statistics import Statistics
from gateway.mail.message import Message

log = logging.getLogger(__name__)

KEPT: Final = 1024
"""Frames kept while a question waits; more push out the oldest, counted."""

_HEALTHY: Final = LinkState.HEALTHY
_LET_GO: Final = "the gateway lets go of the device"
_BROKEN: Final = int(select.EPOLLERR | select.EPOLLHUP)


class Session:
    """Bytes to frames and back, for one link and one driver; used by one thread."""

    def __init__(
        self,
        link: Link,
        driver: Driver,
        mailbox: Mailbox,
        lookout: Lookout,
        report: Report,
        counts: Statistics,
        clock: Clock,
        stopping: threading.Event,
        turn_away: Callable[[Message], None],
    ) -> None:
        self.deadline = inf
        """Monotonic seconds beyond which no question waits: the handshake's end."""
        self.kept: deque[bytes] = deque()
        """Frames that nobody has handled yet, oldest first."""
        self.wake = inf
        """Monotonic seconds when `beat` should be called."""
        self.link = link
        """What it listens to; its owner is who made it."""
        self._encode = driver.framing.encode
        self._decode = driver.framing.decoder().feed
        self._heartbeat = driver.heartbeat
        self._pong = None if driver.heartbeat is None else driver.heartbeat.answer
        self._mailbox = mailbox
        self._lookout = lookout
        self._poll = lookout.poll
        self._turn_away: Callable[[Message], None] | None = turn_away
        self.arrived: list[bytes] = []
        """Frames that came in `wait_in_mailbox`, pongs among them; who handles them clears it."""
        self._report = report
        self._counts = counts
        self._monotonic = clock.monotonic
        self._read_link = link.read
        self._write_link = link.write
        self._stopping = stopping
        self._descriptor = -1
        self._heard = -inf
        self._pinged = -inf
        self._unanswered = False
        self._overdue = False

    def open(self) -> None:
        """Listen to the link from now on, until `close`."""
        self._descriptor = self.link.fileno()
        self._lookout.watch(self._descriptor)
        self._mailbox.watch(self._descriptor, self._link_is_ready)

    def close(self) -> None:
        """Listen no more; call it before the link is closed."""
        self._lookout.unwatch()
        if self._descriptor >= 0:
            # A descriptor that died under us has left the epoll by itself.
            with contextlib.suppress(OSError):
                self._mailbox.unwatch(self._descriptor)
            self._descriptor = -1

    def wait_in_mailbox(self, seconds: float | None) -> Message | None:
        """Sleep until a letter or bytes come, for ``seconds`` at most; return the letter.

        Frames that came meanwhile are in `arrived`.
        """
        if self._stopping.is_set():
            raise LinkLostError(_LET_GO)
        message = self._mailbox.get(seconds)
        if message is None and self._mailbox.closed:
            raise LinkLostError(_LET_GO)
        return message

    def wait(self, seconds: float) -> list[bytes]:
        """Sleep until bytes come, for ``seconds`` at most; return whole frames, in wire order."""
        if self._turn_away is not None:
            message = self.wait_in_mailbox(max(0.0, seconds))
            if message is not None:
                self._turn_away(message)
            frames, self.arrived = self.arrived, []
            return frames
        frames = []
        for descriptor, events in self._poll(seconds if seconds > 0 else 0.0, 2):
            if descriptor != self._descriptor:
                raise LinkLostError(_LET_GO)
            frames = self._read(events)
        return frames

    def _link_is_ready(self, events: int) -> None:
        """Read, called from within the mailbox, and come back out of it."""
        self.arrived += self._read(events)
        self._mailbox.interrupt()

    def _read(self, events: int) -> list[bytes]:
        data = self._read_link()
        if not data and events & _BROKEN:
            raise LinkLostError("the line hung up")
        frames: list[bytes] = []
        for event in self._decode(data):
            if type(event) is Frame:
                frames.append(event.payload)
            else:
                self._counts.noise += 1
                log.debug("noise: %s", event)
        if frames:
            self._counts.frames += len(frames)
            self._heard = self._monotonic()
            state = self._report.state
            if state is not _HEALTHY and state.connected:
                self._report.happened(LinkEvent.HEARD, "it was heard")
                self._overdue = False
                self.wake = -inf
        return frames

    def write(self, payload: bytes) -> None:
        """Write one frame; `ProtocolError` where the framing cannot carry ``payload``."""
        try:
            data = self._encode(payload)
        except ValueError as error:
            raise ProtocolError(f"it cannot be framed: {error}") from None
        self._write_link(data)

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request`` and return the first frame that ``answers`` accepts.

        ``timeout`` is in seconds; `CallTimeoutError` when it has passed.
        """
        if not 0 < timeout < inf:
            raise ValueError(f"a question waits for some seconds, not for {timeout}")
        self.write(request)
        now = self._monotonic()
        deadline = now + timeout
        if deadline > self.deadline:
            deadline = self.deadline
        wake = self.wake
        while True:
            answer = None
            for frame in self.wait(min(deadline, wake) - now):
                if answer is None and answers(frame):
                    answer = frame
                elif not self.is_pong(frame):
                    self.keep(frame)
            if answer is not None:
                return answer
            now = self._monotonic()
            if now >= wake:
                # `self.wake` stays in the past: a ping is written after this.
                wake = self._judge_silence(now).wake
            if now >= deadline:
                raise CallTimeoutError(f"no answer to {request[:40]!r} within {timeout:g} s")

    def pause(self, until: float) -> None:
        """Let time pass until ``until``, keeping the frames that come."""
        while (left := until - self._monotonic()) > 0:
            for frame in self.wait(left):
                if not self.is_pong(frame):
                    self.keep(frame)

    def keep(self, frame: bytes) -> None:
        """Keep ``frame`` for the driver; the oldest goes where there are too many."""
        if len(self.kept) >= KEPT:
            self.kept.popleft()
            self._counts.dropped += 1
        self.kept.append(frame)

    def is_pong(self, frame: bytes) -> bool:
        """Whether ``frame`` is the answer to a ping; the first one is told to the house."""
        if self._pong is None or not frame.startswith(self._pong):
            return False
        if self._unanswered:
            self._unanswered = False
            self._counts.pongs += 1
            took = self._monotonic() - self._pinged
            self._report.happened(LinkEvent.PONG, "it answered a ping", round_trip=took)
        return True

    def proven(self) -> None:
        """Turn no mail away any more."""
        self._turn_away = None

    def begin_beating(self) -> None:
        """Judge silence from now on: the handshake was the first sign of life."""
        self._heard = self._monotonic()
        self.wake = inf if self._heartbeat is None else -inf

    def beat(self, now: float) -> None:
        """Tell the house of silence and write a ping that is due; call it at `wake`."""
        due = self._judge_silence(now)
        self.wake = due.wake
        if due.ping and self._heartbeat is not None:
            self._pinged = now
            self._unanswered = True
            self._counts.pings += 1
            self.write(self._heartbeat.ping)

    def _judge_silence(self, now: float) -> Due:
        if self._heartbeat is None:
            return Due(ping=False, silence=Silence.NONE, wake=inf)
        due = self._heartbeat.due(now, self._heard, self._pinged)
        cause = f"it has been silent for {now - self._heard:.1f} s"
        if due.silence >= Silence.STALE and self._report.state is not LinkState.STALE:
            self._report.happened(LinkEvent.SILENT, cause)
        if due.silence is Silence.OVERDUE and not self._overdue:
            self._overdue = True
            self._report.happened(LinkEvent.OVERDUE, cause)
        return due
