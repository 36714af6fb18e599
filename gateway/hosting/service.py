"""What is done on one open link: prove who is there, then frames, commands, heartbeat, ticks.

It goes on until something raises: `LinkLostError` where the link broke or is
given up, another `GatewayError` where the board cannot be proven, and whatever
bug the driver has. Judging that is `gateway.hosting.driver_thread`'s.

A frame that makes no sense to the driver is counted, and costs nothing.
"""

from __future__ import annotations

import logging
from math import inf
from typing import Final, NoReturn

import msgspec

from gateway.clock import Clock
from gateway.device.driver import Driver
from gateway.device.identity import Identity
from gateway.device.link_state import LinkEvent
from gateway.errors import CallTimeoutError, GatewayError, LinkLostError, ProtocolError
from gateway.hosting.command_desk import CommandDesk
from gateway.hosting.pairing import LateAnswer
from gateway.hosting.report import Report
from gateway.hosting.session import Session
from gateway.hosting.statistics import Statistics

log = logging.getLogger(__name__)

_TICK_APART: Final = 0.001
"""Seconds between a driver's ticks at least."""
_TICK_AGAIN: Final = 1.0
"""Seconds until the tick after one that raised a `GatewayError`."""
_ASK_AGAIN: Final = 0.1
"""Seconds that a failed handshake takes at least, so that none is repeated in a spin."""


def serve(
    driver: Driver,
    session: Session,
    desk: CommandDesk,
    report: Report,
    counts: Statistics,
    clock: Clock,
) -> NoReturn:
    """Serve the device behind ``session`` until something ends that, which is raised."""
    identity = prove(driver, session, clock)
    session.link.proven()
    session.proven()
    counts.connections += 1
    report.tell("info", driver.describe(identity), retain=True)
    report.happened(
        LinkEvent.PROVEN,
        f"it identified itself: {identity.model or 'firmware'} {identity.firmware}".rstrip(),
        identity=msgspec.to_builtins(identity),
    )
    session.begin_beating()
    service = _Service(driver, session, desk, counts, clock)
    while True:
        service.take_turn()


def prove(driver: Driver, session: Session, clock: Clock) -> Identity:
    """Have the board identify itself, again and again until its time is up.

    Where the link has several ways to speak to it, each question goes out
    in another one, and there is the time of a handshake for each.
    """
    link = session.link
    within = driver.handshake_within * link.ways
    session.deadline = clock.monotonic() + within
    while True:
        began = clock.monotonic()
        try:
            identity = driver.handshake()
        except (CallTimeoutError, ProtocolError) as error:
            session.pause(min(began + _ASK_AGAIN, session.deadline))
            if clock.monotonic() >= session.deadline:
                tried = f" at {link.tried}" if link.tried else ""
                raise CallTimeoutError(
                    f"no handshake within {within:g} s{tried}: {error}"
                ) from error
            if link.ways > 1:
                link.try_next_way()
                session.begin_anew()
        else:
            session.deadline = inf
            return identity


class _Service:
    """Turn after turn, for one proven board; used by its thread."""

    def __init__(
        self,
        driver: Driver,
        session: Session,
        desk: CommandDesk,
        counts: Statistics,
        clock: Clock,
    ) -> None:
        self._driver = driver
        self._session = session
        self._desk = desk
        self._counts = counts
        self._monotonic = clock.monotonic

    def take_turn(self) -> None:
        """Sleep until something is to be done, and do a bounded amount of it."""
        session, monotonic = self._session, self._monotonic
        wake = session.wake
        if session.kept:
            wake = -inf
        elif session.next_tick < wake:
            wake = session.next_tick
        message = session.wait_in_mailbox(None if wake == inf else wake - monotonic())
        if session.arrived:
            frames, session.arrived = session.arrived, []
            for frame in frames:
                if session.is_claimed(frame):
                    continue
                # Older ones first, and what was taken from the mailbox before
                # anything can go wrong with a frame.
                if session.kept or message is not None:
                    session.keep(frame)
                else:
                    self._hear(frame)
        if message is not None:
            self._desk.obey(self._driver, message)
        if session.kept:
            self._hear_kept()
        # Last: what lay unread when a late thread woke is no silence.
        now = monotonic()
        if now >= session.wake:
            session.beat(now)
        if now >= session.next_tick:
            self._tick(now)

    def _tick(self, now: float) -> None:
        try:
            due = self._driver.tick(now)
        except LinkLostError:
            raise
        except GatewayError as error:
            self._counts.nonsense += 1
            log.debug("%s: its tick: %s", self._driver.name, error)
            due = now + _TICK_AGAIN
        # A driver that wants every moment gets many, and not a whole core.
        self._session.next_tick = inf if due is None else max(due, now + _TICK_APART)

    def _hear_kept(self) -> None:
        # As many as there are now: a driver that asks on every frame gets
        # the rest in its next turn, after others had theirs.
        kept = self._session.kept
        for _ in range(len(kept)):
            self._hear(kept.popleft())

    def _hear(self, frame: bytes | LateAnswer) -> None:
        try:
            if isinstance(frame, LateAnswer):
                self._driver.late(frame.request, frame.payload)
            else:
                self._driver.received(frame)
        except LinkLostError:
            raise
        except GatewayError as error:
            self._counts.nonsense += 1
            log.debug("%s: frame %.90r: %s", self._driver.name, frame, error)
