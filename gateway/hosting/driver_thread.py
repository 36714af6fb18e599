"""The thread in which one device lives: open, prove, watch, close, come back.

::

    ┌─► make the driver ─► open ─► prove ─► watch: frames, commands, heartbeat
    │                       │        │        │
    └── wait with jitter ◄──┴────────┴────────┘  absent, lost, refused or a bug

The thread sleeps in one epoll over the link and a doorbell for mail, and wakes
for nothing but bytes, mail and the next thing due. Each accepted command is
answered exactly once, by a reply or a bounce, also where the link dies under
it. A driver that raises what it should not costs its device, not this thread;
a driver that never returns keeps it, and `DriverThread.stop` says so.

Refused: commands for a device that is not connected, and more than its inbox
holds (`gateway.hosting.inbox`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.device.driver import Driver, DriverHost
from gateway.device.identity import Identity
from gateway.device.link import Opener
from gateway.device.link_state import LinkEvent, LinkState
from gateway.errors import (
    CallTimeoutError,
    GatewayError,
    LinkAbsentError,
    LinkLostError,
    ProtocolError,
    RecipientGoneError,
)
from gateway.hosting.command_desk import CommandDesk, in_words
from gateway.hosting.doorbell import Doorbell
from gateway.hosting.host import Host
from gateway.hosting.inbox import Inbox
from gateway.hosting.outside import Outside
from gateway.hosting.report import Report
from gateway.hosting.retries import Retries
from gateway.hosting.session import Session
from gateway.hosting.statistics import Statistics
from gateway.mail.message import Message

log = logging.getLogger(__name__)

COMMANDS_WAITING: Final = 64
"""Commands that a device lets wait unless told otherwise."""

_AT_ONCE: Final = 16
"""Commands carried out between two looks at the line."""
_ASK_AGAIN: Final = 0.1
"""Seconds that a failed handshake takes at least, so that none is repeated in a spin."""


class DriverThread:
    """Serves one device from `start` to `stop`; owns its link, its driver, its descriptors."""

    def __init__(
        self,
        name: str,
        make_driver: Callable[[DriverHost], Driver],
        opener: Opener,
        outside: Outside,
        *,
        clock: Clock,
        random: Random,
        commands_waiting: int = COMMANDS_WAITING,
    ) -> None:
        """Prepare the device ``name``; nothing is opened and nothing runs yet.

        ``make_driver`` and ``opener`` are called in the device's own thread,
        once for every opening of the link.
        """
        self.name = name
        self._make_driver = make_driver
        self._opener = opener
        self._outside = outside
        self._clock = clock
        self._counts = Statistics()
        self._report = Report(name, outside, self._counts, clock)
        self._desk = CommandDesk(name, outside, self._counts, clock)
        self._inbox = Inbox(name, commands_waiting)
        self._stopping = threading.Event()
        self._retries = Retries(random)
        self._described = False
        self._last_bug = ""
        self._thread: threading.Thread | None = None
        self._doorbell: Doorbell

    # -- for the router ----------------------------------------------------

    def start(self) -> None:
        """Start serving; `RuntimeError` a second time."""
        if self._thread is not None:
            raise RuntimeError(f"the device {self.name} has been started before")
        self._doorbell = Doorbell()
        self._inbox.attach(self._doorbell)
        # A daemon, since a driver that never returns must not keep the whole
        # OS process from ending; everybody else ends it by `stop`.
        self._thread = threading.Thread(target=self._run, name=f"device-{self.name}", daemon=True)
        self._thread.start()

    def post(self, message: Message) -> None:
        """Hand in a command, from any thread; its answer comes through `Outside`.

        Raises `RefusedError` where the device is not connected and
        `MailboxFullError` where too many commands wait; then nothing follows.
        """
        self._inbox.post(message)

    def stop(self, deadline: float) -> bool:
        """End the thread; return whether it ended within ``deadline`` seconds.

        It lets go at once of whatever it waits for, also inside a driver's
        question. False means a driver that does not return. With 0 it only
        asks, so that many can be stopped at a time and be joined after.
        """
        self._stopping.set()
        self._inbox.wake()
        return self.join(deadline)

    def join(self, deadline: float) -> bool:
        """Wait up to ``deadline`` seconds; return whether the thread has ended."""
        if self._thread is not None:
            self._thread.join(deadline)
            return not self._thread.is_alive()
        return True

    def statistics(self) -> Statistics:
        """Return a copy of the counts; exact once the thread has ended."""
        return msgspec.structs.replace(
            self._counts,
            accepted=self._inbox.accepted,
            refused=self._inbox.refused,
            queued=len(self._inbox),
        )

    @property
    def state(self) -> LinkState:
        """How far the device is proven, now."""
        return self._report.state

    @property
    def cause(self) -> str:
        """Why it is so, in words for a person."""
        return self._report.cause

    # -- its thread --------------------------------------------------------

    def _run(self) -> None:
        try:
            self._report.tell_state()
            while not self._stopping.is_set():
                self._sleep(self._serve_once())
            gone = RecipientGoneError(f"the device {self.name} was stopped")
            self._end(LinkEvent.STOPPED, "it was stopped by the gateway", gone)
        finally:
            self._inbox.detach()

    def _sleep(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while not self._stopping.is_set() and (left := until - self._clock.monotonic()) > 0:
            self._doorbell.wait(left)

    def _serve_once(self) -> float:
        """Serve one opening of the link to its end; return seconds to wait before the next."""
        began, openings = self._clock.monotonic(), self._counts.openings
        try:
            self._open_and_serve()
        except LinkAbsentError as error:
            self._end(LinkEvent.ABSENT, str(error), error)
            return self._retries.after_absence()
        except LinkLostError as error:
            if self._stopping.is_set():
                return 0.0
            if self._counts.openings == openings:
                return self._failed(str(error), began)
            self._counts.losses += 1
            connected_for = self._connected_for(began)
            self._end(LinkEvent.LOST, str(error), error)
            return self._retries.after_loss(connected_for)
        except GatewayError as error:
            return self._failed(str(error), began)
        except (Exception, SystemExit) as bug:  # noqa: BLE001  here is the driver's supervisor
            self._log_bug(bug)
            return self._failed(f"its driver raised {in_words(bug)}", began)
        raise AssertionError("a link is served until something ends it")

    def _open_and_serve(self) -> None:
        host = Host(self.name, self._outside, self._report)
        driver = self._make_driver(host)
        if not self._described:
            self._report.tell("info", driver.describe(None), retain=True)
            self._described = True
        link = self._opener()
        try:
            self._doorbell.watch(link)
            self._counts.openings += 1
            self._report.happened(LinkEvent.OPENED, "the port is open")
            session = host.session = Session(
                link,
                driver,
                self._doorbell,
                self._report,
                self._counts,
                self._clock,
                self._stopping,
            )
            identity = self._prove(driver, session)
            self._welcome(driver, identity)
            session.begin_beating()
            while True:
                self._take_turn(driver, session)
        finally:
            host.session = None
            self._doorbell.unwatch()
            link.close()

    def _prove(self, driver: Driver, session: Session) -> Identity:
        """Have the board identify itself, again and again until its time is up."""
        session.deadline = self._clock.monotonic() + driver.handshake_within
        while True:
            began = self._clock.monotonic()
            try:
                identity = driver.handshake()
            except (CallTimeoutError, ProtocolError) as error:
                session.pause(min(began + _ASK_AGAIN, session.deadline))
                if self._clock.monotonic() >= session.deadline:
                    raise CallTimeoutError(
                        f"no handshake within {driver.handshake_within:g} s: {error}"
                    ) from error
            else:
                session.deadline = float("inf")
                return identity

    def _welcome(self, driver: Driver, identity: Identity) -> None:
        self._counts.connections += 1
        self._report.tell("info", driver.describe(identity), retain=True)
        # Commands are taken before `connected` is told: whoever hears it may
        # write at once.
        self._inbox.open()
        self._report.happened(
            LinkEvent.PROVEN,
            f"it identified itself: {identity.model or 'firmware'} {identity.firmware}".rstrip(),
            identity=msgspec.to_builtins(identity),
        )

    def _take_turn(self, driver: Driver, session: Session) -> None:
        """Sleep until something is to be done, and do a bounded amount of it."""
        doorbell, inbox, kept = self._doorbell, self._inbox, session.kept
        doorbell.asleep = True  # before the look at the inbox: no letter slips between
        frames = session.wait(float("-inf") if inbox or kept else session.wake)
        doorbell.asleep = False
        for frame in frames:
            if session.is_pong(frame):
                continue
            if kept:  # older ones first
                session.keep(frame)
            else:
                self._hear(driver, frame)
        self._hear_kept(driver, session)
        for _ in range(_AT_ONCE):
            message = inbox.take()
            if message is None:
                break
            self._desk.obey(driver, message)
            self._hear_kept(driver, session)
        now = self._clock.monotonic()
        if now >= session.wake:
            session.beat(now)

    def _hear_kept(self, driver: Driver, session: Session) -> None:
        # As many as there are now: a driver that asks on every frame gets
        # the rest in its next turn, after others had theirs.
        for _ in range(len(session.kept)):
            self._hear(driver, session.kept.popleft())

    def _hear(self, driver: Driver, frame: bytes) -> None:
        try:
            driver.received(frame)
        except LinkLostError:
            raise
        except GatewayError as error:
            self._counts.nonsense += 1
            log.debug("%s: frame %r: %s", self.name, frame[:80], error)

    # -- how a link ends ---------------------------------------------------

    def _end(self, event: LinkEvent, cause: str, error: GatewayError) -> None:
        """Take no more commands, give back those that wait, and tell the house."""
        for message in self._inbox.shut(cause):
            self._desk.bounce(message, error)
        self._report.happened(event, cause)

    def _failed(self, cause: str, began: float) -> float:
        self._counts.failures += 1
        connected_for = self._connected_for(began)
        self._end(LinkEvent.FAILED, cause, LinkLostError(cause))
        return self._retries.after_failure(connected_for)

    def _connected_for(self, began: float) -> float:
        return self._clock.monotonic() - began if self._report.state.connected else 0.0

    def _log_bug(self, bug: BaseException) -> None:
        # A bug that comes back with every frame is told in full once.
        words = in_words(bug)
        if words == self._last_bug:
            log.error("%s: its driver raised %s, again", self.name, words)
        else:
            log.error("%s: its driver raised %s", self.name, words, exc_info=bug)
        self._last_bug = words
