"""The thread in which one device lives: open, prove, watch, close, come back.

::

    ┌─► make the driver ─► open ─► prove ─► watch: frames, commands, heartbeat
    │                       │        │        │
    └── wait with jitter ◄──┴────────┴────────┘  absent, lost, refused or a bug

Hot-plug cuts that short: `look_again` ends the wait at once, `pulled` the link,
also where its descriptor says nothing. A port that has just been plugged in
and cannot be opened yet (its rights are not set, its link is not there) is
half-born: it is tried again soon, and not called failed.

The thread is the reader of the device's own mailbox, ``<device>@<route>``: mail
goes from its writer to this thread without a hop between, and the mailbox
watches the link while nothing is asked. It wakes for nothing but bytes, mail
and the next thing due. Each letter that is taken is answered exactly once, by
a reply or a bounce, also where the link dies under it. A driver that raises
what it should not costs its device, not this thread; a driver that never
returns keeps it, and `DriverThread.stop` says so.

Refused, with a bounce: commands for a device that is not connected. Its
mailbox is bounded, and holds up those who write more than that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, Final

import msgspec

from gateway.bus.mailbox import Mailbox
from gateway.clock import Clock
from gateway.device.driver import Driver, DriverHost
from gateway.device.link import Opener
from gateway.device.link_state import LinkEvent, LinkState
from gateway.errors import (
    GatewayError,
    LinkAbsentError,
    LinkLostError,
    LinkTakenError,
    RecipientGoneError,
    RefusedError,
    in_words,
)
from gateway.hosting.berth import Berth
from gateway.hosting.command_desk import CommandDesk
from gateway.hosting.host import Host
from gateway.hosting.lookout import Lookout
from gateway.hosting.outside import Outside
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.report import Report
from gateway.hosting.retries import Retries
from gateway.hosting.service import serve
from gateway.hosting.session import Session
from gateway.hosting.statistics import Statistics
from gateway.hosting.timed_session import TimedSession
from gateway.mail.message import Message
from gateway.process.whereabouts import enter

log = logging.getLogger(__name__)

_GIVEN_BACK: Final = 256
"""Letters bounced with the error that ended a link; writers who go on hear why it is away."""
_UNPLUGGED: Final = "it was unplugged"
HALF_BORN: Final = 2.0
"""Seconds after it was plugged in in which a port that cannot be opened is not called failed."""


class DriverThread:
    """Serves one device from `start` to `stop`; owns its link, its driver, its descriptors."""

    def __init__(
        self,
        name: str,
        make_driver: Callable[[DriverHost], Driver],
        opener: Opener,
        outside: Outside,
        mailbox: Mailbox,
        *,
        clock: Clock,
        random: Random,
        lookout: Callable[[], Lookout] = Lookout,
    ) -> None:
        """Prepare the device ``name``; nothing is opened and nothing runs yet.

        ``make_driver`` and ``opener`` are called in the device's own thread,
        once for every opening of the link; an opener may be a `Berth`, which
        claims what it opens. ``mailbox`` is read by that thread
        from `start` on; it stays its maker's, who closes it once the thread
        has ended. ``lookout`` makes what its questions wait in; a test whose
        time is virtual hands in its own.
        """
        self.name = name
        self._make_driver = make_driver
        self._berth = opener if isinstance(opener, Berth) else Berth(opener)
        self._outside = outside
        self._clock = clock
        self._counts = Statistics()
        self._report = Report(name, outside, self._counts, clock)
        self._desk = CommandDesk(name, outside, self._counts)
        self._mailbox = mailbox
        # A command that is too old is bounced whether or not its sender asked
        # for a receipt: whoever drives a robot is to know that it did not move.
        mailbox.undeliverable = self._desk.bounce
        self._stopping = threading.Event()
        self._called = threading.Event()
        self._leave_because = ""
        self._leave_lock = threading.Lock()
        self._serves: PluggedDevice | None = None
        self._away_at = -inf
        self._given_up = False
        self._claim_told: dict[str, Any] | None = None
        self._retries = Retries(random)
        self._described = False
        self._last_bug = ""
        self._thread: threading.Thread | None = None
        self._make_lookout = lookout
        self._lookout: Lookout | None = None

    # -- for the router ----------------------------------------------------

    def start(self) -> None:
        """Start serving; `RuntimeError` a second time."""
        if self._thread is not None:
            raise RuntimeError(f"the device {self.name} has been started before")
        self._lookout = self._make_lookout()
        # A daemon, since a driver that never returns must not keep the whole
        # OS process from ending; everybody else ends it by `stop`.
        self._thread = threading.Thread(
            target=self._run, args=(self._lookout,), name=f"device-{self.name}", daemon=True
        )
        self._thread.start()

    def post(self, message: Message) -> None:
        """Put a letter that reached the router into the mailbox, from any thread.

        Its answer comes through `Outside`. Raises `MailboxFullError` at once
        where too many wait: the router has others to serve.
        """
        self._mailbox.deliver(message, 0.0)

    def stop(self, deadline: float) -> bool:
        """End the thread; return whether it ended within ``deadline`` seconds.

        It lets go at once of whatever it waits for, also inside a driver's
        question. False means a driver that does not return. With 0 it only
        asks, so that many can be stopped at a time and be joined after.
        """
        self._stopping.set()
        with self._leave_lock:
            self._leave("")
        return self.join(deadline)

    def join(self, deadline: float) -> bool:
        """Wait up to ``deadline`` seconds; return whether the thread has ended."""
        if self._thread is not None:
            self._thread.join(deadline)
            return not self._thread.is_alive()
        return True

    def look_again(self) -> None:
        """Open the link now, where it waits to be tried again; there may be something to open.

        From any thread; where the link is open, nothing.
        """
        self._called.set()
        self._mailbox.wake()

    def pulled(self, device: PluggedDevice) -> None:
        """Give the link up, from any thread: ``device``, to which it leads, is gone.

        A link to another device, opened since, stays.
        """
        with self._leave_lock:
            if self._serves is device:
                self._leave(_UNPLUGGED)

    def _leave(self, cause: str) -> None:
        self._leave_because = cause
        if self._lookout is not None:
            self._lookout.let_go()
            self._mailbox.wake()

    def progress(self) -> tuple[bool, int]:
        """Return whether it waits for something to do, and a count that grows as it works.

        A thread that does neither for long is stuck in its driver; no lock is taken.
        """
        waits, read = self._mailbox.progress()
        counts = self._counts
        worked = counts.frames + counts.noise + counts.openings + counts.pings
        return waits, read + worked

    def give_up(self, cause: str) -> None:
        """Call the device failed from outside: its driver does not return, as ``cause`` tells.

        Should it return after all, the link is closed and the device starts anew.
        """
        self._given_up = True
        self._report.happened(LinkEvent.FAILED, cause)
        with self._leave_lock:
            self._leave(cause)

    def statistics(self) -> Statistics:
        """Return a copy of the counts; exact once the thread has ended."""
        mail = self._mailbox.statistics()
        return msgspec.structs.replace(
            self._counts, accepted=mail.accepted, refused=mail.refused, queued=mail.queued
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

    def _run(self, lookout: Lookout) -> None:
        enter(self._mailbox.name.partition("@")[2], self.name)
        try:
            self._report.tell_state()
            while not self._is_over():
                self._stay_away(self._serve_once(lookout))
            gone = RecipientGoneError(f"the device {self.name} was stopped")
            self._end(LinkEvent.STOPPED, "it was stopped by the gateway", gone)
            self._report.tell_claim(None)
        finally:
            lookout.close()

    def _is_over(self) -> bool:
        return self._stopping.is_set() or self._mailbox.closed

    def _stay_away(self, seconds: float) -> None:
        """Let ``seconds`` pass, or less; mail that comes is told why the device is away."""
        until = self._clock.monotonic() + seconds
        while not self._is_over() and not self._called.is_set():
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            message = self._mailbox.get(left)
            if message is not None:
                self._desk.decline(message, self._not_connected(self._report.cause))

    def _turn_away(self, message: Message) -> None:
        self._desk.decline(message, self._not_connected("it has not identified itself yet"))

    def _not_connected(self, cause: str) -> RefusedError:
        return RefusedError(f"{self.name} is not connected: {cause}")

    def _serve_once(self, lookout: Lookout) -> float:
        """Serve one opening of the link to its end; return seconds to wait before the next."""
        began, openings = self._clock.monotonic(), self._counts.openings
        self._called.clear()
        self._leave_because, self._given_up = "", False
        try:
            self._open_and_serve(lookout)
        except LinkAbsentError as error:
            if self._is_over():
                return 0.0
            self._away_at = self._clock.monotonic()
            if self._berth.told() is not None and self._away_at - self._berth.born < HALF_BORN:
                return self._half_born(str(error))
            self._end(LinkEvent.ABSENT, str(error), error)
            return self._retries.after_absence()
        except LinkTakenError as error:
            self._end(LinkEvent.TAKEN, str(error), error)
            return self._retries.after_absence()
        except LinkLostError as error:
            if self._is_over():
                return 0.0
            if self._given_up:
                return self._failed(self._leave_because, began)
            if self._counts.openings == openings:
                return self._not_opened(str(error), began)
            self._away_at = self._clock.monotonic()
            self._counts.losses += 1
            connected_for = self._connected_for(began)
            if self._leave_because:
                self._end(LinkEvent.ABSENT, self._leave_because, error)
            else:
                self._end(LinkEvent.LOST, str(error), error)
            return self._retries.after_loss(connected_for)
        except GatewayError as error:
            return self._failed(str(error), began)
        except (Exception, SystemExit) as bug:  # noqa: BLE001  here is the driver's supervisor
            self._log_bug(bug)
            return self._failed(f"its driver raised {in_words(bug)}", began)
        finally:
            self._report.tell_claim(self._berth.told())
        raise AssertionError("a link is served until something ends it")

    def _open_and_serve(self, lookout: Lookout) -> None:
        host = Host(self.name, self._outside, self._report)
        driver = self._make_driver(host)
        if not self._described:
            self._desk.know(driver)
            self._report.tell("info", driver.describe(None), retain=True)
            self._described = True
        link = self._berth()
        session: Session | None = None
        try:
            self._arrive(lookout)
            kind = Session if driver.framing.silence is None else TimedSession
            session = host.session = kind(
                link,
                driver,
                self._mailbox,
                lookout,
                self._report,
                self._counts,
                self._clock,
                self._turn_away,
            )
            session.open()
            self._counts.openings += 1
            self._report.happened(LinkEvent.OPENED, "the port is open")
            serve(driver, session, self._desk, self._report, self._counts, self._clock)
        finally:
            host.session = None
            if session is not None:
                session.close()
            # First: as soon as the link is closed another device may have its path in /dev.
            self._berth.leave()
            link.close()

    def _arrive(self, lookout: Lookout) -> None:
        """Begin to serve what has been opened, and tell what that is, where it is known."""
        with self._leave_lock:
            self._serves = self._berth.occupant
            self._leave_because, self._given_up = "", False
            lookout.stay()
        # Asked after that: whoever stops, or pulls, says so before he looks.
        if self._is_over():
            raise LinkLostError("the gateway lets go of the device")
        if self._berth.is_vacated:
            raise LinkAbsentError(_UNPLUGGED)
        claim = self._berth.told()
        self._report.tell_claim(claim)
        if claim is not None:
            self._report.happened(LinkEvent.FOUND, f"it is plugged in: {claim['node']}")

    # -- how a link ends ---------------------------------------------------

    def _end(self, event: LinkEvent, cause: str, error: GatewayError) -> None:
        """Give back the mail that waits, and tell the house.

        Whoever wrote to a connected device hears ``error``, the others that
        it is not connected.
        """
        if event is not LinkEvent.STOPPED and not self._report.state.connected:
            error = self._not_connected(cause)
        for _ in range(_GIVEN_BACK):
            # Twice, as None may be no more than the wake-up of `stop`.
            message = self._mailbox.get(0.0) or self._mailbox.get(0.0)
            if message is None:
                break
            self._desk.decline(message, error)
        self._report.happened(event, cause)

    def _not_opened(self, cause: str, began: float) -> float:
        """Judge a port that is there and could not be opened."""
        since = max(self._away_at, self._berth.born)
        if self._clock.monotonic() - since >= HALF_BORN:
            return self._failed(cause, began)
        return self._half_born(cause)

    def _half_born(self, cause: str) -> float:
        self._end(LinkEvent.FOUND, f"it was just plugged in: {cause}", LinkLostError(cause))
        return self._retries.after_birth()

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
