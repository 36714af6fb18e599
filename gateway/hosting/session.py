"""One opening of one link: frames in and out, questions, and signs of life.

A session reads, cuts and sorts what the board says. A frame is the answer to
a question that waits, or a pong, or the late answer to a question that was
given up (`gateway.hosting.pairing`), or what nobody asked for. The last two are
kept for the driver: first come, first served, and never delivered from in here,
so that no driver method is entered while another runs. While a question waits, no
ping goes out (many boards take one question at a time) but silence is noticed all
the same.

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
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final

from gateway.bus.mailbox import Mailbox
from gateway.clock import Clock
from gateway.device.driver import Driver
from gateway.device.heartbeat import Due, Silence
from gateway.device.link import Link
from gateway.device.link_state import LinkEvent, LinkState
from gateway.errors import CallTimeoutError, GatewayError, LinkLostError, ProtocolError
from gateway.framing.frame import Frame, Garbage
from gateway.hosting.lookout import Lookout
from gateway.hosting.pairing import LateAnswer, Overdue, Pipeline
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
    """Bytes to frames and back, for one link and one driver; used by one thread.

    A function that is an attribute is fetched first and called then, here and in
    the mailbox: to do both at once takes CPython 3.11 several times as long.
    """

    def __init__(
        self,
        link: Link,
        driver: Driver,
        mailbox: Mailbox,
        lookout: Lookout,
        report: Report,
        counts: Statistics,
        clock: Clock,
        turn_away: Callable[[Message], None],
    ) -> None:
        self.deadline = inf
        """Monotonic seconds beyond which no question waits: the handshake's end."""
        self.kept: deque[bytes | LateAnswer] = deque()
        """Frames that nobody has handled yet, oldest first."""
        self.wake = inf
        """Monotonic seconds when `beat` should be called."""
        self.next_tick = inf
        """Monotonic seconds when the driver's `tick` should be called."""
        self.link = link
        """What it listens to; its owner is who made it."""
        self._framing = driver.framing
        self._decoder = driver.framing.decoder()
        self._overdue = Overdue(driver.quarantine)
        self._given_up = self._overdue.questions
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
        self._descriptor = -1
        self._heard = -inf
        self._pinged = -inf
        self._unanswered = False
        self._told_overdue = False

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
        if self._lookout.is_let_go:
            raise LinkLostError(_LET_GO)
        message = self._mailbox.get(seconds)
        if message is None and self._mailbox.closed:
            raise LinkLostError(_LET_GO)
        return message

    def wait(self, seconds: float) -> list[bytes]:
        """Sleep until bytes come, for ``seconds`` at most; return whole frames, in wire order."""
        if self._turn_away is not None:
            message = self.wait_in_mailbox(seconds)
            if message is not None:
                self._turn_away(message)
            frames, self.arrived = self.arrived, []
            return frames
        if seconds < 0.0:
            seconds = 0.0
        poll, frames = self._poll, []
        for descriptor, events in poll(seconds, 2):
            if descriptor != self._descriptor:
                raise LinkLostError(_LET_GO)
            frames = self._read(events)
        return frames

    def _link_is_ready(self, events: int) -> None:
        """Read, called from within the mailbox, and come back out of it."""
        self.arrived += self._read(events)
        self._mailbox.interrupt()

    def _read(self, events: int) -> list[bytes]:
        data = self.link.read()
        if not data and events & _BROKEN:
            raise LinkLostError("the line hung up")
        return self._sorted(self._decoder.feed(data))

    def _sorted(self, events: list[Frame | Garbage]) -> list[bytes]:
        """Count the noise among ``events``; return the frames, which are a sign of life."""
        frames: list[bytes] = []
        for event in events:
            if type(event) is Frame:
                frames.append(event.payload)
            else:
                self._counts.noise += 1
                log.debug("noise: %s", event)
        if frames:
            self._counts.frames += len(frames)
            monotonic = self._monotonic
            self._heard = monotonic()
            state = self._report.state
            if state is not _HEALTHY and state.connected:
                self._report.happened(LinkEvent.HEARD, "it was heard")
                self._told_overdue = False
                self.wake = -inf
        return frames

    def write(self, payload: bytes) -> None:
        """Write one frame; `ProtocolError` where the framing cannot carry ``payload``."""
        self.link.write(self._framed(payload))

    def _framed(self, payload: bytes) -> bytes:
        try:
            return self._framing.encode(payload)
        except ValueError as error:
            raise ProtocolError(f"it cannot be framed: {error}") from None

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request`` and return the first frame that ``answers`` accepts.

        ``timeout`` is in seconds; `CallTimeoutError` when it has passed.
        """
        if not 0.0 < timeout < inf:
            raise ValueError(f"a question waits for some seconds, not for {timeout}")
        if self._given_up:
            self._settle()
        self.link.write(self._framed(request))
        return self._hear(answers, timeout, request)

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Return the first frame from now on that ``answers`` accepts, as `ask` does."""
        if not 0.0 < timeout < inf:
            raise ValueError(f"a listener waits for some seconds, not for {timeout}")
        return self._hear(answers, timeout, None)

    def _hear(
        self, answers: Callable[[bytes], bool], timeout: float, request: bytes | None
    ) -> bytes:
        monotonic = self._monotonic
        now = monotonic()
        deadline = now + timeout
        if deadline > self.deadline:
            deadline = self.deadline
        wake = self.wake
        while True:
            answer, until = None, wake
            if deadline < until:
                until = deadline
            for frame in self.wait(until - now):
                if answer is None and answers(frame):
                    answer = frame
                elif not self.is_claimed(frame):
                    self.keep(frame)
            if answer is not None:
                return answer
            # By the clock before that look: where this thread is held up, what lies unread
            # is not late.
            looked, now = now, monotonic()
            if looked < until:
                continue
            if looked >= wake:
                # `self.wake` stays in the past: a ping is written after this.
                wake = self._judge_silence(looked).wake
            if looked >= deadline:
                if request is None:
                    raise CallTimeoutError(f"no expected frame within {timeout:g} s")
                self._overdue.add(request, answers, now)
                raise CallTimeoutError(f"no answer to {request[:40]!r} within {timeout:g} s")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Write ``requests``, ``in_flight`` at a time; return their answers in that order.

        `CallTimeoutError` where no answer has come for ``timeout`` seconds,
        with questions in flight. Nothing is written where one of them cannot
        be framed (`ProtocolError`).
        """
        if not 0.0 < timeout < inf:
            raise ValueError(f"a question waits for some seconds, not for {timeout}")
        pipeline = Pipeline(requests, answers, in_flight)
        written = [self._framed(request) for request in requests]
        if self._given_up:
            self._settle()
        now, wake, deadline = self._monotonic(), self.wake, -inf
        try:
            while not pipeline.is_done:
                for number in pipeline.to_write():
                    self.link.write(written[number])
                    deadline = min(now + timeout, self.deadline)
                until = min(deadline, wake)
                for frame in self.wait(until - now):
                    if pipeline.take(frame):
                        deadline = inf  # somebody is there: the time begins anew, below
                    elif not self.is_claimed(frame):
                        self.keep(frame)
                # By the clock before that look, as in `_hear`.
                looked, now = now, self._monotonic()
                if deadline == inf:
                    deadline = min(now + timeout, self.deadline)
                if looked < until:
                    continue
                if looked >= wake:
                    wake = self._judge_silence(looked).wake
                if looked >= deadline:
                    raise CallTimeoutError(
                        f"no answer to {pipeline.waiting[0][:40]!r} within {timeout:g} s"
                    )
        finally:
            for request in pipeline.waiting:
                self._overdue.add(request, partial(answers, request), now)
        return pipeline.answers

    def pause(self, until: float) -> None:
        """Let time pass until ``until``, keeping the frames that come."""
        while (left := until - self._monotonic()) > 0:
            self._take_in(left)

    def _take_in(self, seconds: float) -> None:
        """Keep what comes, waiting for ``seconds`` at most."""
        for frame in self.wait(seconds):
            if not self.is_claimed(frame):
                self.keep(frame)

    def _settle(self) -> None:
        """Before a question: what has come by now answers an earlier one, if any."""
        self._overdue.forget(self._monotonic())
        self._take_in(0.0)
        while (left := self._quarantined_until() - self._monotonic()) > 0:
            self._take_in(left)

    def _quarantined_until(self) -> float:
        return min(self._overdue.quarantined_until, self.deadline)

    def keep(self, frame: bytes | LateAnswer) -> None:
        """Keep ``frame`` for the driver; the oldest goes where there are too many."""
        if len(self.kept) >= KEPT:
            self.kept.popleft()
            self._counts.dropped += 1
        self.kept.append(frame)

    def is_claimed(self, frame: bytes) -> bool:
        """Whether ``frame`` is a pong, or a late answer, which is kept as such."""
        if self._pong is not None and frame.startswith(self._pong):
            self._pong_came()
            return True
        if not self._given_up:
            return False
        self._overdue.forget(self._monotonic())
        try:
            late = self._overdue.claim(frame)
        except GatewayError:
            return False  # the driver cannot read it, and will be asked again by `received`
        if late is None:
            return False
        self._counts.late += 1
        self.keep(late)
        return True

    def _pong_came(self) -> None:
        """Tell the house of the first answer to a ping."""
        if self._unanswered:
            self._unanswered = False
            self._counts.pongs += 1
            took = self._monotonic() - self._pinged
            self._report.happened(LinkEvent.PONG, "it answered a ping", round_trip=took)

    def proven(self) -> None:
        """Turn no mail away any more."""
        self._turn_away = None

    def begin_anew(self) -> None:
        """Forget a half-read frame and what was kept: the link speaks in another way now."""
        self._decoder.reset()
        self.kept.clear()

    def begin_beating(self) -> None:
        """Judge silence from now on: the handshake was the first sign of life."""
        self._heard = self._monotonic()
        self.wake = inf if self._heartbeat is None else -inf
        self.next_tick = -inf

    def beat(self, now: float) -> None:
        """Tell the house of silence and write a ping that is due; call it at `wake`.

        What lies unread is no silence: a command may have held this thread up.
        """
        self._take_in(0.0)
        due = self._judge_silence(now)
        self.wake = due.wake
        if due.ping and self._heartbeat is not None and self._heartbeat.ping is not None:
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
        if due.silence is Silence.OVERDUE and not self._told_overdue:
            self._told_overdue = True
            self._report.happened(LinkEvent.OVERDUE, cause)
        return due
